"""How fast and how small: a large push against the plain SDK, and what a second push sends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from minio import Minio

from support import push_worker
from support.proofs import Proof
from support.sdk import CONTEXT
from support.stores import ACCESS_KEY, SECRET_KEY, StoreProcess, s3_section
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.draft import Draft
from vtsserving._model.tag import Tag
from vtsserving._store_client import transfer

MIB = 1 << 20
MEMORY_LIMIT = 150 * MIB

pytestmark = [pytest.mark.alone, pytest.mark.prove, pytest.mark.timeout(900)]


def save(local: LocalStore, files: dict[str, int]) -> Model:
    """A model with files of random bytes, sizes in MiB."""
    with local.staging() as staged:
        for path, size in files.items():
            with (staged / path).open("wb") as file:
                for _ in range(size):
                    file.write(os.urandom(MIB))
        return local.save(staged, Draft(Tag("big"), "", CONTEXT))


@pytest.fixture(params=["through the store", "presigned"])
def process(request: pytest.FixtureRequest, s3_endpoint: str, tmp_path: Path) -> Iterator[StoreProcess]:
    section = s3_section(s3_endpoint)
    environment = {f"VTSSERVING_S3__{key.upper()}": value for key, value in section.items()}
    if request.param == "presigned":
        environment["VTSSERVING_S3__PUBLIC_ENDPOINT"] = s3_endpoint
    with StoreProcess(tmp_path, environment) as running:
        yield running


def plain_upload_s(endpoint: str, path: Path) -> float:
    """Seconds that the S3 SDK takes for the same file, to the same server."""
    client = Minio(endpoint.partition("://")[2], ACCESS_KEY, SECRET_KEY, secure=False, region="us-east-1")
    bucket = s3_section(endpoint)["bucket"]
    client.make_bucket(bucket)
    began_s = time.monotonic()
    client.fput_object(bucket, "w", str(path), part_size=8 * MIB)
    took_s = time.monotonic() - began_s
    client.remove_object(bucket, "w")
    return took_s


def test_a_large_push_is_fast_and_needs_little_memory(
    request: pytest.FixtureRequest, process: StoreProcess, s3_endpoint: str, local: LocalStore, proof: Proof
) -> None:
    size = proof.count(full=2048, quick=32)
    model = save(local, {"w": size})
    plain_s = plain_upload_s(s3_endpoint, model.path_of("w"))
    argv = [sys.executable, str(push_worker.__file__), str(local.root), str(model.tag), process.url]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=600)
    took_s, commit_s, client_bytes = (float(word) for word in done.stderr.split())
    presigned = "presigned" in request.node.name
    wanted = 0.8 if presigned else 0.5
    ratio = plain_s / (took_s - commit_s)
    proof.record(
        "presigned" if presigned else "through the store",
        mib=size,
        plain_s=round(plain_s, 2),
        up_to_commit_s=round(took_s - commit_s, 2),
        commit_s=round(commit_s, 2),
        ratio=round(ratio, 2),
        store_mib=round(process.peak_memory_bytes() / MIB),
        client_mib=round(client_bytes / MIB),
    )
    assert process.peak_memory_bytes() < MEMORY_LIMIT
    assert client_bytes < MEMORY_LIMIT
    if size > 1000:
        assert ratio > wanted


def test_of_a_changed_model_only_the_changed_file_travels(
    process: StoreProcess, local: LocalStore, proof: Proof
) -> None:
    files = dict.fromkeys((f"f{number:03d}" for number in range(proof.count(full=256, quick=8))), 4)
    first = save(local, files)
    transfer.push(first.tag, store_url=process.url, store=local)
    with local.staging() as staged:
        for path in files:
            (staged / path).write_bytes(first.path_of(path).read_bytes())
        (staged / "f003").write_bytes(os.urandom(4 * MIB))
        second = local.save(staged, Draft(Tag("big"), "", CONTEXT))
    with httpx2.Client(base_url=process.url) as http:
        before = received_bytes(http)
        transfer.push(second.tag, store_url=process.url, store=local)
        sent = received_bytes(http) - before
    proof.record("one of many files changed", mib=4 * len(files), sent_mib=round(sent / MIB, 2))
    assert 4 * MIB <= sent < 5 * MIB


def received_bytes(http: httpx2.Client) -> float:
    lines = http.get("/metrics").text.splitlines()
    return next(float(m.split()[1]) for m in lines if m.startswith("vtsserving_store_received_bytes_total "))
