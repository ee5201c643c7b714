"""F41: what clocks that are wrong, or step, may not change: deadlines, leases, tokens, the order of versions."""

from __future__ import annotations

import datetime
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest

from support.sdk import save_text
from support.stores import ThreadedStore, s3_section, store_settings, token
from vtsserving import _clock
from vtsserving._local_store.store import LocalStore
from vtsserving._model.tag import Tag
from vtsserving._store_client import transfer
from vtsserving._store_client.client import RegistryClient
from vtsserving.exceptions import ClockSkew
from vtsserving_store.components import StoreComponents
from vtsserving_store.objects.probe import open_storage
from vtsserving_store.registry import tokens

HOUR_S = 3600.0
STEPS = [pytest.param(HOUR_S, id="an hour ahead"), pytest.param(-1200.0, id="20 minutes behind")]

SetClock = Callable[[float], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets this process's clock off by so many seconds; the storage's and the monotonic clock go on."""
    real, offset = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + offset[0])
    monkeypatch.setattr(_clock, "wall_s", time.time)

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Shifted:
            return cls.fromtimestamp(real() + offset[0], tz)

    monkeypatch.setattr(datetime, "datetime", Shifted)

    def step(seconds: float) -> None:
        offset[0] = seconds

    return step


@pytest.mark.parametrize("step_s", STEPS)
def test_f41_transfers_go_on_while_the_clock_steps(
    store: ThreadedStore, local: LocalStore, other: LocalStore, set_clock: SetClock, step_s: float
) -> None:
    model = save_text(local, "m:1", "x" * 100_000)

    class Stepping:
        """Steps the clock in the middle."""

        def begin(self, files: object) -> None:
            set_clock(step_s)

        def advance(self, path: str, n_bytes: int) -> None:
            set_clock(-step_s)

    began_s = time.monotonic()
    transfer.push(model.tag, store_url=store.url, store=local, progress=Stepping())
    assert transfer.pull("m", store_url=store.url, store=other, progress=Stepping()).digest == model.digest
    assert time.monotonic() - began_s < 20


@pytest.mark.parametrize("step_s", [*STEPS, pytest.param(48 * HOUR_S, id="two days ahead")])
def test_f41_a_collector_whose_clock_is_wrong_spares_live_pushes_and_young_blobs(
    parts: StoreComponents, local: LocalStore, set_clock: SetClock, step_s: float
) -> None:
    entry = save_text(local, "m:1").manifest.files[0]
    digest, content = f"sha256:{entry.sha256}", (local.get("m:1").path / entry.path).read_bytes()
    push, _ = parts.leases.take([digest])
    parts.content.put(digest, content)
    upload = parts.uploads.begin("sha256:" + "0" * 64, 10, "key")
    set_clock(step_s)
    done = parts.collector.run(grace_s=0)
    assert (done.blobs, done.leases, done.uploads) == (0, 0, 0)
    parts.leases.drop(push)
    assert parts.collector.run().blobs == 0, "it is younger than the grace period"
    assert parts.content.missing([digest]) == []
    assert parts.uploads.get(upload.id) == upload
    assert parts.collector.run(grace_s=0).blobs == 1


@pytest.mark.parametrize("step_s", STEPS)
def test_f41_a_push_on_a_replica_whose_clock_is_wrong_still_waits_for_condemned_blobs(
    parts: StoreComponents, set_clock: SetClock, step_s: float
) -> None:
    from vtsserving_store.objects import keys

    digest = "sha256:" + "0" * 64
    parts.objects.create(keys.condemned(digest), b"{}")
    set_clock(step_s)
    thread = threading.Thread(target=parts.leases.take, args=([digest],))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    parts.objects.delete(keys.condemned(digest))
    thread.join(15)
    assert not thread.is_alive()


def test_f41_an_expired_token_works_for_the_leeway_and_no_longer(tmp_path: Path, set_clock: SetClock) -> None:
    settings = store_settings(tmp_path / "guarded", auth="required")
    text = token(settings, "pull", expires_in_s=100.0)
    with ThreadedStore(settings) as store, httpx2.Client(base_url=store.url) as client:

        def status(after_s: float) -> int:
            set_clock(after_s)
            headers = {"authorization": f"Bearer {text}"}
            return client.get("/api/v1/models", headers=headers).status_code

        assert tokens.LEEWAY_S == 60
        assert [status(s) for s in (0, 99, 100 + 55, 100 + 65, -HOUR_S)] == [200, 200, 200, 401, 200]


def test_f41_later_saves_are_newer_versions_though_the_clock_was_set_back(
    store: ThreadedStore, local: LocalStore, client: RegistryClient, set_clock: SetClock
) -> None:
    pushed = []
    for step_s in (0.0, HOUR_S, -1200.0, -HOUR_S):
        set_clock(step_s)
        model = save_text(local, "m", f"saved at {step_s}")
        transfer.push(model.tag, store_url=store.url, store=local)
        pushed.append(str(model.tag.version))
        assert client.version("m:latest").digest == model.digest
    assert [found["version"] for found in client.name("m")["versions"]] == pushed[::-1]


def test_f41_the_last_move_of_an_alias_counts_though_the_clock_was_set_back(
    store: ThreadedStore, local: LocalStore, client: RegistryClient, set_clock: SetClock
) -> None:
    for version in ("1", "2"):
        transfer.push(save_text(local, f"m:{version}").tag, store_url=store.url, store=local)
    client.set_alias(Tag("m", "1"), "prod")
    client.edit_labels(Tag("m", "1"), {"stage": "first"})
    set_clock(-HOUR_S)
    client.set_alias(Tag("m", "2"), "prod")
    client.edit_labels(Tag("m", "1"), {"stage": "last"})
    assert client.version("m:prod").tag.version == "2"
    assert [move["version"] for move in client.alias_history("m", "prod")] == ["2", "1"]
    assert client.version("m:1").labels == {"stage": "last"}


class SkewedS3(http.server.BaseHTTPRequestHandler):
    """Refuses every request as S3 does when the clocks differ: with a body that says so, but for HEAD."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._refuse(b"")

    def do_PUT(self) -> None:
        self._refuse(b"<Error><Code>RequestTimeTooSkewed</Code><Message>no</Message></Error>")

    def date_time_string(self, timestamp: float | None = None) -> str:
        del timestamp
        ahead = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=16)
        return format_datetime(ahead, usegmt=True)

    def log_message(self, *_: object) -> None:
        return

    def _refuse(self, body: bytes) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(403)
        self.send_header("content-type", "application/xml")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def skewed() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SkewedS3) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_f41_clocks_too_far_apart_for_signatures_are_said_so(skewed: str) -> None:
    for create in (True, False):
        section = {**s3_section(skewed), "create_bucket": create}
        with pytest.raises(ClockSkew, match="set this machine's time") as caught:
            open_storage(store_settings(s3=section)).create("probes/x", b"")
        assert (caught.value.wire_code, caught.value.exit_code) == ("clock_skew", 7)
