"""Tar streams, read and written without seeking and without trusting a single field.

The standard library's reader takes extended headers of any size into memory and repairs what it cannot read; this
one knows regular files and folders, refuses everything else by name, and checks that padding and the end are what
a writer would have put there.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import Final, NamedTuple

from vtsserving._archive.limits import CHUNK_BYTES, ArchiveLimits
from vtsserving._archive.names import shown
from vtsserving._archive.streams import Readable, read_exactly
from vtsserving.exceptions import CorruptArchive, UnsafeArchive

BLOCK_BYTES: Final = 512
END: Final = bytes(2 * BLOCK_BYTES)
"""Two zero blocks close an archive."""

_ZERO_BLOCK: Final = bytes(BLOCK_BYTES)
_MAX_SIZE_BYTES: Final = 2**62
_MAX_TRAILER_BYTES: Final = CHUNK_BYTES
_REFUSED_TYPES: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"7": "a contiguous file",
    b"K": "a long link",
    b"S": "a sparse file",
}
_PAX_RECORD: Final = re.compile(rb"([1-9][0-9]{0,8}) ")


class TarMember(NamedTuple):
    """One member's header, unchecked but for its type: `name` as it stands there, `size_bytes` of what follows."""

    name: str
    size_bytes: int
    is_folder: bool


def header(name: str, size_bytes: int) -> bytes:
    """The header of a regular file, equal for equal arguments on every machine.

    Args:
        name: `/` between parts.
        size_bytes: the size of the file.

    Returns:
        One block, or more when the name or the size needs an extended header.
    """
    info = tarfile.TarInfo(name)
    info.size = size_bytes
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size_bytes: int) -> bytes:
    """The zeros after a file of this size."""
    return bytes(-size_bytes % BLOCK_BYTES)


class TarReader:
    """The members of a tar stream, in order."""

    def __init__(self, stream: Readable, limits: ArchiveLimits) -> None:
        """Read from `stream`; extended headers are held to `limits.header_bytes`."""
        self._stream = stream
        self._limits = limits
        self._left_bytes = 0
        self._padding_bytes = 0

    def __iter__(self) -> Iterator[TarMember]:
        """Each member once; what was not read of the one before is skipped.

        Yields:
            The members, up to the end marker; the stream is then checked to its very end.

        Raises:
            CorruptArchive: cut off or damaged.
            UnsafeArchive: a member that is neither a regular file nor a folder.
        """
        extended: dict[str, str] = {}
        while True:
            self._finish_member()
            block = read_exactly(self._stream, BLOCK_BYTES)
            if block == _ZERO_BLOCK:
                if extended:
                    raise CorruptArchive("the archive ends after an extended header")
                self._check_end()
                return
            _check_sum(block)
            kind = block[156:157]
            if kind in {b"x", b"g", b"L"}:
                self._extended_header(block, kind, extended)
                continue
            yield self._member(block, kind, extended)
            extended = {}

    def chunks(self) -> Iterator[bytes]:
        """The contents of the current member.

        Yields:
            CHUNK_BYTES at most each time.
        """
        while self._left_bytes:
            data = self._stream.read(min(CHUNK_BYTES, self._left_bytes))
            if not data:
                raise CorruptArchive("the archive is cut off; copy or download it again")
            self._left_bytes -= len(data)
            yield data

    def _finish_member(self) -> None:
        for _ in self.chunks():
            pass
        if self._padding_bytes and any(read_exactly(self._stream, self._padding_bytes)):
            raise CorruptArchive("the archive is damaged: data where padding belongs")
        self._padding_bytes = 0

    def _member(self, block: bytes, kind: bytes, extended: dict[str, str]) -> TarMember:
        name = extended.get("path") or extended.get("long_name") or _name_of(block)
        if kind not in {b"0", b"\0", b"5"}:
            what = _REFUSED_TYPES.get(kind, f"of unknown type {kind!r}")
            raise UnsafeArchive(f"the archive has a member that is {what}: {shown(name)}")
        size_bytes = _decimal(extended["size"]) if "size" in extended else _number(block[124:136])
        is_folder = kind == b"5"
        if is_folder and size_bytes:
            raise CorruptArchive("the archive is damaged: a folder with contents")
        self._left_bytes = size_bytes
        self._padding_bytes = -size_bytes % BLOCK_BYTES
        return TarMember(name, size_bytes, is_folder)

    def _extended_header(self, block: bytes, kind: bytes, extended: dict[str, str]) -> None:
        size_bytes = _number(block[124:136])
        if size_bytes > self._limits.header_bytes:
            raise UnsafeArchive(f"the archive has an extended header of {size_bytes} bytes")
        seen = f"seen {kind!r}"
        if seen in extended:
            raise UnsafeArchive("the archive has two extended headers for one member")
        extended[seen] = ""
        data = read_exactly(self._stream, size_bytes)
        if any(read_exactly(self._stream, -size_bytes % BLOCK_BYTES)):
            raise CorruptArchive("the archive is damaged: data where padding belongs")
        if kind == b"L":
            extended["long_name"] = _text(data.rstrip(b"\0"))
            return
        records = dict(_pax_records(data))
        if kind == b"g" and ("path" in records or "size" in records):
            raise UnsafeArchive("the archive gives all its members one name or size")
        extended.update(records)

    def _check_end(self) -> None:
        """One zero block was read; the rest must be zeros, at least one block of them, and must end."""
        trailer_bytes = 0
        while data := self._stream.read(CHUNK_BYTES):
            if any(data):
                raise CorruptArchive("the archive has other data after its end")
            trailer_bytes += len(data)
            if trailer_bytes > _MAX_TRAILER_BYTES:
                raise CorruptArchive("the archive has too many zeros after its end")
        if trailer_bytes < BLOCK_BYTES:
            raise CorruptArchive("the archive is cut off; copy or download it again")


def _check_sum(block: bytes) -> None:
    announced = _number(block[148:156])
    if announced != sum(block) - sum(block[148:156]) + 8 * ord(" ") or block[257:262] != b"ustar":
        raise CorruptArchive("the archive is damaged: a tar header has a bad checksum")


def _name_of(block: bytes) -> str:
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0]
    # GNU's magic is "ustar  "; it keeps times where POSIX keeps the prefix.
    if prefix and block[257:263] == b"ustar\0":
        name = prefix + b"/" + name
    return _text(name)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UnsafeArchive(f"the archive has a member whose name is not UTF-8: {raw[:80]!r}") from None


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # base 256, for sizes of 8 GiB and more
        number = int.from_bytes(field[1:], "big")
    else:
        digits = field.strip(b" \0")
        if not re.fullmatch(rb"[0-7]*", digits):
            raise CorruptArchive("the archive is damaged: a tar header has a bad number")
        number = int(digits or b"0", 8)
    if number > _MAX_SIZE_BYTES:
        raise CorruptArchive("the archive is damaged: a tar header has an impossible number")
    return number


def _decimal(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise CorruptArchive("the archive is damaged: an extended header has a bad size")
    return int(text)


def _pax_records(data: bytes) -> Iterator[tuple[str, str]]:
    """The records that say where and how large a file is; others (times, owners) are of no use here."""
    position = 0
    while position < len(data):
        match = _PAX_RECORD.match(data, position)
        end = position + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise CorruptArchive("the archive is damaged: an extended header cannot be read")
        key, equals, value = data[match.end() : end - 1].partition(b"=")
        position = end
        if not equals:
            raise CorruptArchive("the archive is damaged: an extended header cannot be read")
        if key.startswith(b"GNU.sparse") or key == b"hdrcharset":
            raise UnsafeArchive(
                f"the archive has an extended header that is not allowed: {shown(_text(key))}"
            )
        if key in {b"path", b"size"}:
            yield _text(key), _text(value)
