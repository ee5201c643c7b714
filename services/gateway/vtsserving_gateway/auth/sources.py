"""Who knows the tokens of a gateway's callers: the store service, or a file."""

from __future__ import annotations

from pathlib import Path

from vtsserving._auth.token_file import TokenFile
from vtsserving._auth.tokens import SCOPES, Token, check_token
from vtsserving._store_client.http import (
    SchemaErrors,
    check_url,
    connection_errors,
    error_of,
    json_of,
    new_client,
)
from vtsserving.exceptions import AuthError, StoreUnavailable, VtsServingException


class StoreTokens:
    """Asks the store whose token it is, with that very token: the gateway needs no rights of its own for it."""

    def __init__(self, url: str) -> None:
        """Ask the store service at `url`; ConfigurationError if that is no address."""
        self._url = check_url(url)
        self._http = new_client(self._url, "")

    def find(self, text: str, timeout_s: float) -> Token:
        """Check a token; blocks for `timeout_s` at most.

        Raises:
            AuthError: it is not valid.
            StoreUnavailable: the store cannot be asked now.
        """
        with connection_errors(self._url):
            headers = {"authorization": f"Bearer {text}"}
            answer = self._http.get("/api/v1/token", headers=headers, timeout=timeout_s)
        if not answer.is_success:
            error = error_of(answer, self._url)
            if answer.status_code == 401:
                raise error
            raise StoreUnavailable(f"the store could not check a token: {error.message}")
        try:
            fields = json_of(answer, self._url, dict)
            with SchemaErrors(self._url):
                token = Token(**{name: fields[name] for name in Token.__dataclass_fields__})
        except VtsServingException as error:
            raise StoreUnavailable(error.message) from error
        if token.scope not in SCOPES:
            raise AuthError(f"the token {token.name!r} has a scope that this gateway does not know")
        return token


class FileTokens:
    """Tokens of a file, which is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`."""
        self._file = TokenFile(path)

    def check(self) -> None:
        """Raise ConfigurationError if the file cannot be read."""
        self._file.list()

    def find(self, text: str, timeout_s: float) -> Token:
        """Check a token, at once; AuthError if it is not valid, ConfigurationError if the file cannot be read."""
        return check_token(text, self._file.find)
