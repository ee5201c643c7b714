"""kill -9 of clients and stores at any moment: what was acknowledged is there, whole; nothing is half visible."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx2
import pytest

from support.client_processes import Clients
from support.fault_proxy import FaultProxy, Faults
from support.proofs import Proof
from support.sdk import CONTEXT, save_text
from support.stores import (
    ACCESS_KEY,
    SECRET_KEY,
    StoreProcess,
    ThreadedStore,
    s3_section,
    store_settings,
    wait_until,
)
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.draft import Draft
from vtsserving._model.tag import Tag
from vtsserving._store_client import transfer
from vtsserving._store_client.client import RegistryClient
from vtsserving.exceptions import (
    AlreadyExists,
    ModelNotFound,
    NoSpace,
    NotFound,
    StoreUnavailable,
    VersionNotFound,
)
from vtsserving_store import maintenance
from vtsserving_store.settings import StoreSettings

PART = 8 << 20


def s3_error(status: bytes, code: bytes) -> bytes:
    """What an S3 server answers when it can not."""
    body = b"<Error><Code>%s</Code><Message>no</Message></Error>" % code
    head = b"HTTP/1.1 %s\r\ncontent-type: application/xml\r\nconnection: close\r\n" % status
    return head + b"content-length: %d\r\n\r\n%s" % (len(body), body)


SLOW_DOWN = s3_error(b"503 Slow Down", b"SlowDown")
FULL = s3_error(b"507 Insufficient Storage", b"XMinioStorageFull")
BROKEN = s3_error(b"500 Internal Server Error", b"InternalError")


@pytest.fixture
def environment(settings: StoreSettings) -> dict[str, str]:
    """The same storage, as the environment of a store process."""
    if settings.store.dir is not None:
        return {"VTSSERVING_STORE__DIR": str(settings.store.dir)}
    return {
        "VTSSERVING_S3__ENDPOINT": settings.s3.endpoint,
        "VTSSERVING_S3__BUCKET": settings.s3.bucket,
        "VTSSERVING_S3__ACCESS_KEY": ACCESS_KEY,
        "VTSSERVING_S3__SECRET_KEY": SECRET_KEY,
        "VTSSERVING_S3__REGION": "us-east-1",
    }


@pytest.fixture
def process(environment: dict[str, str], tmp_path: Path) -> Iterator[StoreProcess]:
    with StoreProcess(tmp_path, environment) as running:
        yield running


def save_large(local: LocalStore, tag: str, parts: int = 2) -> Model:
    with local.staging() as staged:
        (staged / "large").write_bytes(os.urandom(parts * PART + 99))
        (staged / "small").write_bytes(os.urandom(1000))
        return local.save(staged, Draft(Tag.parse(tag), "", CONTEXT))


def is_whole(url: str, model: Model, scratch: Path) -> bool:
    """Whether the version is there; if so, all of its bytes must be."""
    with RegistryClient(url) as client:
        try:
            assert client.version(model.tag).digest == model.digest
        except ModelNotFound:
            return False
    transfer.pull(model.tag, store_url=url, store=LocalStore(scratch)).verify()
    return True


def damage(settings: StoreSettings) -> list[str]:
    return [f.text for f in maintenance.check(settings, deep=True) if f.severity == "damage"]


@pytest.mark.prove
@pytest.mark.timeout(2700)
def test_no_acknowledged_push_is_lost_and_none_is_half_visible(
    process: StoreProcess, settings: StoreSettings, local: LocalStore, tmp_path: Path, proof: Proof
) -> None:
    """Five clients push at a time; at a random moment, the store or one of them is killed."""
    rounds, chosen = proof.count(full=200, quick=2), random.Random(proof.seed)
    counts = Counter(pushes=0, kills_of_store=0, kills_of_clients=0, acknowledged=0, lost=0, half_visible=0)
    with Clients() as clients:
        took_s = undisturbed_s(clients, process.url, local)
        for number in range(rounds):
            models = [save_large(local, f"m{number}-{n}:1", parts=n % 2) for n in range(5)]
            victims = clients.begin("push", models, process.url, local.root)
            is_store = chosen.random() < 0.5
            victim = chosen.choice(victims)
            strike = process.kill if is_store else partial(os.kill, victim, signal.SIGKILL)
            timer = threading.Timer(chosen.uniform(0, 1.2 * took_s), strike)
            timer.start()
            timer.join()
            if is_store:
                process.start()
            pushed = clients.end()
            scratch = tmp_path / "scratch" / str(number)
            for model in models:
                present = is_whole(process.url, model, scratch)
                counts["lost"] += str(model.tag) in pushed and not present
                transfer.push(model.tag, store_url=process.url, store=local)
                assert present or is_whole(process.url, model, scratch)
                local.delete(model.tag)
            shutil.rmtree(scratch, ignore_errors=True)
            counts.update(pushes=5, acknowledged=len(pushed))
            counts.update(kills_of_store=int(is_store), kills_of_clients=int(not is_store))
    counts["half_visible"] = len(damage(settings))
    proof.record("directory" if settings.store.dir is not None else "bucket", **counts)
    assert (counts["lost"], counts["half_visible"]) == (0, 0)


def undisturbed_s(clients: Clients, url: str, local: LocalStore) -> float:
    """Seconds that five clients take when nobody is killed."""
    models = [save_large(local, f"warm-{n}:1", parts=n % 2) for n in range(5)]
    began_s = time.monotonic()
    clients.begin("push", models, url, local.root)
    assert clients.end() == {str(model.tag) for model in models}
    return time.monotonic() - began_s


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_f34_a_pull_that_is_killed_leaves_nothing_half_and_the_next_one_goes_on(
    process: StoreProcess, local: LocalStore, tmp_path: Path, proof: Proof
) -> None:
    kills, chosen = proof.count(full=200, quick=4), random.Random(proof.seed)
    model = save_large(local, "m:1", parts=1)
    transfer.push(model.tag, store_url=process.url, store=local)
    absent = whole = 0
    with Clients() as clients:
        began_s = time.monotonic()
        clients.begin("pull", [model], process.url, tmp_path / "warm")
        assert clients.end()
        took_s = time.monotonic() - began_s
        root = tmp_path / "puller" / "0"
        for number in range(kills):
            (victim,) = clients.begin("pull", [model], process.url, root)
            timer = threading.Timer(chosen.uniform(0, 1.1 * took_s), os.kill, (victim, signal.SIGKILL))
            timer.start()
            timer.join()
            clients.end()
            if LocalStore(root).list():
                LocalStore(root).verify(model.tag)
                whole += 1
                shutil.rmtree(root)
                root = tmp_path / "puller" / str(number + 1)
            else:
                absent += 1
        pulled = transfer.pull(model.tag, store_url=process.url, store=LocalStore(root))
        assert pulled.digest == model.digest
    proof.record("a pull killed at random", kills=kills, absent=absent, whole=whole)
    assert absent + whole == kills


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_of_racing_clients_of_two_replicas_exactly_one_wins_each_round(
    process: StoreProcess, environment: dict[str, str], tmp_path: Path, proof: Proof
) -> None:
    rounds, writers = proof.count(full=40, quick=3), 8
    locals_ = [LocalStore(tmp_path / f"writer{n}" / "models") for n in range(writers)]
    winners = []
    with StoreProcess(tmp_path, environment) as replica, ThreadPoolExecutor(writers) as pool:
        for number in range(rounds):
            models = [save_text(store, f"m:{number}", f"{number} of {n}") for n, store in enumerate(locals_)]
            barrier = threading.Barrier(writers)

            def write(n: int, models: list[Model] = models, barrier: threading.Barrier = barrier) -> bool:
                barrier.wait()
                try:
                    url = (process.url, replica.url)[n % 2]
                    transfer.push(models[n].tag, store_url=url, store=locals_[n])
                except AlreadyExists:
                    return False
                return True

            won = list(pool.map(write, range(writers)))
            winners.append(won.count(True))
            with RegistryClient(replica.url) as client:
                assert client.version(f"m:{number}").digest == models[won.index(True)].digest
    proof.record("8 writers, 2 replicas", rounds=rounds, winners=sum(winners))
    assert winners == [1] * rounds


def test_a_push_goes_on_with_the_parts_that_arrived_before_the_store_was_killed(
    process: StoreProcess, local: LocalStore, other: LocalStore
) -> None:
    model = save_large(local, "m:1", parts=4)
    entry = model.manifest.entry("large")
    assert entry is not None
    size, digest = entry.size, f"sha256:{entry.sha256}"

    class Killer:
        """Kills the store when two parts have arrived."""

        def __init__(self) -> None:
            self.done = 0

        def begin(self, files: object) -> None:
            return

        def advance(self, path: str, n_bytes: int) -> None:
            self.done += n_bytes if path == "large" else 0
            if self.done > 2 * PART:  # the third part has begun, so the second one was acknowledged
                process.kill()

    with pytest.raises(StoreUnavailable), RegistryClient(process.url) as client:
        client._attempts = 1
        from vtsserving._store_client.upload import upload_blobs

        begun = client.begin_push([digest])
        upload_blobs(client, model, begun, [digest], 1, Killer())
    process.start()
    with httpx2.Client(base_url=process.url) as http:
        transfer.push(model.tag, store_url=process.url, store=local, threads=1)
        metrics = http.get("/metrics").text.splitlines()
        received = next(
            float(m.split()[1]) for m in metrics if m.startswith("vtsserving_store_received_bytes_total ")
        )
    assert received < size - 2 * PART + 200_000
    assert transfer.pull("m", store_url=process.url, store=other).digest == model.digest


def test_a_pull_that_outlives_the_deletion_is_whole(
    store: ThreadedStore, local: LocalStore, other: LocalStore
) -> None:
    model = save_large(local, "m:1", parts=1)
    transfer.push(model.tag, store_url=store.url, store=local)

    class Deleter:
        def begin(self, files: object) -> None:
            with RegistryClient(store.url) as client:
                client.delete(model.tag)

        def advance(self, path: str, n_bytes: int) -> None:
            return

    assert transfer.pull("m", store_url=store.url, store=other, progress=Deleter()).digest == model.digest
    with pytest.raises(ModelNotFound):
        transfer.pull("m", store_url=store.url, store=LocalStore(other.root / "new"))


def test_f36_deletion_and_collection_during_a_pull_leave_all_or_nothing(
    store: ThreadedStore, settings: StoreSettings, local: LocalStore, other: LocalStore
) -> None:
    model = save_large(local, "m:1", parts=2)
    transfer.push(model.tag, store_url=store.url, store=local)

    class Collecting:
        """Deletes the version and its blobs when the first bytes have come."""

        def begin(self, files: object) -> None:
            return

        def advance(self, path: str, n_bytes: int) -> None:
            with contextlib.suppress(NotFound), RegistryClient(store.url) as client:
                client.delete(model.tag)
                with maintenance.opened(settings) as parts:
                    parts.collector.run(grace_s=0)

    with pytest.raises(VersionNotFound, match="was deleted from the store during the pull"):
        transfer.pull("m", store_url=store.url, store=other, progress=Collecting(), threads=1)
    assert other.list() == []
    transfer.push(model.tag, store_url=store.url, store=local)
    assert transfer.pull("m", store_url=store.url, store=other).digest == model.digest


def test_sigterm_finishes_requests_and_exits_0(process: StoreProcess, local: LocalStore) -> None:
    model = save_large(local, "m:1", parts=2)
    with ThreadPoolExecutor(1) as pool:
        pushing = pool.submit(transfer.push, model.tag, store_url=process.url, store=local)
        pushing.result()
    assert process.terminate() == 0
    assert "Traceback" not in process.log()


@pytest.fixture
def s3_proxy(s3_endpoint: str) -> Iterator[FaultProxy]:
    with FaultProxy(int(s3_endpoint.rpartition(":")[2])) as made:
        yield made


@pytest.fixture
def shaky(s3_proxy: FaultProxy) -> Iterator[ThreadedStore]:
    """A store whose connections to S3 pass a proxy that breaks them."""
    section = {**s3_section(s3_proxy.url), "stall_timeout_s": 0.5}
    with ThreadedStore(store_settings(s3=section)) as running:
        yield running


def test_f29_without_its_storage_the_store_answers_503_and_recovers(
    shaky: ThreadedStore, s3_proxy: FaultProxy, local: LocalStore
) -> None:
    model = save_text(local, "m:1")
    transfer.push(model.tag, store_url=shaky.url, store=local)
    s3_proxy.faults = Faults(refuse=True)
    with httpx2.Client(base_url=shaky.url, timeout=30) as http:
        answer = http.get("/api/v1/models/m/versions/latest")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert http.get("/livez").status_code == 200
        wait_until(lambda: http.get("/readyz").status_code == 503, what="readiness red")
        s3_proxy.faults = Faults()
        wait_until(lambda: http.get("/readyz").status_code == 200, what="readiness green")
        assert http.get("/api/v1/models/m/versions/latest").status_code == 200


def test_f29_a_directory_that_is_not_mounted_is_no_empty_store(
    tmp_path: Path, local: LocalStore, other: LocalStore
) -> None:
    directory = tmp_path / "mounted"
    with StoreProcess(tmp_path, {"VTSSERVING_STORE__DIR": str(directory)}) as process:
        model = save_large(local, "m:1", parts=0)
        transfer.push(model.tag, store_url=process.url, store=local)
        away = directory.rename(directory.with_name("unmounted"))
        answers_503_until_it_is_back(process, directory, away, local)
        assert transfer.pull("m", store_url=process.url, store=other).digest == model.digest


def answers_503_until_it_is_back(
    process: StoreProcess, directory: Path, away: Path, local: LocalStore
) -> None:
    with httpx2.Client(base_url=process.url, timeout=30) as http:
        for path in ("models/m/versions/latest", "models/m/versions/1", "models", "models/m/aliases"):
            answer = http.get(f"/api/v1/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable"), path
            assert int(answer.headers["retry-after"]) >= 1
        assert http.delete("/api/v1/models/m/versions/1").status_code == 503
        wait_until(lambda: http.get("/readyz").status_code == 503, what="readiness red")
        with pytest.raises(StoreUnavailable, match="is its file system mounted"):
            transfer.push(save_text(local, "m:2").tag, store_url=process.url, store=local)
        assert not directory.exists(), "nothing is written beside the mount"
        away.rename(directory)
        wait_until(lambda: http.get("/readyz").status_code == 200, what="readiness green")


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(Faults(stall_after_bytes=500_000, times=2), id="f30 stalled"),
        pytest.param(Faults(reset_after_bytes=500_000, times=2), id="f31 reset"),
        pytest.param(Faults(truncate_after_bytes=500_000, times=2), id="f31 truncated"),
        pytest.param(Faults(flip_at_byte=600_000, times=1), id="f31 flipped"),
        pytest.param(Faults(delay_s=0.005), id="f30 slow"),
    ],
)
def test_f30_f31_downloads_survive_a_storage_that_breaks_off_and_lies(
    shaky: ThreadedStore, s3_proxy: FaultProxy, local: LocalStore, other: LocalStore, faults: Faults
) -> None:
    with local.staging() as staged:
        (staged / "w").write_bytes(os.urandom(3_000_000))
        model = local.save(staged, Draft(Tag.parse("m:1"), "", CONTEXT))
    transfer.push(model.tag, store_url=shaky.url, store=local)
    # New connections, so that the faults meet the download.
    s3_proxy.faults = Faults(refuse=True)
    with httpx2.Client(base_url=shaky.url, timeout=30) as http:
        http.get("/api/v1/models/m/versions/1")
    s3_proxy.faults = faults
    try:
        transfer.pull("m", store_url=shaky.url, store=other)
    except Exception:
        assert other.list() == []
    assert not faults.times, "all of the faults were met"
    s3_proxy.faults = Faults()
    assert transfer.pull("m", store_url=shaky.url, store=other).digest == model.digest
    other.verify(model.tag)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(Faults(answer=SLOW_DOWN, times=3), id="slow down"),
        pytest.param(Faults(answer=BROKEN, times=3), id="internal error"),
        pytest.param(Faults(reset_request_after_bytes=1_000_000, times=2), id="reset in requests"),
        pytest.param(Faults(reset_after_bytes=100, times=3), id="reset in answers"),
        pytest.param(Faults(stall_after_bytes=0, times=2), id="answers lost"),
    ],
)
def test_f31_uploads_survive_a_storage_that_breaks_off(
    shaky: ThreadedStore, s3_proxy: FaultProxy, local: LocalStore, other: LocalStore, faults: Faults
) -> None:
    model = save_large(local, "m:1", parts=1)
    s3_proxy.faults = Faults(refuse=True)
    with httpx2.Client(base_url=shaky.url, timeout=30) as http:
        http.get("/api/v1/models/m/versions/1")
    s3_proxy.faults = faults
    transfer.push(model.tag, store_url=shaky.url, store=local)
    assert not faults.times, "all of the faults were met"
    s3_proxy.faults = Faults()
    assert transfer.pull("m", store_url=shaky.url, store=other).digest == model.digest


def test_f39_a_full_bucket_says_507_and_recovers_without_a_restart(
    shaky: ThreadedStore, s3_proxy: FaultProxy, local: LocalStore, other: LocalStore
) -> None:
    model = save_text(local, "m:1")
    s3_proxy.faults = Faults(refuse=True)
    with httpx2.Client(base_url=shaky.url, timeout=30) as http:
        http.get("/api/v1/models/m/versions/1")
        s3_proxy.faults = Faults(answer=FULL)
        with pytest.raises(NoSpace, match="no space left in bucket") as caught:
            transfer.push(model.tag, store_url=shaky.url, store=local)
        assert caught.value.exit_code == 9
        answer = http.post("/api/v1/pushes", json={"digests": ["sha256:" + "0" * 64]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "no_space")
        s3_proxy.faults = Faults()
        assert http.get("/api/v1/models").json()["models"] == []
    transfer.push(model.tag, store_url=shaky.url, store=local)
    assert transfer.pull("m", store_url=shaky.url, store=other).digest == model.digest
