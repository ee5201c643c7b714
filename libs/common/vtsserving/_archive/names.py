"""Which member names an archive may have, and which of them collide.

A name is refused, never repaired: what one tool repairs to `evil`, another extracts to `../evil`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from vtsserving.exceptions import UnsafeArchive

MAX_PART_BYTES: Final = 255
MAX_NAME_BYTES: Final = 1_024
MAX_PARTS: Final = 32

_DRIVE: Final = re.compile(r"^[A-Za-z]:")
_FORBIDDEN_CHARS: Final = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_SHOWN_CHARS: Final = 80


def shown(name: str) -> str:
    """A hostile name, fit for one line of a terminal: quoted, escaped and cut."""
    return ascii(name[:_SHOWN_CHARS])


def split_name(name: str) -> tuple[str, ...]:
    """Check one member name and split it.

    Args:
        name: as it stands in the archive, `/` between parts; one leading `./` is allowed, as `tar -C dir .` writes it.

    Returns:
        The parts, without empty ones; empty for the root itself (`./`).

    Raises:
        UnsafeArchive: the name is absolute, climbs, has characters that file systems disagree on, or is too long.
    """
    if name in {".", "./"}:
        return ()
    bare = name.removeprefix("./").removesuffix("/")
    if not bare or bare.startswith("/") or _DRIVE.match(bare) or _FORBIDDEN_CHARS.search(bare):
        raise UnsafeArchive(f"the archive has a member with an unsafe name: {shown(name)}")
    parts = tuple(bare.split("/"))
    if any(part in {"", ".", ".."} for part in parts):
        raise UnsafeArchive(f"the archive has a member with an unsafe name: {shown(name)}")
    too_long = len(bare.encode()) > MAX_NAME_BYTES or any(len(p.encode()) > MAX_PART_BYTES for p in parts)
    if too_long or len(parts) > MAX_PARTS:
        raise UnsafeArchive(f"the archive has a member with a name that is too long: {shown(name)}")
    return parts


class Names:
    """The names seen so far in one archive.

    Two names collide when a file system could take them for one: equal, equal but for case, or equal after Unicode
    normalisation. A folder may be implied by any number of its files, and be listed once.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._spelling: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._files: set[tuple[str, ...]] = set()
        self._listed_folders: set[tuple[str, ...]] = set()

    def file(self, name: str) -> tuple[str, ...]:
        """Claim a name for a regular file.

        Args:
            name: as it stands in the archive.

        Returns:
            Its parts, at least one.

        Raises:
            UnsafeArchive: the name is unsafe or taken.
        """
        parts = split_name(name)
        if not parts or name.endswith("/"):
            raise UnsafeArchive(f"the archive has a file with the name of a folder: {shown(name)}")
        self._folders_above(parts)
        key = _key(parts)
        if key in self._spelling:
            raise UnsafeArchive(f"the archive has two members for one name: {shown(name)}")
        self._spelling[key] = parts
        self._files.add(key)
        return parts

    def folder(self, name: str) -> None:
        """Claim a name for a folder that the archive lists.

        Args:
            name: as it stands in the archive.

        Raises:
            UnsafeArchive: the name is unsafe, a file's, or listed before.
        """
        parts = split_name(name)
        key = _key(parts)
        if key in self._listed_folders:
            raise UnsafeArchive(f"the archive has two members for one name: {shown(name)}")
        self._listed_folders.add(key)
        if parts:
            self._folders_above(parts)
            self._folder(parts)

    def _folders_above(self, parts: tuple[str, ...]) -> None:
        for depth in range(1, len(parts)):
            self._folder(parts[:depth])

    def _folder(self, parts: tuple[str, ...]) -> None:
        key = _key(parts)
        if key in self._files or self._spelling.setdefault(key, parts) != parts:
            raise UnsafeArchive(f"the archive has two members for one name: {shown('/'.join(parts))}")


def _key(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)
