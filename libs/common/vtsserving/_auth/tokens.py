"""Access tokens: shown once, kept as a hash; what they may do, and how one that is presented is checked."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from vtsserving import _clock
from vtsserving._record_format import check_format, newer
from vtsserving.exceptions import AuthError, Forbidden, InvalidArgument

SCOPES: Final = ("infer", "pull", "push", "admin")
"""Each includes those before it: who may pull a model may compute with it, too."""

LEEWAY_S: Final = 60.0
"""Clocks of machines may differ by this much when a token expires."""

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

    def require(self, scope: str) -> None:
        """Raise Forbidden unless the token may do what needs `scope`."""
        if not self.allows(scope):
            raise Forbidden(f"the token {self.name!r} has the scope {self.scope}; this needs {scope}")

    def check_age(self) -> None:
        """Raise AuthError if the token has expired."""
        if self.expires_s is not None and _clock.wall_s() > self.expires_s + LEEWAY_S:
            raise AuthError(f"the token {self.name!r} has expired: ask for a new one")

    def to_dict(self) -> dict[str, Any]:
        """As APIs show it."""
        return dict(vars(self))


class TokenRecord(NamedTuple):
    """What is kept of a token.

    Attributes:
        token: all but the secret.
        sha256: of the secret, hexadecimal. A plain hash will do: the secret is 256 random bits, which nobody can guess.
    """

    token: Token
    sha256: str

    def to_json(self) -> str:
        """The record as one line."""
        return json.dumps({**self.token.to_dict(), "sha256": self.sha256})

    @classmethod
    def from_json(cls, text: str | bytes) -> TokenRecord:
        """Read what `to_json` wrote.

        Raises:
            NewerFormat: a later release wrote it. So say a higher number, a scope that this one does not know, and a
                field that it does not know: what it overlooked might be what the token may not do.
            ValueError, TypeError, KeyError: it is not the record of a token.
        """
        fields = json.loads(text)
        check_format(fields, "the record of a token")
        # `format` and `release` speak of the record, not of the token.
        own = {name: value for name, value in fields.items() if name not in ("format", "release")}
        digest = str(own.pop("sha256"))
        unknown = sorted(own.keys() - Token.__dataclass_fields__.keys())
        if unknown:
            raise newer(f"the record of a token has {unknown[0]!a:.80}", release=fields.get("release"))
        token = Token(**own)
        if isinstance(token.scope, str) and token.scope not in SCOPES:
            raise newer(f"a token has the scope {token.scope!a:.40}", release=fields.get("release"))
        SCOPES.index(token.scope)
        return cls(token, digest)


class TokenKeeper(Protocol):
    """Where tokens are kept: a store, or a file."""

    def create(self, name: str, scope: str, *, expires_in_s: float | None = None) -> tuple[Token, str]:
        """Make a token; returns it with its text, which is not kept anywhere. InvalidArgument: scope or name."""

    def list(self) -> list[Token]:
        """All tokens, oldest first; expired ones too."""

    def revoke(self, token_id: str) -> None:
        """Make a token useless; NotFound if there is none."""


def new_token(name: str, scope: str, *, expires_in_s: float | None = None) -> tuple[TokenRecord, str]:
    """Make a token.

    Args:
        name: what it is for.
        scope: one of SCOPES.
        expires_in_s: how long it works; None means until it is revoked.

    Returns:
        What to keep, and the text, which should not be kept.

    Raises:
        InvalidArgument: the scope is unknown, or the name is not printable.
    """
    text = f"vts_{secrets.token_hex(8)}_{secrets.token_hex(32)}"
    expires_s = None if expires_in_s is None else _clock.wall_s() + expires_in_s
    return record_of(text, name, scope, expires_s), text


def record_of(text: str, name: str, scope: str, expires_s: float | None = None) -> TokenRecord:
    """What to keep of a token that is made now.

    Args:
        text: `vts_`, 16 hexadecimal digits that name it, `_`, 64 random ones.
        name: what it is for.
        scope: one of SCOPES.
        expires_s: until when it works, seconds since 1970; None means until it is revoked.

    Raises:
        InvalidArgument: text or scope is malformed, or the name is not printable.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidArgument("a token is vts_, 16 hexadecimal digits, _, and 64 more")
    if scope not in SCOPES:
        raise InvalidArgument(f"{scope!a:.40} is not a scope; choose one of {', '.join(SCOPES)}")
    if not 0 < len(name) <= _NAME_CHARS or not name.isprintable():
        raise InvalidArgument(f"a token needs a printable name of 1 to {_NAME_CHARS} characters")
    created_at = _clock.now_utc().isoformat(timespec="microseconds")
    return TokenRecord(Token(match[1], name, scope, created_at, expires_s), _hash(match[2]))


def check_token(text: str, find: Callable[[str], TokenRecord | None]) -> Token:
    """Find out whose request it is.

    Args:
        text: what the client sent after `Bearer`.
        find: the record of a token's id.

    Raises:
        AuthError: the token is malformed, unknown, revoked or expired.
    """
    match = _FORM.fullmatch(text)
    record = find(match[1]) if match else None
    if match is None or record is None or not hmac.compare_digest(record.sha256, _hash(match[2])):
        raise AuthError("the token is not valid: it is malformed, unknown or revoked")
    record.token.check_age()
    return record.token


def is_token(text: str) -> bool:
    """Whether a text has the form of a token."""
    return _FORM.fullmatch(text) is not None


def presented(authorization: str, where: str) -> str:
    """The token in an `Authorization` header.

    Args:
        authorization: the header; empty if there is none.
        where: what asks for it, for the message.

    Raises:
        AuthError: there is none, or it is of another kind.
    """
    scheme, _, text = authorization.strip().partition(" ")
    if not text:
        raise AuthError(f"{where} needs a token: send `Authorization: Bearer TOKEN`")
    if scheme.lower() != "bearer":
        raise AuthError(f"{where} knows `Authorization: Bearer TOKEN`, not {scheme!a:.20}")
    return text.strip()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
