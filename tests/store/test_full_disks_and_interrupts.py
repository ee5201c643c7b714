"""A full disk is said and harms nothing; Ctrl-C ends a transfer at once and the next one goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from support.fault_proxy import FaultProxy, Faults
from support.sdk import CONTEXT
from support.stores import ThreadedStore, store_settings, wait_until
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.draft import Draft
from vtsserving._model.tag import Tag
from vtsserving._store_client import transfer
from vtsserving.exceptions import NoSpace

SIZE = 3_000_000


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ThreadedStore]:
    with ThreadedStore(store_settings(tmp_path / "store")) as store:
        yield store


@pytest.fixture
def model(local: LocalStore) -> Model:
    with local.staging() as staged:
        (staged / "w").write_bytes(os.urandom(SIZE))
        return local.save(staged, Draft(Tag.parse("m:1"), "", CONTEXT))


class Disk:
    """Lets writes of threads with a certain name fail once so many bytes were written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
        self.room = 0
        self.full = True
        self._threads = threads
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: bytes) -> int:
        if self.full and threading.current_thread().name.startswith(self._threads):
            self.room -= len(data)
            if self.room < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(descriptor, data)


def test_f39_a_full_store_says_507_and_recovers_without_a_restart(
    running: ThreadedStore,
    model: Model,
    local: LocalStore,
    other: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = Disk(monkeypatch, "AnyIO worker")
    with pytest.raises(NoSpace, match="no space left in the store's directory"):
        transfer.push(model.tag, store_url=running.url, store=local)
    with httpx2.Client(base_url=running.url) as http:
        answer = http.post("/api/v1/pushes", json={"digests": ["sha256:" + "0" * 64]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "no_space")
        assert http.get("/api/v1/models").json()["models"] == []
    directory = running.settings.store.dir
    assert directory is not None
    assert list((directory / ".tmp").iterdir()) == []
    disk.full = False
    transfer.push(model.tag, store_url=running.url, store=local)
    assert transfer.pull("m", store_url=running.url, store=other).digest == model.digest


def test_f39_a_full_disk_ends_a_pull_which_goes_on_when_there_is_room(
    running: ThreadedStore,
    model: Model,
    local: LocalStore,
    other: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transfer.push(model.tag, store_url=running.url, store=local)
    disk = Disk(monkeypatch, "pull")
    disk.room = SIZE // 2
    with pytest.raises(NoSpace, match="free some and pull again"):
        transfer.pull("m", store_url=running.url, store=other)
    assert other.list() == []
    disk.full = False
    assert transfer.pull("m", store_url=running.url, store=other).digest == model.digest


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_b76_ctrl_c_ends_a_transfer_at_once_and_the_next_one_succeeds(
    running: ThreadedStore, model: Model, local: LocalStore, other: LocalStore, direction: str
) -> None:
    used = local
    if direction == "pull":
        transfer.push(model.tag, store_url=running.url, store=local)
        used = other
    environment = {**os.environ, "VTSSERVING_HOME": str(used.root.parent)}
    with FaultProxy(running.app.port) as proxy:
        # Answers stop in the middle of a pull; of a push, the first one never comes.
        proxy.faults = Faults(stall_after_bytes=SIZE // 2 if direction == "pull" else 0)
        argv = [sys.executable, "-m", "vtsserving_cli", "models", direction, "m:1", "--store", proxy.url]
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment) as command:
            wait_until(lambda: proxy.connections > 0, what="the command connects")
            command.send_signal(signal.SIGINT)
            assert command.stderr is not None
            said = command.stderr.read()
            assert command.wait(5) == 130
            assert "Traceback" not in said
    transfer.push(model.tag, store_url=running.url, store=local)
    assert transfer.pull("m", store_url=running.url, store=other).digest == model.digest
