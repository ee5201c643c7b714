"""Access tokens: shown once, kept as a hash, checked for each request."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

from vtsserving.exceptions import AuthError, Conflict, InvalidArgument, NotFound
from vtsserving_store import keys
from vtsserving_store.blobs import Blobs
from vtsserving_store.records import now

SCOPES: Final = ("pull", "push", "admin")
"""Each includes those before it."""

CACHE_S: Final = 5.0
"""How long a revoked token may still work on another replica."""

LEEWAY_S: Final = 60.0
"""Clocks of replicas may differ by this much when a token expires."""

MAX_CACHED: Final = 4096
_MAX_TOKEN_BYTES: Final = 4096
_FORM: Final = re.compile(r"vts_([0-9a-f]{16})_([0-9a-f]{64})")
_NAME_CHARS: Final = 63


@dataclass(frozen=True)
class Token:
    """A token, without its secret.

    Attributes:
        id: names it in lists and to revoke it.
        name: what it is for.
        scope: what it may do, one of SCOPES.
        created_at: ISO 8601, UTC.
        expires_s: seconds since 1970; None means never.
    """

    id: str
    name: str
    scope: str
    created_at: str
    expires_s: float | None

    def allows(self, scope: str) -> bool:
        """Whether the token may do what needs `scope`."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def to_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        return dict(vars(self))


class Tokens:
    """All tokens of the store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._cache: dict[str, tuple[float, Token, str]] = {}

    def create(self, name: str, scope: str, *, expires_in_s: float | None = None) -> tuple[Token, str]:
        """Make a token.

        Args:
            name: what it is for.
            scope: one of SCOPES.
            expires_in_s: how long it works; None means until it is revoked.

        Returns:
            The token and its text, which is not kept anywhere.

        Raises:
            InvalidArgument: the scope is unknown, or the name is not printable.
        """
        text = f"vts_{secrets.token_hex(8)}_{secrets.token_hex(32)}"
        expires_s = None if expires_in_s is None else time.time() + expires_in_s
        return self._keep(text, name, scope, expires_s)[0], text

    def adopt(self, text: str, name: str, scope: str) -> Token:
        """Let a token work that somebody else made, as whoever sets up services does before a store runs.

        Args:
            text: `vts_`, 16 hexadecimal digits that name it, `_`, 64 random ones.
            name: what it is for.
            scope: one of SCOPES.

        Returns:
            The token; the one that was there already, if this text was adopted before.

        Raises:
            InvalidArgument: text, name or scope is malformed.
            Conflict: another token has these first 16 digits.
        """
        token, is_new = self._keep(text, name, scope, None)
        if is_new:
            return token
        try:
            return self.check(text)
        except AuthError as error:
            raise Conflict(f"the token {token.id} is there already, with another secret or scope") from error

    def _keep(self, text: str, name: str, scope: str, expires_s: float | None) -> tuple[Token, bool]:
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidArgument("a token is vts_, 16 hexadecimal digits, _, and 64 more")
        if scope not in SCOPES:
            raise InvalidArgument(f"{scope!a:.40} is not a scope; choose one of {', '.join(SCOPES)}")
        if not 0 < len(name) <= _NAME_CHARS or not name.isprintable():
            raise InvalidArgument(f"a token needs a printable name of 1 to {_NAME_CHARS} characters")
        token = Token(match[1], name, scope, now(), expires_s)
        body = json.dumps({**token.to_dict(), "sha256": _hash(match[2])}).encode()
        return token, self._blobs.create(keys.token(token.id), body)

    def list(self) -> list[Token]:
        """All tokens, oldest first; expired ones too."""
        found = [self._read(entry.key) for entry in list(self._blobs.entries(keys.TOKENS))]
        return sorted((pair[0] for pair in found if pair is not None), key=lambda token: token.created_at)

    def revoke(self, token_id: str) -> None:
        """Make a token useless, here at once and on other replicas within CACHE_S.

        Raises:
            NotFound: there is no such token.
        """
        if not keys.is_id(token_id) or self._blobs.stat(keys.token(token_id)) is None:
            raise NotFound(f"no token {token_id!a:.40}")
        self._blobs.delete(keys.token(token_id))
        self._cache.pop(token_id, None)

    def check(self, text: str) -> Token:
        """Find out whose request it is.

        Args:
            text: what the client sent after `Bearer`.

        Raises:
            AuthError: the token is malformed, unknown, revoked or expired.
        """
        match = _FORM.fullmatch(text)
        found = self._cached(match[1]) if match else None
        if match is None or found is None or not hmac.compare_digest(found[1], _hash(match[2])):
            raise AuthError("the token is not valid: it is malformed, unknown or revoked")
        token = found[0]
        if token.expires_s is not None and time.time() > token.expires_s + LEEWAY_S:
            raise AuthError(f"the token {token.name!r} has expired: ask for a new one")
        return token

    def _cached(self, token_id: str) -> tuple[Token, str] | None:
        known = self._cache.get(token_id)
        if known is not None and time.monotonic() - known[0] < CACHE_S:
            return known[1], known[2]
        found = self._read(keys.token(token_id))
        self._cache.pop(token_id, None)
        if found is not None:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[token_id] = (time.monotonic(), *found)
        return found

    def _read(self, key: str) -> tuple[Token, str] | None:
        body = self._blobs.read(key, limit_bytes=_MAX_TOKEN_BYTES)
        if body is None:
            return None
        fields = json.loads(body)
        digest = str(fields.pop("sha256"))
        return Token(**fields), digest


def _hash(secret: str) -> str:
    """A plain hash will do: the secret is 256 random bits, which nobody can guess."""
    return hashlib.sha256(secret.encode()).hexdigest()
