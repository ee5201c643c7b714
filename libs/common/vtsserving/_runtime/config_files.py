"""Settings from files: `vtsserving.toml` of the project, then the user's own, both below the environment.

What a file says becomes an environment variable, unless that one is set: `port` in `[gateway]` is
VTSSERVING_GATEWAY__PORT. So every reader of settings, and every child process, sees one truth, and the order is flag,
environment, project, user, default, without any of them knowing of files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, Final

from vtsserving._model.settings import PREFIX as MODELS
from vtsserving._model.settings import variable_part
from vtsserving._record_format import check_format
from vtsserving.exceptions import ConfigurationError, StorageError

PROJECT_FILE: Final = "vtsserving.toml"
USER_FILE: Final = Path("vtsserving") / "config.toml"
FILE_VARIABLE: Final = "VTSSERVING_CONFIG"
"""Names a file to read instead of the project's."""

PREFIX: Final = "VTSSERVING_"
MAX_FILE_BYTES: Final = 2**20

_KEY: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


def files(environ: MutableMapping[str, str] | None = None) -> list[Path]:
    """The files that are read, the stronger first; those that do not exist are left out.

    Args:
        environ: the environment; the process's own if None.

    Returns:
        Their paths.

    Raises:
        ConfigurationError: VTSSERVING_CONFIG names a file that does not exist.
    """
    environ = os.environ if environ is None else environ
    named = environ.get(FILE_VARIABLE, "")
    if named and not os.path.isfile(named):
        raise ConfigurationError(f"{FILE_VARIABLE} names {named}, which is no file")
    user_folder = environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    candidates = [Path(named or PROJECT_FILE), Path(user_folder) / USER_FILE]
    return [path for path in candidates if os.path.isfile(path)]


def apply(environ: MutableMapping[str, str] | None = None) -> dict[str, Path]:
    """Put what the files say into the environment, where that says nothing.

    Args:
        environ: the environment; the process's own if None.

    Returns:
        The file that each variable was taken from.

    Raises:
        ConfigurationError: a file is not TOML, or has a key or value that cannot be a setting.
        NewerFormat: a file says that it is for a later release.
        StorageError: a file cannot be read.
    """
    environ = os.environ if environ is None else environ
    taken: dict[str, Path] = {}
    for path in files(environ):
        for variable, value in _variables(path, _settings(path), PREFIX):
            if variable not in environ:
                environ[variable] = value
                taken[variable] = path
    return taken


def _settings(path: Path) -> dict[str, Any]:
    """What a file sets: all of it but the number of its format."""
    table = _read(path)
    try:
        check_format(table, str(path))
    except ValueError as e:
        raise ConfigurationError(str(e)) from e
    return {key: value for key, value in table.items() if key not in ("format", "release")}


def _read(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror}") from e
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{path} has more than {MAX_FILE_BYTES} bytes")
    return _parse(path, raw)


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise ConfigurationError(f"{path} is not valid TOML: {e}") from e


def _variables(path: Path, table: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if prefix == MODELS and isinstance(value, dict):
            yield from _variables(path, value, f"{prefix}{variable_part(key)}__")
            continue
        if not _KEY.fullmatch(key):
            raise ConfigurationError(
                f"{path}: {key!r} is no setting; keys are lower-case, for example store_url"
            )
        variable = prefix + key.upper()
        if isinstance(value, dict):
            yield from _variables(path, value, variable + "__")
        else:
            yield variable, _text(path, variable, value)


def _text(path: Path, variable: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        text = str(value)
        if "\0" not in text:
            return text
    if isinstance(value, list) and all(
        isinstance(item, str | int) and "," not in str(item) for item in value
    ):
        return ",".join(map(str, value))
    raise ConfigurationError(
        f"{path}: the value of {variable} is not a text, a number, a yes/no or a list of texts"
    )
