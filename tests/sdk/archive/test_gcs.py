"""Models on Google Cloud Storage, against its emulator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.archives import save_model, tree
from support.stores import answers, wait_until
from support.supervisor import free_port
from vtsserving._archive import export_model, import_model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import AlreadyExists, IntegrityError, NotFound

pytestmark = [
    pytest.mark.frameworks("gcs"),
    pytest.mark.filterwarnings("ignore"),  # the plug-in's and its dozen packages' own
]


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """An emulator with one bucket, `models`; yields the options to reach it."""
    # The plug-in asks for the kind of a bucket over gRPC, which the emulator does not speak.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    port = free_port()
    argv = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", "models"]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "gcp_storage_emulator", *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(f"{url}/storage/v1/b?project=x"), what="the emulator")
        yield {"endpoint_url": url, "token": "anon"}
    finally:
        process.kill()
        process.wait()


def test_gcs_brings_back_the_same_model(options: dict[str, Any], tmp_path: Path) -> None:
    origin, store, other = (LocalStore(tmp_path / name) for name in ("origin", "store", "other"))
    saved = save_model(origin, {"weights.bin": b"weights" * 3_000_000})
    where = export_model(saved.tag, "gs://models/prefix/", "tar", options=options, store=origin)
    assert tree(import_model(where, options=options, store=store).path) == tree(saved.path)
    with pytest.raises(AlreadyExists):
        export_model(saved.tag, "gs://models/prefix/", "tar", options=options, store=origin)
    folder = export_model(saved.tag, "gs://models/folders/", "folder", options=options, store=origin)
    assert tree(import_model(f"{folder}/", options=options, store=other).path) == tree(saved.path)


def test_failed_gcs_export_leaves_nothing(options: dict[str, Any], tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    saved = save_model(store, {"weights.bin": b"weights" * 3_000_000})
    (saved.path / "weights.bin").write_bytes(b"weightz" * 3_000_000)
    with pytest.raises(IntegrityError):
        export_model(saved.tag, "gs://models/failed.tar", options=options, store=store)
    with pytest.raises(NotFound):
        import_model("gs://models/failed.tar", options=options, store=store)
