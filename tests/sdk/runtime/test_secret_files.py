"""A secret in a file: read for every variable alike, and never quoted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vtsserving._runtime.settings import SharedSettings
from vtsserving.client.http import chosen_token
from vtsserving.exceptions import ConfigurationError
from vtsserving_store.settings import S3Settings

READERS: dict[str, Callable[[], str]] = {
    "VTSSERVING_NATS_PASSWORD_FILE": lambda: SharedSettings().bus_password,
    "VTSSERVING_STORE_TOKEN_FILE": lambda: SharedSettings().token,
    "VTSSERVING_TOKEN_FILE": lambda: chosen_token(None),
}


@pytest.mark.parametrize("variable", READERS)
@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), (b"geheim\xff", "not UTF-8")], ids=["missing", "binary"]
)
def test_a_file_that_cannot_be_read_is_named_with_its_variable(
    variable: str, content: bytes | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(variable, str(file))
    with pytest.raises(ConfigurationError, match=f"{variable}: {file} cannot be read: .*{says}") as caught:
        READERS[variable]()
    assert "geheim" not in caught.value.message


@pytest.mark.parametrize("variable", READERS)
def test_blanks_around_a_secret_do_not_count(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text(" geheim\n")
    monkeypatch.setenv(variable, str(file))
    assert READERS[variable]() == "geheim"


def test_the_keys_of_the_object_storage_are_read_alike(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("geheim\n")
    settings = S3Settings.model_validate({"secret_key_file": str(file)})
    assert settings.secret_key.get_secret_value() == "geheim"
    file.unlink()
    with pytest.raises(ValueError, match=r"VTSSERVING_S3__SECRET_KEY_FILE: .* cannot be read"):
        S3Settings.model_validate({"secret_key_file": str(file)})
