"""Archives that are large, and archives that are nonsense: memory stays flat, and every end is a typed one."""

from __future__ import annotations

import contextlib
import io
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.archives import ARCHIVES, archive_of, save_model, tree
from support.proofs import Proof
from vtsserving._archive import ArchiveLimits, export_model, extract_archive, import_model
from vtsserving._archive.names import Names, split_name
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import IntegrityError, UnsafeArchive

LIMITS = ArchiveLimits(total_bytes=2**20, files=100, ratio_from_bytes=2**18)
MIB = 2**20
MAGICS = [b"", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"PK\x03\x04"]

MEASURE = """
import re, sys
from pathlib import Path
from vtsserving._archive import export_model, import_model
from vtsserving._local_store.store import LocalStore
action, store, path = sys.argv[1], LocalStore(Path(sys.argv[2])), sys.argv[3]
export_model("big", path, store=store) if action == "export" else import_model(path, store=store)
# getrusage would count what the parent had when it forked; this begins with the program.
print(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""


def peak_bytes(action: str, store: LocalStore, path: Path) -> int:
    """The most memory that a process took which did nothing else."""
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE, action, str(store.root), str(path)],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    return int(ended.stdout) * 1024


@pytest.mark.alone
@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.parametrize("suffix", [".vtsmodel", ".zip"])
def test_memory_does_not_grow_with_the_model(suffix: str, tmp_path: Path, proof: Proof) -> None:
    size_bytes = proof.count(full=2_048, quick=128) * MIB
    store, other = LocalStore(tmp_path / "store"), LocalStore(tmp_path / "other")
    noise = random.Random(proof.seed).randbytes(MIB)
    with store.staging() as staged:
        with (staged / "weights.bin").open("wb") as file:
            for _ in range(size_bytes // MIB):
                file.write(noise)
        saved = save_staged(store, staged)
    target = tmp_path / f"big{suffix}"
    exporting = peak_bytes("export", store, target)
    importing = peak_bytes("import", other, target)
    proof.record(
        f"export and import of {size_bytes // MIB} MiB as {suffix}",
        export_peak_mib=exporting // MIB,
        import_peak_mib=importing // MIB,
    )
    assert other.get("big").digest == saved
    assert max(exporting, importing) < 110 * MIB


def save_staged(store: LocalStore, staged: Path) -> str:
    """Make a model `big` of a filled folder; returns its digest."""
    from vtsserving._model.draft import Draft
    from vtsserving._model.info import ModelContext
    from vtsserving._model.tag import Tag

    return store.save(
        staged, Draft(tag=Tag("big"), module="vtsserving.sklearn", context=ModelContext())
    ).digest


@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.parametrize("archive_format", ARCHIVES)
def test_damaged_archives_end_in_typed_errors_and_leave_nothing(
    archive_format: str, tmp_path: Path, proof: Proof
) -> None:
    """Flips, overwritten runs, cuts, doubled and swapped parts of a good archive."""
    chance = random.Random(proof.seed)
    saved = save_model(
        LocalStore(tmp_path / "origin"), {"weights.bin": chance.randbytes(700), "a/b": b"text " * 300}
    )
    packed, whole = archive_of(saved, archive_format), tree(saved.path)
    refused = same = 0
    for number in range(proof.count(full=20_000, quick=250)):
        store = LocalStore(tmp_path / f"store{number % 50}-{number}")
        source = tmp_path / "damaged"
        source.write_bytes(damaged(packed, chance))
        try:
            imported = import_model(source, store=store)
        except IntegrityError:
            refused += 1
            assert not list(store.root.glob("[a-z]*")), number
        else:
            same += 1
            assert tree(imported.path) == whole, number
        assert list((store.root / ".tmp").iterdir()) == []
    proof.record(f"damaged {archive_format} archives", refused=refused, unharmed=same, other=0)


def damaged(packed: bytes, chance: random.Random) -> bytes:
    """A good archive after one or a few of the things that happen to files."""
    data = bytearray(packed)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data))
        length = chance.randint(1, 40)
        match chance.randrange(6):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at : at + length] = chance.randbytes(length)
            case 2:
                del data[at:]
            case 3:
                data[at:at] = data[at : at + 512]
            case 4:
                del data[at : at + length]
            case _:
                data[at : at + length] = bytes(length)
        if not data:
            return b""
    return bytes(data)


@given(data=st.binary(max_size=3_000), magic=st.sampled_from(MAGICS))
def test_noise_is_an_integrity_error(
    data: bytes, magic: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    staged = tmp_path_factory.mktemp("noise")
    with pytest.raises(IntegrityError):
        extract_archive(io.BytesIO(magic + data), staged, LIMITS)


@given(fields=st.binary(min_size=345, max_size=345), kind=st.sampled_from(b"0\x005xgLK12346SZ"))
def test_tar_headers_of_noise_end_in_typed_errors(
    fields: bytes, kind: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    block = bytearray(fields + bytes(512 - 345))
    block[156] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    staged = tmp_path_factory.mktemp("noise")
    with contextlib.suppress(IntegrityError):
        extract_archive(io.BytesIO(bytes(block) + bytes(2_048)), staged, LIMITS)
    assert all(path.is_relative_to(staged) for path in staged.rglob("*"))


@given(name=st.text(min_size=1, max_size=40))
def test_every_name_that_passes_stays_inside(name: str) -> None:
    try:
        parts = split_name(name)
    except UnsafeArchive:
        return
    assert all(part not in {"", ".", ".."} and "/" not in part and "\\" not in part for part in parts)
    assert "\0" not in name
    inside = Path("/staged").joinpath(*parts)
    assert str(inside) == "/staged" + "".join(f"/{part}" for part in parts)


@given(names=st.lists(st.text(alphabet="aAb/é", min_size=1, max_size=5), max_size=8))
def test_no_two_files_that_pass_meet_on_any_file_system(names: list[str]) -> None:
    import unicodedata

    claimed: list[str] = []
    taken = Names()
    for name in names:
        try:
            claimed.append("/".join(taken.file(name)))
        except UnsafeArchive:
            continue
    folded = [unicodedata.normalize("NFC", name).casefold() for name in claimed]
    assert len(set(folded)) == len(folded)
    assert not any(one.startswith(other + "/") for one in folded for other in folded)


@pytest.mark.alone
@pytest.mark.prove
@pytest.mark.timeout(900)
def test_export_costs_little_more_than_a_copy_and_a_digest(tmp_path: Path, proof: Proof) -> None:
    """Against `cp` and `sha256sum` of the same file, each the best of three, in turn."""
    size_bytes = proof.count(full=2_048, quick=64) * MIB
    store = LocalStore(tmp_path / "store")
    noise = random.Random(proof.seed)
    with store.staging() as staged:
        with (staged / "weights.bin").open("wb") as file:
            for _ in range(size_bytes // MIB):
                file.write(noise.randbytes(MIB))
        save_staged(store, staged)
    weights = str(store.get("big").path / "weights.bin")
    floor_s = export_s = float("inf")
    for _ in range(3):
        floor_s = min(floor_s, seconds(lambda: copy_and_digest(weights, str(tmp_path / "copy"))))
        export_s = min(
            export_s, seconds(lambda: export_model("big", tmp_path / "e.vtsmodel", force=True, store=store))
        )
    ratio = round(export_s / floor_s, 2)
    proof.record(f"export of {size_bytes // MIB} MiB over cp and sha256sum ({floor_s:.2f} s)", ratio=ratio)
    assert ratio <= (1.5 if proof.proving else 4)


def seconds(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def copy_and_digest(source: str, target: str) -> None:
    """What the floor does; the copy reaches the disk, as an export does."""
    subprocess.run(["cp", source, target], check=True)
    subprocess.run(["sync", target], check=True)
    subprocess.run(["sha256sum", source], check=True, stdout=subprocess.DEVNULL)
