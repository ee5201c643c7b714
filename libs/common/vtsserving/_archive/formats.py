"""The archive formats: their names, extensions and first bytes."""

from __future__ import annotations

from typing import Final

from vtsserving.exceptions import CorruptArchive, InvalidArgument

EXTENSIONS: Final = {
    "vtsmodel": ".vtsmodel",
    "tar": ".tar",
    "gz": ".tar.gz",
    "xz": ".tar.xz",
    "bz2": ".tar.bz2",
    "zip": ".zip",
    "folder": "",
}
"""Format -> extension of a generated file name. `vtsmodel` is tar + zstd."""

DEFAULT_FORMAT: Final = "vtsmodel"

_SUFFIXES: Final = {
    ".vtsmodel": "vtsmodel",
    ".tar.zst": "vtsmodel",
    ".tar": "tar",
    ".tar.gz": "gz",
    ".tgz": "gz",
    ".gz": "gz",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".xz": "xz",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".bz2": "bz2",
    ".zip": "zip",
}
_ALIASES: Final = {
    "tar.gz": "gz",
    "tgz": "gz",
    "tar.xz": "xz",
    "tar.bz2": "bz2",
    "tar.zst": "vtsmodel",
    "zst": "vtsmodel",
}

_MAGIC: Final = (
    (b"\x28\xb5\x2f\xfd", "vtsmodel"),
    (b"\x1f\x8b", "gz"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bz2"),
    (b"PK\x03\x04", "zip"),
)
_TAR_MAGIC: Final = b"ustar"
_TAR_MAGIC_AT: Final = 257
SNIFF_BYTES: Final = 512
"""How many first bytes `sniff` wants."""


def parse_format(name: str) -> str:
    """The format that a user named.

    Args:
        name: one of EXTENSIONS, or a usual name such as `tar.gz`; a leading dot and upper case are fine.

    Returns:
        A key of EXTENSIONS.

    Raises:
        InvalidArgument: no such format.
    """
    plain = name.lower().removeprefix(".")
    plain = _ALIASES.get(plain, plain)
    if plain not in EXTENSIONS:
        raise InvalidArgument(f"unknown archive format {name!r}; known: {', '.join(EXTENSIONS)}")
    return plain


def format_of_name(file_name: str) -> str | None:
    """The format that a file name's extension tells, or None."""
    lowered = file_name.lower()
    for suffix, archive_format in _SUFFIXES.items():
        if lowered.endswith(suffix) and len(lowered) > len(suffix):
            return archive_format
    return None


def sniff(head: bytes) -> str:
    """The format of an archive, told by its first bytes; names are not trusted.

    Args:
        head: the first SNIFF_BYTES bytes, or all there are.

    Returns:
        A key of EXTENSIONS other than `folder`.

    Raises:
        CorruptArchive: not an archive that can be read.
    """
    if not head:
        raise CorruptArchive("the archive is empty")
    for magic, archive_format in _MAGIC:
        if head.startswith(magic):
            return archive_format
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + len(_TAR_MAGIC)] == _TAR_MAGIC:
        return "tar"
    raise CorruptArchive(
        "this is not a model archive; known are .vtsmodel, tar, tar.gz, tar.xz, tar.bz2 and zip"
    )
