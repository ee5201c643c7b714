"""The local store under kill -9, concurrent writers and damaged bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support import store_worker
from support.proofs import Proof
from support.sdk import save_text
from vtsserving._archive import import_model
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import AlreadyExists, IntegrityError

WORKERS = 3


class Victim:
    """A worker process and what it said."""

    def __init__(self, root: Path, exports: Path, seed: int) -> None:
        self.lines: list[str] = []
        self.started = threading.Event()
        command = [sys.executable, str(Path(store_worker.__file__)), str(root), str(exports), str(seed)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.strip())
                self.started.set()

    def kill(self) -> None:
        """Kill it and read what it said before."""
        self.process.kill()
        assert self.process.wait(30) == -signal.SIGKILL, "the worker ended by itself"
        self.listener.join(30)


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_kill_9_leaves_every_model_whole_or_absent(tmp_path: Path, proof: Proof) -> None:
    kills, root, exports = proof.count(full=200, quick=9), tmp_path / "models", tmp_path / "exports"
    exports.mkdir()
    chance = random.Random(proof.seed)
    store = LocalStore(root)
    acknowledged: set[str] = set()
    operations = checked = 0
    interrupted: dict[str, int] = {}
    done = 0
    while done < kills:
        victims = [Victim(root, exports, chance.randrange(2**31)) for _ in range(WORKERS)]
        for victim in victims:
            assert victim.started.wait(30)
        # The moment is what this test draws at random; nothing waits for it.
        time.sleep(chance.uniform(0.0, 0.4))
        for victim in chance.sample(victims, WORKERS):
            victim.kill()
            time.sleep(chance.uniform(0.0, 0.05))
        done += WORKERS
        for victim in victims:
            operations += len(victim.lines) // 2
            last = victim.lines[-1].split()
            if last[0] == "try":
                interrupted[last[1]] = interrupted.get(last[1], 0) + 1
        said = [line.split() for victim in victims for line in victim.lines]
        acknowledged |= {words[2] for words in said if words[:2] in (["did", "save"], ["did", "import"])}
        acknowledged -= {words[2] for words in said if words[1:2] == ["delete"]}
        checked += check_store(store, acknowledged)
    for archive in exports.glob("*.vtsmodel"):
        import_model(archive, store=LocalStore(tmp_path / "scratch"))
    with store.staging():
        pass
    assert list((root / ".tmp").iterdir()) == []
    proof.record(
        "kill -9 of three processes on one local store",
        kills=done,
        operations=operations,
        **{f"killed_in_{action}": count for action, count in sorted(interrupted.items())},
        models_checked=checked,
        lost=0,
        half=0,
    )


def check_store(store: LocalStore, acknowledged: set[str]) -> int:
    """Every version on disk is whole, nothing acknowledged is missing, `latest` is the newest; returns how many."""
    models = store.list()
    for model in models:
        store.verify(model.tag)
        assert model.info.tag == model.tag
    on_disk = {
        f"{folder.name}:{version.name}"
        for folder in store.root.iterdir()
        if not folder.name.startswith(".")
        for version in folder.iterdir()
    }
    assert on_disk == {str(model.tag) for model in models}
    assert acknowledged <= on_disk
    for name in store.names():
        newest = max(store.list(name), key=lambda model: (model.info.creation_time, str(model.tag.version)))
        assert store.get(f"{name}:latest") == newest
        ordinals = [model.info.ordinal for model in store.list(name)]
        assert len(set(ordinals)) == len(ordinals)
    return len(models)


def in_parallel(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Run a call in as many processes at once, forked at one barrier; returns what each sent back, or its error."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(count), context.SimpleQueue()

    def run(at: int) -> None:
        barrier.wait(60)
        try:
            results.put((at, call(at)))
        except Exception as error:
            results.put((at, type(error).__name__))

    processes = [context.Process(target=run, args=(at,)) for at in range(count)]
    for process in processes:
        process.start()
    answers = dict(results.get() for _ in processes)
    for process in processes:
        process.join(60)
    return [answers[at] for at in range(count)]


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_processes_saving_one_name_get_versions_in_the_order_of_their_commits(
    tmp_path: Path, proof: Proof
) -> None:
    store, each = LocalStore(tmp_path / "models"), proof.count(full=50, quick=4)

    def save(at: int) -> list[str]:
        return [str(save_text(store, "iris_clf", f"{at}.{turn}").tag.version) for turn in range(each)]

    per_process = in_parallel(8, save)
    versions = [version for mine in per_process for version in mine]
    assert len(set(versions)) == 8 * each
    assert all(mine == sorted(mine) for mine in per_process)
    # Ordinals are given out under the same lock as versions, so they tell the order of the commits.
    by_ordinal = sorted(store.list("iris_clf"), key=lambda model: model.info.ordinal)
    assert [model.info.ordinal for model in by_ordinal] == list(range(1, 8 * each + 1))
    assert [str(model.tag.version) for model in by_ordinal] == sorted(versions)
    proof.record("8 processes saving one name", saves=8 * each, distinct=len(set(versions)), out_of_order=0)


def test_of_processes_saving_one_version_one_wins(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "models")
    answers = in_parallel(8, lambda at: str(save_text(store, "iris_clf:v1", str(at)).tag))
    assert sorted(answers) == [AlreadyExists.__name__] * 7 + ["iris_clf:v1"]
    winner = answers.index("iris_clf:v1")
    assert (store.get("iris_clf:v1").path / "weights.txt").read_text() == str(winner)


def test_threads_of_one_process_can_save_at_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "models")
    with ThreadPoolExecutor(8) as threads:
        models = list(threads.map(lambda at: save_text(store, "iris_clf", str(at)), range(24)))
    assert len({model.tag for model in models}) == 24
    assert sorted(model.info.ordinal for model in models) == list(range(1, 25))
    assert list((store.root / ".tmp").iterdir()) == []


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_every_flipped_bit_is_refused(tmp_path: Path, proof: Proof) -> None:
    store, flips, chance = (
        LocalStore(tmp_path / "models"),
        proof.count(full=500, quick=60),
        random.Random(proof.seed),
    )
    model = save_text(
        store, "iris_clf", "weights" * 20, labels={"stage": "dev"}, extra={"description": "a demo"}
    )
    files = sorted(file for file in model.path.rglob("*") if file.is_file())
    refused = 0
    for _ in range(flips):
        file = chance.choice(files)
        raw = file.read_bytes()
        at, bit = chance.randrange(len(raw)), chance.randrange(8)
        file.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :])
        with pytest.raises(IntegrityError):
            Model.staged(model.path).verify()
        refused += 1
        file.write_bytes(raw)
    store.verify(model.tag)
    proof.record("single-bit flips in a saved model", flips=flips, refused=refused)


def test_the_next_command_removes_what_a_dead_process_left_and_keeps_what_a_living_one_has(
    tmp_path: Path,
) -> None:
    store = LocalStore(tmp_path / "models")
    pid = os.fork()
    if pid == 0:
        with store.staging() as staged:
            (staged / "half").mkdir(mode=0o500)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert list((store.root / ".tmp").iterdir())
    with store.staging() as mine:
        assert {entry.name for entry in (store.root / ".tmp").iterdir()} == {mine.name, f"{mine.name}.lock"}
        save_text(store, "iris_clf")
        assert mine.is_dir()
    assert list((store.root / ".tmp").iterdir()) == []
