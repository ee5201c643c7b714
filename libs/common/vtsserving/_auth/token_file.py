"""Tokens in a file, for gateways without a store service: one record a line, hashes instead of secrets."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

from vtsserving._auth.tokens import Token, TokenRecord, new_token
from vtsserving.exceptions import ConfigurationError, NewerFormat, NotFound

MAX_FILE_BYTES: Final = 1024 * 1024
_OWNER_ONLY: Final = 0o600


class TokenFile:
    """A file of tokens; read again when it has changed, so that a revoked token ends without a restart."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`, which need not exist before the first token is made."""
        self._path = path
        self._records: dict[str, TokenRecord] = {}
        self._read_as: tuple[int, int, int] | None = None

    def create(self, name: str, scope: str, *, expires_in_s: float | None = None) -> tuple[Token, str]:
        """Add a token; returns it with its text, which is not kept anywhere.

        Raises:
            InvalidArgument: the scope is unknown, or the name is not printable.
            ConfigurationError: the file cannot be read or written.
        """
        record, text = new_token(name, scope, expires_in_s=expires_in_s)
        kept = self._load() if self._path.exists() else {}
        self._write({**kept, record.token.id: record})
        return record.token, text

    def list(self) -> list[Token]:
        """All tokens, oldest first; ConfigurationError if the file cannot be read."""
        return sorted((record.token for record in self._load().values()), key=lambda token: token.created_at)

    def revoke(self, token_id: str) -> None:
        """Remove a token.

        Raises:
            NotFound: there is no such token.
            ConfigurationError: the file cannot be read or written.
        """
        kept = self._load()
        if token_id not in kept:
            raise NotFound(f"no token {token_id!a:.40}")
        self._write({id: record for id, record in kept.items() if id != token_id})

    def find(self, token_id: str) -> TokenRecord | None:
        """The record of a token; None if there is none. ConfigurationError if the file cannot be read."""
        return self._load().get(token_id)

    def _load(self) -> dict[str, TokenRecord]:
        try:
            found = self._path.stat()
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if state != self._read_as:
                with self._path.open("rb") as file:
                    text = file.read(MAX_FILE_BYTES + 1)
                self._records = self._parse(text)
                self._read_as = state
        except OSError as error:
            raise ConfigurationError(
                f"cannot read the token file {self._path}: {error.strerror}; "
                f"`vtsserving store token create NAME --scope infer --file {self._path}` makes one"
            ) from error
        return self._records

    def _parse(self, text: bytes) -> dict[str, TokenRecord]:
        if len(text) > MAX_FILE_BYTES:
            raise ConfigurationError(f"the token file {self._path} has more than {MAX_FILE_BYTES} bytes")
        records = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            try:
                record = TokenRecord.from_json(line)
            except NewerFormat as error:
                raise NewerFormat(f"{self._path}, line {number}: {error.message}") from error
            except (ValueError, TypeError, KeyError, AttributeError):
                # Not from the error: it could quote the line.
                raise ConfigurationError(f"{self._path}, line {number}: not the record of a token") from None
            records[record.token.id] = record
        return records

    def _write(self, records: dict[str, TokenRecord]) -> None:
        """Replace the file as a whole, readable for its owner only."""
        text = "".join(f"{record.to_json()}\n" for record in records.values())
        beside = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise ConfigurationError(f"cannot write the token file {self._path}: {error.strerror}") from error
