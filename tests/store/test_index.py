"""The index is rebuilt from the storage alone, in bounded time, while reads by tag are answered."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.proofs import Proof
from vtsserving.manifest import FileEntry, Manifest
from vtsserving.tag import Tag
from vtsserving_store import keys
from vtsserving_store.blobs import Blobs
from vtsserving_store.parts import Parts
from vtsserving_store.settings import StoreSettings
from vtsserving_store.version_record import Version

TIME = "2026-01-02T03:04:05.000000+00:00"


def fill(blobs: Blobs, count: int) -> None:
    """Write records of versions, ten to a name."""
    files = [FileEntry("model.yaml", 10, "0" * 64), FileEntry("weights.bin", 10, "1" * 64)]

    def write(number: int) -> None:
        tag = Tag(f"m{number // 10}", f"v{number % 10}")
        manifest = Manifest.of_entries(files, tag=tag, creation_time=TIME)
        info = {"module": "vtsserving.sklearn", "labels": {"n": str(number)}}
        blobs.put(keys.model(tag.name, str(tag.version)), Version.new(manifest, info, by="").to_bytes())

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(count)))


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_the_index_is_rebuilt_in_time_while_tags_resolve(
    blobs: Blobs, settings: StoreSettings, proof: Proof
) -> None:
    count = proof.count(full=10_000, quick=300)
    fill(blobs, count)
    parts = Parts.on(blobs, settings)
    took: list[float] = []
    done = threading.Event()

    def rebuild() -> None:
        began_s = time.monotonic()
        assert len(parts.index.all()) == count
        took.append(time.monotonic() - began_s)
        done.set()

    thread = threading.Thread(target=rebuild)
    thread.start()
    slowest_s = 0.0
    resolved = 0
    while not done.wait(0.05):  # as often as a busy gateway asks; more would measure the server's limit
        began_s = time.monotonic()
        assert parts.registry.get("m7", "latest").manifest.version == "v9"
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        resolved += 1
    thread.join()
    began_s = time.monotonic()
    parts.index.all()
    again_s = time.monotonic() - began_s
    parts.content.close()
    parts.index.close()
    directory = settings.store.dir is not None
    figures = {"rebuilt_s": round(took[0], 2), "listed_again_s": round(again_s, 2)}
    proof.record(
        "directory" if directory else "bucket",
        models=count,
        **figures,
        resolved_meanwhile=resolved,
        slowest_ms=round(slowest_s * 1e3),
    )
    assert resolved > 0
    assert slowest_s < 5
    assert took[0] < (10 if directory else 60)
