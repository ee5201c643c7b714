"""What a Service that cannot be found is said to be missing, and where it was looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtsserving.exceptions import InvalidArgument, NotFound
from vtsserving.service.importing import load_service

pytestmark = pytest.mark.fast


def test_a_missing_module_is_named_with_the_folders_that_were_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt/service")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound) as caught:
        load_service("no_such_module:svc")
    assert f"no module no_such_module in /opt/service or {tmp_path};" in caught.value.message


def test_a_missing_attribute_is_named_with_the_services_that_are_there(tmp_path: Path) -> None:
    module = tmp_path / "two_services_here.py"
    module.write_text(
        "from vtsserving import Service\nfirst = Service('one', runners=[])\nsecond = Service('two', runners=[])\n"
    )
    with pytest.raises(InvalidArgument, match="has no Service named 'svc'; it has first, second"):
        load_service(f"{module}:svc")
