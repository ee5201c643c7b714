"""Which store service to talk to, and with which token: flag, environment, `vtsserving login`, default.

Logins are kept in `<home>/contexts.json`, readable by the user alone.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vtsserving._local_store.files import replace_durably
from vtsserving._local_store.home import home
from vtsserving._record_format import check_format
from vtsserving._runtime.secret_files import read_secret
from vtsserving._store_client.client import DEFAULT_URL, RegistryClient
from vtsserving.exceptions import ConfigurationError, NotFound, StorageError

URL_VARIABLE: Final = "VTSSERVING_STORE_URL"
TOKEN_VARIABLE: Final = "VTSSERVING_STORE_TOKEN"
TOKEN_FILE_VARIABLE: Final = "VTSSERVING_STORE_TOKEN_FILE"
CONTEXT_VARIABLE: Final = "VTSSERVING_CONTEXT"
DEFAULT_NAME: Final = "default"


@dataclass(frozen=True)
class StoreContext:
    """A store that the user logged in to.

    Attributes:
        name: of the context.
        url: of the store.
        token: empty where the store needs none.
        current: whether it is used by default.
    """

    name: str
    url: str
    token: str
    current: bool = False


def connect(store_url: str | None = None, token: str | None = None) -> RegistryClient:
    """Prepare a client of the store that flag, environment or login name.

    Args:
        store_url: wins over everything else.
        token: for that store; by default from the environment or the login of the same address.

    Raises:
        ConfigurationError: an address is malformed, or VTSSERVING_CONTEXT names no login.
    """
    chosen = _from_environment() or current()
    url = store_url or (chosen.url if chosen else DEFAULT_URL)
    if token is None:
        token = _environment_token() or _token_of_login(url.rstrip("/"))
    return RegistryClient(url, token)


def _token_of_login(url: str) -> str:
    """The token for an address; of several logins to it, the one in use counts."""
    there = [context for context in contexts() if context.url == url]
    return next((c.token for c in there if c.current), there[0].token if there else "")


def contexts() -> list[StoreContext]:
    """All logins, sorted by name."""
    saved = _read()
    named = os.environ.get(CONTEXT_VARIABLE) or saved["current"]
    return [
        StoreContext(name, entry["url"], entry["token"], name == named)
        for name, entry in sorted(saved["contexts"].items())
    ]


def current() -> StoreContext | None:
    """The login in use; None if there is none.

    Raises:
        ConfigurationError: VTSSERVING_CONTEXT names no login.
    """
    found = next((context for context in contexts() if context.current), None)
    wanted = os.environ.get(CONTEXT_VARIABLE)
    if wanted and found is None:
        raise ConfigurationError(f"{CONTEXT_VARIABLE} is {wanted!r}, but there is no such login")
    return found


def login(url: str, token: str = "", *, name: str = DEFAULT_NAME) -> StoreContext:
    """Remember a store, after asking whether it is one and takes the token, and use it from now on.

    Args:
        url: of the store.
        token: empty where it needs none.
        name: of the context; an existing one is replaced.

    Raises:
        StoreUnavailable: nothing answers there.
        NotAStore: something else answers there.
        AuthError: the store needs another token.
    """
    with RegistryClient(url, token) as client:
        client.service()
        next(iter(client.models(q="")), None)
        kept = client.url
    saved = _read()
    saved["contexts"][name] = {"url": kept, "token": token}
    saved["current"] = name
    _write(saved)
    return StoreContext(name, kept, token, True)


def logout(name: str) -> None:
    """Forget a login.

    Raises:
        NotFound: there is none of this name.
    """
    saved = _read()
    if saved["contexts"].pop(name, None) is None:
        raise NotFound(f"there is no login {name!r}")
    if saved["current"] == name:
        saved["current"] = ""
    _write(saved)


def use(name: str) -> None:
    """Use a login from now on.

    Raises:
        NotFound: there is none of this name.
    """
    saved = _read()
    if name not in saved["contexts"]:
        raise NotFound(f"there is no login {name!r}")
    saved["current"] = name
    _write(saved)


def _from_environment() -> StoreContext | None:
    url = os.environ.get(URL_VARIABLE, "")
    return StoreContext("", url, _environment_token()) if url else None


def _environment_token() -> str:
    file = os.environ.get(TOKEN_FILE_VARIABLE, "")
    return read_secret(file, TOKEN_FILE_VARIABLE) if file else os.environ.get(TOKEN_VARIABLE, "")


def _path() -> Path:
    return home() / "contexts.json"


def _read() -> dict[str, Any]:
    try:
        saved = json.loads(_path().read_text(encoding="utf-8"))
        check_format(saved, str(_path()))
        # What a later release of the same format added is kept when the file is written again.
        return {
            **saved,
            "current": str(saved["current"]),
            "contexts": {
                str(name): {**entry, "url": str(entry["url"]), "token": str(entry["token"])}
                for name, entry in saved["contexts"].items()
            },
        }
    except FileNotFoundError:
        return {"current": "", "contexts": {}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{_path()} is damaged: remove it and log in again") from error


def _write(saved: dict[str, Any]) -> None:
    path = _path()
    beside = path.with_name(f".contexts-{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_durably(path, json.dumps(saved, indent=2).encode(), beside, mode=0o600)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StorageError(f"the login cannot be saved in {path}: {error.strerror}") from error
