"""Archives that were made to do harm, one row each, and what every one of them must leave untouched."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from support.archives import ARCHIVES, archive_of, raw_tar_header, save_model, tar_entry, tar_of, tree, zip_of
from vtsserving._archive import ArchiveLimits, extract_archive
from vtsserving._archive.compression import compressed
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import ArchiveTooLarge, CorruptArchive, IntegrityError, UnsafeArchive

pytestmark = pytest.mark.fast

SMALL = ArchiveLimits(total_bytes=64 * 1024**2, files=1_000, ratio=200, ratio_from_bytes=1024**2)
END = bytes(1024)


class Tripwire:
    """A folder to extract to, with things around it that no archive may touch."""

    def __init__(self, base: Path) -> None:
        self.outside = base / "outside"
        self.outside.mkdir()
        (self.outside / "sentinel").write_text("untouched")
        self.staged = base / "area" / "staged"
        self.staged.mkdir(parents=True)

    def check(self) -> None:
        assert tree(self.outside) == {"sentinel": b"untouched"}
        assert list(self.staged.parent.iterdir()) == [self.staged]
        for path in self.staged.rglob("*"):
            assert not path.is_symlink()
            assert stat.S_ISREG(path.stat().st_mode) or path.is_dir()


@pytest.fixture
def tripwire(tmp_path: Path) -> Tripwire:
    return Tripwire(tmp_path)


def extract(tripwire: Tripwire, packed: bytes, limits: ArchiveLimits = SMALL) -> list[str]:
    try:
        return [file.path for file in extract_archive(io.BytesIO(packed), tripwire.staged, limits)]
    finally:
        tripwire.check()


def symlink_chain() -> bytes:
    """CVE-2025-4517: a path that is longer than PATH_MAX once resolved hides where the last link leads."""
    part = "d" * 247
    members: list[tarfile.TarInfo | tuple[str, bytes]] = []
    path = ""
    for letter in "abcdefghijklmnop":
        members.append(tar_entry(f"{path}{part}", tarfile.DIRTYPE))
        members.append(tar_entry(f"{path}{letter}", tarfile.SYMTYPE, linkname=part))
        path += f"{part}/"
    members.append(tar_entry("escape", tarfile.SYMTYPE, linkname="a/b/c/../../../../outside"))
    members.append(("escape/evil", b"evil"))
    return tar_of(*members)


def gnu_long_name(size_bytes: int) -> bytes:
    header = raw_tar_header(b"././@LongLink", b"L", size_bytes, b"ustar  \0")
    body = b"n" * size_bytes + bytes(-size_bytes % 512)
    return header + body + raw_tar_header(b"n", b"0", 0, b"ustar  \0") + END


def pax(kind: bytes, records: bytes, announced: int | None = None) -> bytes:
    body = records + bytes(-len(records) % 512)
    size = announced if announced is not None else len(records)
    return raw_tar_header(b"pax", kind, size) + body + raw_tar_header(b"a", b"0", 0) + END


def pax_record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(str(length)) + len(key) + len(value) + 3 != length:
        length = len(str(length)) + len(key) + len(value) + 3
    return f"{length} ".encode() + key + b"=" + value + b"\n"


UNSAFE_TAR: dict[str, Callable[[], bytes]] = {
    "symlink_out": lambda: tar_of(
        tar_entry("a", tarfile.SYMTYPE, linkname="../../outside"), ("a/evil", b"x")
    ),
    "symlink_absolute": lambda: tar_of(tar_entry("a", tarfile.SYMTYPE, linkname="/etc/passwd")),
    "symlink_in": lambda: tar_of(("b", b"x"), tar_entry("a", tarfile.SYMTYPE, linkname="b")),
    "symlink_with_empty_target": lambda: tar_of(tar_entry("a", tarfile.SYMTYPE, linkname="")),
    "hard_link_out": lambda: tar_of(tar_entry("a", tarfile.LNKTYPE, linkname="../../outside/sentinel")),
    "hard_link_in": lambda: tar_of(("b", b"x"), tar_entry("a", tarfile.LNKTYPE, linkname="b")),
    "symlink_chain_beyond_path_max": symlink_chain,
    "climbing": lambda: tar_of(("../evil", b"x")),
    "climbing_inside": lambda: tar_of(("a/../../evil", b"x")),
    "dot_dot_alone": lambda: tar_of(tar_entry("..", tarfile.DIRTYPE)),
    "absolute": lambda: raw_tar_header(b"/abs", b"0", 0) + END,
    "double_slash": lambda: tar_of(("a//b", b"x")),
    "dot_in_the_middle": lambda: tar_of(("a/./b", b"x")),
    "drive": lambda: tar_of(("C:\\x", b"x")),
    "drive_relative": lambda: tar_of(("c:x", b"x")),
    "backslashes": lambda: tar_of(("a\\..\\b", b"x")),
    "newline": lambda: tar_of(("a\nb", b"x")),
    "escape_sequence": lambda: tar_of(("\x1b[2Jb", b"x")),
    "empty_name": lambda: raw_tar_header(b"", b"0", 0) + END,
    "not_utf8": lambda: raw_tar_header(b"\xff\xfe", b"0", 0) + END,
    "part_of_256_bytes": lambda: tar_of(("n" * 256, b"x")),
    "name_of_2000_bytes": lambda: tar_of(("n/" * 1000 + "n", b"x")),
    "40_folders_deep": lambda: tar_of(("d/" * 40 + "n", b"x")),
    "file_with_slash_at_the_end": lambda: raw_tar_header(b"a/", b"0", 0) + END,
    "character_device": lambda: tar_of(tar_entry("a", tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "block_device": lambda: tar_of(tar_entry("a", tarfile.BLKTYPE, devmajor=8)),
    "fifo": lambda: tar_of(tar_entry("a", tarfile.FIFOTYPE)),
    "contiguous": lambda: tar_of(tar_entry("a", tarfile.CONTTYPE)),
    "gnu_sparse": lambda: raw_tar_header(b"a", b"S", 0, b"ustar  \0") + END,
    "unknown_type": lambda: raw_tar_header(b"a", b"Z", 0) + END,
    "pax_sparse": lambda: pax(b"x", pax_record(b"GNU.sparse.realsize", b"1099511627776")),
    "long_name_of_1_mb": lambda: gnu_long_name(1_000_000),
    "long_name_that_climbs": lambda: tar_of(("../" * 50 + "evil", b"x"), tar_format=tarfile.GNU_FORMAT),
    "long_link": lambda: tar_of(
        tar_entry("a", tarfile.SYMTYPE, linkname="n" * 200), tar_format=tarfile.GNU_FORMAT
    ),
    "pax_header_of_10_gb": lambda: pax(b"x", b"", announced=8 * 1024**3 - 1),
    "pax_headers_stacked": lambda: (
        pax(b"x", pax_record(b"path", b"b"))[:1024] + pax(b"x", pax_record(b"path", b"c"))
    ),
    "pax_path_climbs": lambda: pax(b"x", pax_record(b"path", b"../evil")),
    "pax_path_absolute": lambda: pax(b"x", pax_record(b"path", b"/evil")),
    "pax_path_with_nul": lambda: pax(b"x", pax_record(b"path", b"a\0b")),
    "pax_global_path": lambda: pax(b"g", pax_record(b"path", b"a")),
    "pax_global_size": lambda: pax(b"g", pax_record(b"size", b"5")),
    "pax_binary_names": lambda: pax(b"x", pax_record(b"hdrcharset", b"BINARY")),
    "duplicates": lambda: tar_of(("a", b"1"), ("a", b"2")),
    "duplicate_folder": lambda: tar_of(tar_entry("d", tarfile.DIRTYPE), tar_entry("d", tarfile.DIRTYPE)),
    "same_but_for_case": lambda: tar_of(("A", b"1"), ("a", b"2")),
    "folders_same_but_for_case": lambda: tar_of(("A/x", b"1"), ("a/y", b"2")),
    "nfc_and_nfd": lambda: tar_of(("caf\u00e9", b"1"), ("cafe\u0301", b"2")),
    "file_then_folder": lambda: tar_of(("a", b"1"), tar_entry("a", tarfile.DIRTYPE)),
    "file_then_file_below": lambda: tar_of(("a", b"1"), ("a/b", b"2")),
    "folder_then_file": lambda: tar_of(("a/b", b"2"), ("a", b"1")),
}


@pytest.mark.parametrize("name", UNSAFE_TAR)
def test_unsafe_tar_is_refused(name: str, tripwire: Tripwire) -> None:
    with pytest.raises(UnsafeArchive) as caught:
        extract(tripwire, UNSAFE_TAR[name]())
    assert caught.value.exit_code == 5
    assert caught.value.message.isprintable()


def patched(packed: bytes, *changes: tuple[bytes, bytes]) -> bytes:
    for old, new in changes:
        assert old in packed
        packed = packed.replace(old, new, 1)
    return packed


def encrypted_zip() -> bytes:
    packed = bytearray(zip_of(("a", b"x")))
    packed[6] |= 1
    packed[packed.index(b"PK\1\2") + 8] |= 1
    return bytes(packed)


def zip_with_two_ends(*, members: int) -> bytes:
    """A zip with both ends, as Python writes it from 2 GiB on; the long one says that it has `members` members."""
    packed = zip_of(("a", b"x"))
    _, _, _, _, _, size, begin, _ = struct.unpack("<4s4H2LH", packed[-22:])
    long_end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, size, begin)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, begin + size, 1)
    return packed[:-22] + long_end + locator + packed[-22:]


def overlapping_zip() -> bytes:
    """Two directory entries for the data of one member, as zip bombs without nesting have."""
    packed = bytearray(zip_of(("aa", b"1" * 100), ("bb", b"2" * 100), compress=zipfile.ZIP_STORED))
    second = packed.index(b"PK\1\2", packed.index(b"PK\1\2") + 4)
    struct.pack_into("<L", packed, second + 42, 20)
    return bytes(packed)


BAD_ZIP: dict[str, tuple[Callable[[], bytes], type[IntegrityError]]] = {
    "climbing": (lambda: zip_of(("../evil", b"x")), UnsafeArchive),
    "absolute": (lambda: zip_of(("/abs", b"x")), UnsafeArchive),
    "backslashes": (lambda: zip_of(("a\\..\\b", b"x")), UnsafeArchive),
    "drive": (lambda: zip_of(("C:/x", b"x")), UnsafeArchive),
    "nul_hides_the_rest": (
        lambda: patched(zip_of(("aXb", b"x")), (b"aXb", b"a\0b"), (b"aXb", b"a\0b")),
        UnsafeArchive,
    ),
    "symlink": (lambda: zip_of(("a", b"../../outside"), mode=stat.S_IFLNK | 0o777), UnsafeArchive),
    "fifo": (lambda: zip_of(("a", b""), mode=stat.S_IFIFO | 0o777), UnsafeArchive),
    "folder_that_says_file": (lambda: zip_of(("a/", b""), mode=stat.S_IFREG | 0o777), UnsafeArchive),
    "encrypted": (encrypted_zip, UnsafeArchive),
    "lzma": (lambda: zip_of(("a", b"x"), compress=zipfile.ZIP_LZMA), UnsafeArchive),
    "duplicates": (lambda: zip_of(("a", b"1"), ("a", b"2")), UnsafeArchive),
    "same_but_for_case": (lambda: zip_of(("A", b"1"), ("a", b"2")), UnsafeArchive),
    "file_then_folder": (lambda: zip_of(("a", b"1"), ("a/b", b"2")), UnsafeArchive),
    "overlapping": (overlapping_zip, IntegrityError),
    "other_name_inside": (lambda: patched(zip_of(("good", b"x")), (b"good", b"evil")), CorruptArchive),
    "other_sizes_inside": (
        lambda: patched(
            zip_of(("a", b"x" * 9), compress=zipfile.ZIP_STORED),
            (struct.pack("<2L", 9, 9), struct.pack("<2L", 1, 9)),
        ),
        CorruptArchive,
    ),
    "data_before": (lambda: b"PK\3\4 more" + zip_of(("a", b"x")), CorruptArchive),
    "data_after": (lambda: zip_of(("a", b"x")) + b"more", CorruptArchive),
    "ends_that_differ": (lambda: zip_with_two_ends(members=2), CorruptArchive),
    "comment": (lambda: zip_of(("a", b"x"))[:-2] + b"\xff\xff", CorruptArchive),
    "wrong_checksum": (
        lambda: patched(zip_of(("a", b"abcdef"), compress=zipfile.ZIP_STORED), (b"abcdef", b"abcdeg")),
        CorruptArchive,
    ),
    "no_directory": (lambda: zip_of(("a", b"x"))[:40], CorruptArchive),
}


@pytest.mark.parametrize("name", BAD_ZIP)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_bad_zip_is_refused_not_repaired(name: str, tripwire: Tripwire) -> None:
    make, expected = BAD_ZIP[name]
    with pytest.raises(expected):
        extract(tripwire, make())


def zeros_in_zstd_rle_blocks(blocks: int) -> bytes:
    """A frame of run-length blocks: 4 bytes for every 128 KiB."""
    header = b"\x28\xb5\x2f\xfd" + bytes([0x00, 0x58])
    middle = [(128 * 1024 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"] * (blocks - 1)
    return header + b"".join(middle) + (128 * 1024 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"\0"


def bomb(archive_format: str, n_bytes: int) -> bytes:
    tar = raw_tar_header(b"zeros", b"0", n_bytes) + bytes(n_bytes) + bytes(-n_bytes % 512) + END
    packed = io.BytesIO()
    with compressed(packed, archive_format) as out:
        out.write(tar)
    return packed.getvalue()


@pytest.mark.parametrize("archive_format", ["vtsmodel", "gz", "xz", "bz2"])
def test_bomb_is_refused_by_its_ratio_while_it_streams(archive_format: str, tripwire: Tripwire) -> None:
    with pytest.raises(ArchiveTooLarge, match="200 times"):
        extract(tripwire, bomb(archive_format, 48 * 1024**2))
    assert sum(path.stat().st_size for path in tripwire.staged.iterdir()) < 48 * 1024**2


def test_a_zip_of_more_than_2_gib_has_two_ends_and_is_taken(tripwire: Tripwire) -> None:
    assert extract(tripwire, zip_with_two_ends(members=1)) == ["a"]


def test_zip_bomb_is_refused_by_its_ratio_while_it_streams(tripwire: Tripwire) -> None:
    with pytest.raises(ArchiveTooLarge, match="200 times"):
        extract(tripwire, zip_of(("zeros", bytes(48 * 1024**2))))
    assert sum(path.stat().st_size for path in tripwire.staged.iterdir()) < 48 * 1024**2


def test_run_length_blocks_are_unpacked_one_at_a_time(tripwire: Tripwire) -> None:
    with pytest.raises(IntegrityError):
        extract(tripwire, zeros_in_zstd_rle_blocks(20_000))


def test_announced_size_above_the_limit_is_refused_before_writing(tripwire: Tripwire) -> None:
    with pytest.raises(ArchiveTooLarge, match="--max-size"):
        extract(tripwire, raw_tar_header(b"big", b"0", 65 * 1024**2) + END)
    assert list(tripwire.staged.iterdir()) == []


def test_pax_size_above_the_limit_is_refused_before_writing(tripwire: Tripwire) -> None:
    with pytest.raises(ArchiveTooLarge):
        extract(tripwire, pax(b"x", pax_record(b"size", b"99999999999")))


@pytest.mark.parametrize("kind", ["tar", "tar_folders", "zip"])
def test_many_empty_members_are_refused_by_their_number(kind: str, tripwire: Tripwire) -> None:
    names = [f"f{number}" for number in range(1_001)]
    packed = {
        "tar": lambda: tar_of(*((name, b"") for name in names)),
        "tar_folders": lambda: tar_of(*(tar_entry(name, tarfile.DIRTYPE) for name in names)),
        "zip": lambda: zip_of(*((name, b"") for name in names)),
    }[kind]()
    with pytest.raises(ArchiveTooLarge, match="1000 members"):
        extract(tripwire, packed)


def test_as_many_members_as_are_allowed_are_taken(tripwire: Tripwire) -> None:
    packed = tar_of(*((name, b"x") for name in "abc"))
    assert extract(tripwire, packed, ArchiveLimits(files=3)) == ["a", "b", "c"]


def test_nested_archives_stay_packed(tripwire: Tripwire) -> None:
    inner = bomb("gz", 8 * 1024**2)
    assert extract(tripwire, tar_of(("inner.tar.gz", inner))) == ["inner.tar.gz"]
    assert tree(tripwire.staged) == {"inner.tar.gz": inner}


def test_a_greedy_dictionary_is_refused(tripwire: Tripwire) -> None:
    greedy = zstandard.ZstdCompressionParameters.from_level(1, window_log=28, write_content_size=False)
    frame = zstandard.ZstdCompressor(compression_params=greedy).compressobj()
    with pytest.raises(CorruptArchive, match="memory"):
        extract(tripwire, frame.compress(tar_of(("a", b"x"))) + frame.flush())


def test_modes_owners_and_times_of_the_archive_do_not_matter(tripwire: Tripwire) -> None:
    hostile = tarfile.TarInfo("d/suid")
    hostile.mode, hostile.uid, hostile.gid, hostile.mtime = 0o7777, 12345, 12345, 10**18
    folder = tar_entry("d", tarfile.DIRTYPE, mode=0o7777)
    assert extract(tripwire, tar_of(folder, hostile)) == ["d/suid"]
    written = (tripwire.staged / "d" / "suid").stat()
    assert stat.S_IMODE(written.st_mode) == 0o600
    assert stat.S_IMODE((tripwire.staged / "d").stat().st_mode) == 0o700
    assert (written.st_uid, written.st_gid) == (os.getuid(), os.getgid())
    assert written.st_mtime < 10**10


NOT_ARCHIVES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "one_byte": lambda: b"P",
    "text": lambda: b"this is not an archive\n" * 100,
    "zeros": lambda: bytes(10_240),
    "pickle": lambda: b"\x80\x04\x95" + bytes(600),
    "gz_of_nothing": lambda: gzip.compress(b""),
    "gz_in_gz": lambda: gzip.compress(gzip.compress(tar_of(("a", b"x")))),
    "gz_of_text": lambda: gzip.compress(b"text" * 1000),
    "xz_of_text": lambda: lzma.compress(b"text" * 1000),
    "bz2_of_text": lambda: bz2.compress(b"text" * 1000),
    "zstd_of_text": lambda: zstandard.compress(b"text" * 1000),
    "gz_then_more": lambda: gzip.compress(tar_of(("a", b"x"))) + b"more",
    "two_gz": lambda: gzip.compress(tar_of(("a", b"x"))) * 2,
    "xz_then_more": lambda: lzma.compress(tar_of(("a", b"x"))) + b"more",
    "bz2_then_more": lambda: bz2.compress(tar_of(("a", b"x"))) + b"more",
    "zstd_then_more": lambda: zstandard.compress(tar_of(("a", b"x"))) + b"more",
    "tar_then_more": lambda: tar_of(("a", b"x")) + b"more",
    "tar_without_end": lambda: raw_tar_header(b"a", b"0", 0),
    "tar_with_half_an_end": lambda: raw_tar_header(b"a", b"0", 0) + bytes(512),
    "tar_after_the_end": lambda: tar_of(("a", b"x")) + tar_of(("b", b"x")),
    "tar_with_bad_size": lambda: (
        raw_tar_header(b"a", b"0", 0).replace(b"00000000000\0", b"9zzzzzzzzzz\0", 1) + END
    ),
    "tar_with_bad_checksum": lambda: raw_tar_header(b"a", b"0", 0).replace(b"a", b"b", 1) + END,
    "tar_with_dirty_padding": lambda: raw_tar_header(b"a", b"0", 1) + b"xy" + bytes(510) + END,
    "folder_with_contents": lambda: raw_tar_header(b"d", b"5", 512) + bytes(512) + END,
    "pax_without_length": lambda: pax(b"x", b"path=b\n"),
    "pax_without_equals": lambda: pax(b"x", b"8 abcde\n"),
    "pax_length_beyond": lambda: pax(b"x", b"99 path=b\n"),
    "pax_length_of_zero": lambda: pax(b"x", b"0 path=b\n"),
    "pax_bad_size": lambda: pax(b"x", pax_record(b"size", b"-1")),
    "pax_at_the_end": lambda: pax(b"x", pax_record(b"path", b"b"))[:1024] + END,
    "empty_zip": lambda: b"PK\5\6" + bytes(18),
}


@pytest.mark.parametrize("name", NOT_ARCHIVES)
def test_what_is_no_archive_is_called_corrupt(name: str, tripwire: Tripwire) -> None:
    with pytest.raises(CorruptArchive) as caught:
        extract(tripwire, NOT_ARCHIVES[name]())
    assert caught.value.exit_code == 5


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Model:
    store = LocalStore(tmp_path_factory.mktemp("saved"))
    files = {
        "weights.bin": random.Random(1).randbytes(3_000),
        "sub/" + "long" * 30: b"tokens " * 700,
        "empty": b"",
    }
    return save_model(store, files)


@pytest.mark.parametrize("archive_format", ARCHIVES)
def test_every_cut_is_refused(archive_format: str, saved: Model, tmp_path: Path) -> None:
    packed = archive_of(saved, archive_format)
    cuts = {
        *range(0, min(600, len(packed))),
        *(len(packed) * part // 16 for part in range(16)),
        len(packed) - 1,
    }
    cuts |= set(random.Random(2).sample(range(len(packed)), min(300, len(packed))))
    for number, cut in enumerate(sorted(cuts)):
        staged = tmp_path / str(number)
        staged.mkdir()
        with pytest.raises(IntegrityError):
            extract_archive(io.BytesIO(packed[:cut]), staged, SMALL)


@pytest.mark.parametrize("archive_format", ARCHIVES)
def test_whole_archive_is_the_model(archive_format: str, saved: Model, tripwire: Tripwire) -> None:
    extract(tripwire, archive_of(saved, archive_format))
    assert tree(tripwire.staged) == tree(saved.path)


def test_archives_of_other_tools_are_read(saved: Model, tripwire: Tripwire) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        archive.add(saved.path, arcname=".")
    extract(tripwire, packed.getvalue())
    assert tree(tripwire.staged) == tree(saved.path)


def test_stream_that_cannot_seek_is_enough_for_a_zip(saved: Model, tripwire: Tripwire) -> None:
    class Trickle:
        """Hands out a few bytes at a time."""

        def __init__(self, data: bytes) -> None:
            self._left = io.BytesIO(data)

        def read(self, n_bytes: int) -> bytes:
            return self._left.read(min(n_bytes, 7))

    extract_archive(Trickle(archive_of(saved, "zip")), tripwire.staged, SMALL)
    tripwire.check()
    assert tree(tripwire.staged) == tree(saved.path)
