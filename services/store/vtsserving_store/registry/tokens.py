"""The store's access tokens, one object each; checked for each request."""

from __future__ import annotations

import threading
from typing import Final

from cachetools import TTLCache

from vtsserving._auth.tokens import LEEWAY_S, Token, TokenRecord, check_token, new_token, record_of
from vtsserving.exceptions import AuthError, Conflict, NotFound
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore

__all__ = ["CACHE_S", "LEEWAY_S", "Token", "Tokens"]

CACHE_S: Final = 5.0
"""How long a revoked token may still work on another replica."""

MAX_CACHED: Final = 4096
_MAX_TOKEN_BYTES: Final = 4096


class Tokens:
    """All tokens of the store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._cache: TTLCache[str, TokenRecord] = TTLCache(MAX_CACHED, CACHE_S)
        self._lock = threading.Lock()  # for `_cache`: requests run in threads

    def create(self, name: str, scope: str, *, expires_in_s: float | None = None) -> tuple[Token, str]:
        """Make a token.

        Args:
            name: what it is for.
            scope: one of vtsserving._auth.tokens.SCOPES.
            expires_in_s: how long it works; None means until it is revoked.

        Returns:
            The token and its text, which is not kept anywhere.

        Raises:
            InvalidArgument: the scope is unknown, or the name is not printable.
        """
        record, text = new_token(name, scope, expires_in_s=expires_in_s)
        self._keep(record)
        return record.token, text

    def adopt(self, text: str, name: str, scope: str) -> Token:
        """Let a token work that somebody else made, as whoever sets up services does before a store runs.

        Args:
            text: `vts_`, 16 hexadecimal digits that name it, `_`, 64 random ones.
            name: what it is for.
            scope: one of vtsserving._auth.tokens.SCOPES.

        Returns:
            The token; the one that was there already, if this text was adopted before.

        Raises:
            InvalidArgument: text, name or scope is malformed.
            Conflict: another token has these first 16 digits.
        """
        record = record_of(text, name, scope)
        if self._keep(record):
            return record.token
        try:
            return self.check(text)
        except AuthError as error:
            raise Conflict(
                f"the token {record.token.id} is there already, with another secret or scope"
            ) from error

    def _keep(self, record: TokenRecord) -> bool:
        return self._objects.create(keys.token(record.token.id), record.to_json().encode())

    def list(self) -> list[Token]:
        """All tokens, oldest first; expired ones too."""
        found = [self._read(entry.key) for entry in list(self._objects.entries(keys.TOKENS))]
        return sorted(
            (record.token for record in found if record is not None), key=lambda token: token.created_at
        )

    def revoke(self, token_id: str) -> None:
        """Make a token useless, here at once and on other replicas within CACHE_S.

        Raises:
            NotFound: there is no such token.
        """
        if not keys.is_id(token_id) or self._objects.stat(keys.token(token_id)) is None:
            raise NotFound(f"no token {token_id!a:.40}")
        self._objects.delete(keys.token(token_id))
        with self._lock:
            self._cache.pop(token_id, None)

    def check(self, text: str) -> Token:
        """Find out whose request it is.

        Args:
            text: what the client sent after `Bearer`.

        Raises:
            AuthError: the token is malformed, unknown, revoked or expired.
        """
        return check_token(text, self._cached)

    def _cached(self, token_id: str) -> TokenRecord | None:
        with self._lock:
            known: TokenRecord | None = self._cache.get(token_id)
        if known is not None:
            return known
        found = self._read(keys.token(token_id))
        if found is not None:
            with self._lock:
                self._cache[token_id] = found
        return found

    def _read(self, key: str) -> TokenRecord | None:
        body = self._objects.read(key, limit_bytes=_MAX_TOKEN_BYTES)
        return None if body is None else TokenRecord.from_json(body)
