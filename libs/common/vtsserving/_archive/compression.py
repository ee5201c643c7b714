"""Compressed streams, both ways, with bounded memory.

Reading never yields more than was asked for, whatever the input claims; a stream that ends early, fails its
checksum or is followed by other bytes is corrupt.
"""

from __future__ import annotations

import bz2
import contextlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from vtsserving._archive.limits import KIB, MIB
from vtsserving._archive.streams import ByteSource, Readable, Writable, read_exactly
from vtsserving.exceptions import CorruptArchive

_READ_BYTES: Final = 256 * KIB
_MAX_WINDOW_BYTES: Final = 128 * MIB
"""Dictionary memory that an archive may ask for; `xz -9` and `zstd --long` stay within."""

# Weights hardly compress, so a fast level costs little size; with workers zstd's output does not depend on how many.
DEFLATE_LEVEL: Final = 1
_ZSTD_LEVEL: Final = 1
_ZSTD_WORKERS: Final = 2
_ZSTD_MAX_BLOCK_BYTES: Final = 128 * KIB
_ZSTD_BLOCK_TYPE_RLE: Final = 1
_ZSTD_BLOCK_TYPE_RESERVED: Final = 3
_ZSTD_MAX_HEADER_BYTES: Final = 18
_ZSTD_CHECKSUM_BYTES: Final = 4


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Encoder(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Gunzip:
    """zlib's decompressor with the interface of bz2's and lzma's."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class _Decompressed:
    """The contents of a gz, xz or bz2 stream."""

    def __init__(self, source: ByteSource, decoder: _Decoder) -> None:
        self._source = source
        self._decoder = decoder

    def read(self, n_bytes: int) -> bytes:
        decoder = self._decoder
        while not decoder.eof:
            data = self._source.read(_READ_BYTES) if decoder.needs_input else b""
            if decoder.needs_input and not data:
                raise CorruptArchive("the archive is cut off; copy or download it again")
            out = self._decode(data, n_bytes)
            if out:
                return out
        if decoder.unused_data or self._source.peek(1):
            raise CorruptArchive("the archive has other data after its end")
        return b""

    def _decode(self, data: bytes, n_bytes: int) -> bytes:
        try:
            return self._decoder.decompress(data, n_bytes)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as e:
            raise _damaged(e) from e


class _Unzstd:
    """The contents of a zstd frame, fed block by block: a block unpacks to 128 KiB at most."""

    def __init__(self, source: ByteSource) -> None:
        import zstandard

        self._source = source
        self._error: type[Exception] = zstandard.ZstdError
        head = source.peek(_ZSTD_MAX_HEADER_BYTES)
        try:
            parameters = zstandard.get_frame_parameters(head)
            header_bytes = zstandard.frame_header_size(head)
        except zstandard.ZstdError as e:
            raise _damaged(e) from e
        if parameters.window_size > _MAX_WINDOW_BYTES:
            raise CorruptArchive("the archive needs more memory to unpack than is allowed")
        self._has_checksum = parameters.has_checksum
        self._inner = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).decompressobj()
        self._ready = memoryview(self._decode(read_exactly(source, header_bytes)))
        self._ended = False

    def read(self, n_bytes: int) -> bytes:
        while not self._ready and not self._ended:
            self._ready = memoryview(self._next_block())
        out, self._ready = self._ready[:n_bytes], self._ready[n_bytes:]
        if not out and self._source.peek(1):
            raise CorruptArchive("the archive has other data after its end")
        return bytes(out)

    def _next_block(self) -> bytes:
        header = read_exactly(self._source, 3)
        bits = int.from_bytes(header, "little")
        block_type, size_bytes = (bits >> 1) & 3, bits >> 3
        if block_type == _ZSTD_BLOCK_TYPE_RESERVED or size_bytes > _ZSTD_MAX_BLOCK_BYTES:
            raise CorruptArchive("the archive is damaged; copy or download it again")
        body = read_exactly(self._source, 1 if block_type == _ZSTD_BLOCK_TYPE_RLE else size_bytes)
        self._ended = bool(bits & 1)
        if self._ended and self._has_checksum:
            body += read_exactly(self._source, _ZSTD_CHECKSUM_BYTES)
        return self._decode(header + body)

    def _decode(self, data: bytes) -> bytes:
        try:
            return self._inner.decompress(data)
        except self._error as e:
            raise _damaged(e) from e


_OPENERS: Final[dict[str, Callable[[ByteSource], Readable]]] = {
    "tar": lambda source: source,
    "vtsmodel": _Unzstd,
    "gz": lambda source: _Decompressed(source, _Gunzip()),
    "xz": lambda source: _Decompressed(
        source, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_WINDOW_BYTES)
    ),
    "bz2": lambda source: _Decompressed(source, bz2.BZ2Decompressor()),
}


def decompressed(source: ByteSource, archive_format: str) -> Readable:
    """Read the tar stream inside a compressed archive.

    Args:
        source: the archive.
        archive_format: `tar`, `vtsmodel`, `gz`, `xz` or `bz2`.

    Returns:
        The tar stream; it ends once the compressed stream ended as it should, and raises CorruptArchive where that
        is damaged, cut off, followed by other data, or greedy for memory.
    """
    return _OPENERS[archive_format](source)


def _damaged(cause: Exception) -> CorruptArchive:
    return CorruptArchive(f"the archive is damaged ({cause}); copy or download it again")


class Compressed:
    """A writer that compresses into another one."""

    def __init__(self, stream: Writable, encoder: _Encoder) -> None:
        self._stream = stream
        self._encoder = encoder

    def write(self, data: bytes) -> None:
        """Compress `data` and pass on what is ready."""
        if ready := self._encoder.compress(data):
            self._stream.write(ready)

    def finish(self) -> None:
        """Pass on the rest."""
        self._stream.write(self._encoder.flush())


@contextlib.contextmanager
def compressed(stream: Writable, archive_format: str) -> Iterator[Writable]:
    """Write a tar stream through a compressor; equal input gives equal bytes.

    Args:
        stream: where the compressed bytes go; it stays open.
        archive_format: `tar`, `vtsmodel`, `gz`, `xz` or `bz2`.

    Yields:
        Where the tar stream goes; finished when the block ends without an error.
    """
    if archive_format == "tar":
        yield stream
        return
    writer = Compressed(stream, _encoder(archive_format))
    yield writer
    writer.finish()


def _encoder(archive_format: str) -> _Encoder:
    if archive_format == "gz":
        return zlib.compressobj(
            DEFLATE_LEVEL, zlib.DEFLATED, wbits=31
        )  # zlib's own gzip header has no name and no time
    if archive_format == "xz":
        return lzma.LZMACompressor(preset=1)
    if archive_format == "bz2":
        return bz2.BZ2Compressor()
    import zstandard

    return zstandard.ZstdCompressor(
        level=_ZSTD_LEVEL, threads=_ZSTD_WORKERS, write_checksum=True
    ).compressobj()
