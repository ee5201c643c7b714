"""The OpenAPI document against the gateway, by schemathesis."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.schemathesis import findings
from support.served_gateway import ServedGateway

WITHOUT_SPECS = r"^/v1/models/(free|whole|many|mixed|failing)/"
"""Models that nothing is recorded of: what they are sent is for them to refuse, which is a 500."""

pytestmark = [pytest.mark.frameworks("own"), pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("known", [False, True], ids=["any names", "names that exist"])
def test_no_answer_is_undocumented(gateway: ServedGateway, tmp_path: Path, known: bool) -> None:
    names = {"tag": "iris", "method": "predict", "model": "iris", "version": "v1"} if known else {}
    gateway.run(lambda: gateway.backend.loaded.append("iris:v1"))
    gateway.run(lambda: setattr(gateway.backend, "obeys", True))
    found = findings(gateway.port, tmp_path, without=WITHOUT_SPECS, names=names)
    assert not found, found
