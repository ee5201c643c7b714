"""Zip files, read strictly and written reproducibly.

Two places in a zip describe each member, and readers differ in which they believe; here both must agree. The
standard library reads the directory; sizes, counts and everything that is unpacked are checked here.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Final, NamedTuple, cast

from vtsserving._archive.compression import DEFLATE_LEVEL
from vtsserving._archive.limits import CHUNK_BYTES, MIB, ArchiveLimits
from vtsserving._archive.names import shown
from vtsserving._archive.streams import Writable, read_exactly
from vtsserving.exceptions import ArchiveTooLarge, CorruptArchive, UnsafeArchive

_END: Final = struct.Struct("<4s4H2LH")
_END64_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_MAX_COMMENT_BYTES: Final = 65_535
_MAX_DIRECTORY_BYTES: Final = 64 * MIB
_UNKNOWN_32: Final = 0xFFFF_FFFF
_ENCRYPTED_OR_ODD: Final = 0x1 | 0x20 | 0x40 | 0x2000
_HAS_DESCRIPTOR: Final = 0x8
_UTF8_NAME: Final = 0x800
_UNIX: Final = 3


class ZipMember(NamedTuple):
    """One member, both of its descriptions checked against each other."""

    name: str
    size_bytes: int
    is_folder: bool
    packed_bytes: int
    crc32: int
    deflated: bool
    data_at: int


def read_directory(file: IO[bytes], limits: ArchiveLimits) -> list[ZipMember]:
    """Read and check the directory of a zip file.

    Args:
        file: the whole archive, seekable.
        limits: how many members are allowed.

    Returns:
        The members in the order of their data.

    Raises:
        CorruptArchive: it cannot be read, or its two descriptions differ.
        UnsafeArchive: links, encryption, overlapping members.
        ArchiveTooLarge: too many members.
    """
    directory_at = _check_size(file, limits)
    try:
        with zipfile.ZipFile(file) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error, UnicodeError) as e:
        raise CorruptArchive(f"the zip archive is damaged ({e}); copy or download it again") from e
    ends = [info.header_offset for info in infos[1:]] + [directory_at]
    if infos and infos[0].header_offset:
        raise CorruptArchive("the zip archive has other data before its first member")
    return [_member(file, info, end) for info, end in zip(infos, ends, strict=True)]


def chunks(file: IO[bytes], member: ZipMember) -> Iterator[bytes]:
    """Unpack one member.

    Args:
        file: the archive.
        member: from `read_directory`.

    Yields:
        CHUNK_BYTES at most each time.

    Raises:
        CorruptArchive: the data is not what the directory says.
    """
    file.seek(member.data_at)
    crc32 = size_bytes = 0
    for data in (
        _inflate(file, member.packed_bytes) if member.deflated else _stored(file, member.packed_bytes)
    ):
        crc32 = zlib.crc32(data, crc32)
        size_bytes += len(data)
        if size_bytes > member.size_bytes:
            break
        yield data
    if (crc32, size_bytes) != (member.crc32, member.size_bytes):
        raise CorruptArchive(f"the zip archive is damaged at {shown(member.name)}; copy or download it again")


class ZipWriter:
    """Writes regular files, one after the other, to a stream that need not seek."""

    def __init__(self, stream: Writable) -> None:
        """Write to `stream`, which stays open."""
        self._out = _Unseekable(stream)
        self._archive = zipfile.ZipFile(
            cast("IO[bytes]", self._out), "w", zipfile.ZIP_DEFLATED, compresslevel=DEFLATE_LEVEL
        )

    def add(self, name: str, size_bytes: int) -> IO[bytes]:
        """Begin a file.

        Args:
            name: `/` between parts.
            size_bytes: how much will be written.

        Returns:
            Where its contents go; close it before the next one.
        """
        # By name: only so does the archive's level count for it.
        is_large = size_bytes * 1.05 > zipfile.ZIP64_LIMIT
        return self._archive.open(name, "w", force_zip64=is_large)

    def close(self) -> None:
        """Write the directory, which is where kind and rights of the files stand."""
        for info in self._archive.infolist():
            info.create_system = _UNIX
            info.external_attr = (stat.S_IFREG | 0o644) << 16
        self._archive.close()

    def abandon(self) -> None:
        """Write nothing more: the library would still add a directory when it is collected."""
        self._out.abandoned = True


class _Unseekable:
    """Hides `seek`, so that equal models give equal zips wherever they are written."""

    def __init__(self, stream: Writable) -> None:
        self._stream = stream
        self.abandoned = False

    def write(self, data: bytes) -> int:
        if not self.abandoned:
            self._stream.write(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back here."""


def _check_size(file: IO[bytes], limits: ArchiveLimits) -> int:
    """Refuse a directory that is too long before anything parses it; returns where it begins."""
    total_bytes = file.seek(0, 2)
    tail_at = max(0, total_bytes - _END.size - _MAX_COMMENT_BYTES)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise CorruptArchive("the zip archive is cut off; copy or download it again")
    _, disk, _, _, count, directory_bytes, directory_at, comment_bytes = _END.unpack_from(tail, at)
    if tail_at + at + _END.size + comment_bytes != total_bytes or disk:
        raise CorruptArchive("the zip archive is damaged; copy or download it again")
    end_at = tail_at + at
    end64 = _zip64_end(file, end_at)
    if end64 is not None:
        # Python's zipfile writes the long form from 2 GiB on, and repeats in the short one what fits there.
        for short, long, unknown in zip(
            (count, directory_bytes, directory_at), end64[:3], (0xFFFF, _UNKNOWN_32, _UNKNOWN_32), strict=True
        ):
            if short not in {long, unknown}:
                raise CorruptArchive("the zip archive is damaged: its two ends differ")
        count, directory_bytes, directory_at, end_at = end64
    if count > limits.files or directory_bytes > _MAX_DIRECTORY_BYTES:
        raise ArchiveTooLarge(f"the archive has more than {limits.files} members")
    if directory_at + directory_bytes != end_at:
        raise CorruptArchive("the zip archive is damaged: its directory is not where it should be")
    return int(directory_at)


def _zip64_end(file: IO[bytes], end_at: int) -> tuple[int, int, int, int] | None:
    """(members, size of the directory, where it begins, where it ends) as the long form says; None without one."""
    locator_at = end_at - _END64_LOCATOR.size
    if locator_at < 0:
        return None
    file.seek(locator_at)
    magic, _, end64_at, _ = _END64_LOCATOR.unpack(read_exactly(file, _END64_LOCATOR.size))
    if magic != b"PK\6\7":
        return None
    if end64_at + _END64.size > locator_at:
        raise CorruptArchive("the zip archive is damaged; copy or download it again")
    file.seek(end64_at)
    fields = _END64.unpack(read_exactly(file, _END64.size))
    if fields[0] != b"PK\6\6":
        raise CorruptArchive("the zip archive is damaged; copy or download it again")
    return fields[7], fields[8], fields[9], end64_at


def _member(file: IO[bytes], info: zipfile.ZipInfo, end: int) -> ZipMember:
    name = info.orig_filename
    is_folder = name.endswith("/")
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    if stat.S_IFMT(mode) not in {0, stat.S_IFDIR if is_folder else stat.S_IFREG}:
        raise UnsafeArchive(f"the archive has a member that is not a regular file: {shown(name)}")
    if info.flag_bits & _ENCRYPTED_OR_ODD or info.compress_type not in {
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    }:
        raise UnsafeArchive(f"the archive has a member that is encrypted or oddly compressed: {shown(name)}")
    if is_folder and info.file_size:
        raise CorruptArchive(f"the zip archive is damaged: a folder with contents: {shown(name)}")
    data_at = _check_local_header(file, info)
    _check_gap(file, info, data_at + info.compress_size, end)
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return ZipMember(name, info.file_size, is_folder, info.compress_size, info.CRC, deflated, data_at)


def _check_local_header(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Compare a member's own header with the directory; returns where its data begins."""
    file.seek(info.header_offset)
    fields = _LOCAL.unpack(read_exactly(file, _LOCAL.size))
    magic, _, flags, method, _, _, crc32, packed_bytes, size_bytes = fields[:9]
    name_bytes, extra_bytes = int(fields[9]), int(fields[10])
    raw_name = read_exactly(file, name_bytes)
    extra = read_exactly(file, extra_bytes)
    encoding = "utf-8" if info.flag_bits & _UTF8_NAME else "cp437"
    announced = (info.CRC, info.compress_size, info.file_size)
    if _UNKNOWN_32 in {packed_bytes, size_bytes}:
        size_bytes, packed_bytes = _zip64_sizes(extra)
    allowed = {announced}
    if flags & _HAS_DESCRIPTOR:
        allowed.add((0, 0, 0))
    same = magic == b"PK\3\4" and flags == info.flag_bits and method == info.compress_type
    if (
        not same
        or raw_name != info.orig_filename.encode(encoding)
        or (crc32, packed_bytes, size_bytes) not in allowed
    ):
        raise CorruptArchive(f"the zip archive contradicts itself about {shown(info.orig_filename)}")
    return info.header_offset + _LOCAL.size + name_bytes + extra_bytes


def _zip64_sizes(extra: bytes) -> tuple[int, int]:
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, position)
        if tag == 1 and length >= 16 and position + 20 <= len(extra):
            size_bytes, packed_bytes = struct.unpack_from("<2Q", extra, position + 4)
            return size_bytes, packed_bytes
        position += 4 + length
    raise CorruptArchive("the zip archive is damaged; copy or download it again")


def _check_gap(file: IO[bytes], info: zipfile.ZipInfo, data_end: int, end: int) -> None:
    """Between a member's data and the next header stands its descriptor, or nothing."""
    gap_bytes = end - data_end
    if gap_bytes < 0:
        raise UnsafeArchive(f"the archive has members that overlap: {shown(info.orig_filename)}")
    if not info.flag_bits & _HAS_DESCRIPTOR:
        expected = {b""}
    else:
        sizes = (info.CRC, info.compress_size, info.file_size)
        long_form = struct.pack("<L2Q", *sizes)
        expected = {long_form, b"PK\7\x08" + long_form}
        if max(sizes[1:]) <= _UNKNOWN_32:
            short_form = struct.pack("<3L", *sizes)
            expected |= {short_form, b"PK\7\x08" + short_form}
    file.seek(data_end)
    if gap_bytes > 24 or read_exactly(file, gap_bytes) not in expected:
        raise CorruptArchive(f"the zip archive contradicts itself about {shown(info.orig_filename)}")


def _stored(file: IO[bytes], packed_bytes: int) -> Iterator[bytes]:
    while packed_bytes:
        data = read_exactly(file, min(CHUNK_BYTES, packed_bytes))
        packed_bytes -= len(data)
        yield data


def _inflate(file: IO[bytes], packed_bytes: int) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=-15)
    try:
        for packed in _stored(file, packed_bytes):
            data = decoder.decompress(packed, CHUNK_BYTES)
            while data:
                yield data
                data = decoder.decompress(decoder.unconsumed_tail, CHUNK_BYTES)
    except zlib.error as e:
        raise CorruptArchive(f"the zip archive is damaged ({e}); copy or download it again") from e
    if not decoder.eof or decoder.unused_data:
        raise CorruptArchive("the zip archive is damaged; copy or download it again")
