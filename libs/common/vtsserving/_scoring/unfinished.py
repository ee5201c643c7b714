"""The folder of a run that is not finished: what it is about, how far it got, and the answers so far.

    out.parquet.unfinished/
        plan.json      what is computed: written once
        progress.json  replaced as a whole after each step
        answers        appended to; what lies behind the recorded size belongs to no step and is cut off
        failed.csv     likewise

A run that is killed leaves it; the same command goes on from the last step.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from vtsserving import _clock
from vtsserving._local_store.files import replace_durably, storage_errors, sync_directory
from vtsserving._scoring.answering import FailedRow
from vtsserving.exceptions import IntegrityError, InUse, InvalidArgument

SUFFIX: Final = ".unfinished"
FAILED_SUFFIX: Final = ".failed.csv"
STEP_S: Final = 1.0
"""Longest time whose work is lost when a run is killed, seconds."""

FAILED_HEADER: Final = ("row", "code", "error")


@dataclass
class RunProgress:
    """The state of a run.

    Attributes:
        position: in the input, where it goes on.
        rows: that are done.
        failed: of these.
        answers_bytes: of the answers that count.
        failed_bytes: of the list of failed rows that count.
        names: of the result's columns, once a row was answered.
        is_written: whether the output stands under its name.
    """

    position: int = 0
    rows: int = 0
    failed: int = 0
    answers_bytes: int = 0
    failed_bytes: int = 0
    names: tuple[str, ...] | None = None
    is_written: bool = False


class Unfinished:
    """A run's folder, held by one process at a time.

    Attributes:
        progress: how far it is.
    """

    def __init__(self, output: Path, *, restart: bool) -> None:
        """Take the folder of an output; `begin` follows.

        Args:
            output: what is to be written.
            restart: whether to forget what an earlier run left.

        Raises:
            InUse: another process writes this output.
            StorageError: the folder cannot be made.
        """
        from filelock import FileLock, Timeout

        self._output = output
        self.folder = output.with_name(output.name + SUFFIX)
        self.failed_file = output.with_name(output.name + FAILED_SUFFIX)
        # Beside the folder, which is removed at the end: a lock on a removed file would keep nobody out.
        self._lock = FileLock(output.with_name(f".{output.name}.lock"))
        with storage_errors(f"cannot write {output}"):
            try:
                self._lock.acquire(timeout=0)
            except Timeout as error:
                raise InUse(f"another process is writing {output}") from error
        self.progress = RunProgress()
        self._answers: IO[bytes] | None = None
        self._failed: IO[bytes] | None = None
        self._stepped_s = _clock.monotonic_s()
        if restart:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Unfinished:
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._answers, self._failed):
            if file is not None:
                file.close()
        if self._answers is not None and not self.progress.rows:
            self.remove()  # nothing that a next run could go on with, as after an error in the command
        self._lock.release()

    @property
    def answers_file(self) -> Path:
        """The answers so far."""
        return self.folder / "answers"

    def begin(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with what an earlier run left, or start.

        Args:
            plan: what is computed.

        Returns:
            The plan that counts: with what the earlier run had found out beside it.

        Raises:
            InvalidArgument: the earlier run computed something else; the message says what differs.
            StorageError: the disk refuses.
        """
        with storage_errors(f"cannot write {self._output}"):
            known = self._known()
            if known is not None and self.progress.rows:
                self._check(known, plan)
            else:
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.mkdir()
                self._replace("plan.json", plan)
                known = dict(plan)
            if self.progress.answers_bytes and not self.answers_file.exists():
                # The answers are the output, which was renamed before this could be recorded.
                self.progress.is_written = True
                return known
            self._answers = self._opened(self.answers_file, self.progress.answers_bytes)
            self._failed = self._opened(self.folder / "failed.csv", self.progress.failed_bytes)
            return known

    def append(self, data: bytes, failed: Sequence[FailedRow]) -> None:
        """Keep the answers of some rows, and those that failed; they count from the next step on."""
        assert self._answers is not None
        assert self._failed is not None
        with storage_errors(f"cannot write {self._output}"):
            self._answers.write(data)
            self.progress.answers_bytes += len(data)
            if failed:
                text = _lines(failed, is_first=not self.progress.failed_bytes)
                self._failed.write(text)
                self.progress.failed_bytes += len(text)
                self.progress.failed += len(failed)

    def step(self, *, now: bool = False) -> None:
        """Record how far the run is, if a second has passed since it was recorded.

        Args:
            now: whether to record it in any case.
        """
        if not now and _clock.monotonic_s() - self._stepped_s < STEP_S:
            return
        assert self._answers is not None
        assert self._failed is not None
        with storage_errors(f"cannot write {self._output}"):
            for file in (self._answers, self._failed):
                file.flush()
                os.fsync(file.fileno())
            self._replace("progress.json", asdict(self.progress))
        self._stepped_s = _clock.monotonic_s()

    def publish(self, whole: Path) -> None:
        """Give the output, and the list of failed rows, their names; then the folder goes.

        Args:
            whole: the finished output, in the folder.
        """
        with storage_errors(f"cannot write {self._output}"):
            if self.progress.failed:
                shutil.copyfile(self.folder / "failed.csv", self.folder / "failed.done")
                _synced(self.folder / "failed.done")
                os.replace(self.folder / "failed.done", self.failed_file)
            else:
                self.failed_file.unlink(missing_ok=True)
            _synced(whole)
            os.replace(whole, self._output)
            self.progress.is_written = True
            self._replace("progress.json", asdict(self.progress))
            sync_directory(self._output.parent)

    def remove(self) -> None:
        """Remove the folder, once the output stands."""
        # First what says that there is something to go on with.
        (self.folder / "plan.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._output.with_name(f".{self._output.name}.lock").unlink(missing_ok=True)

    def _known(self) -> dict[str, Any] | None:
        """The plan of an earlier run, with its progress taken over; None: there is none."""
        try:
            plan: dict[str, Any] = json.loads((self.folder / "plan.json").read_text())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        try:
            raw = json.loads((self.folder / "progress.json").read_text())
        except FileNotFoundError:
            return plan
        names = raw.pop("names")
        self.progress = RunProgress(**raw, names=None if names is None else tuple(names))
        return plan

    def _check(self, known: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
        for key, value in json.loads(json.dumps(plan)).items():
            if key in known and known[key] != value:
                raise InvalidArgument(
                    f"{self.folder.name} is of a run with another {key}: {str(known[key])[:200]}, now "
                    f"{str(value)[:200]}; repeat that command, or start anew with --restart (restart=True)"
                )

    def _replace(self, name: str, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=1).encode()
        replace_durably(self.folder / name, text, self.folder / f"{name}.new")

    def _opened(self, path: Path, size: int) -> IO[bytes]:
        found = path.stat().st_size if path.exists() else 0
        if found < size:
            raise IntegrityError(
                f"{path} has {found} bytes, {size} were written; start anew with --restart (restart=True)"
            )
        file = path.open("r+b" if path.exists() else "w+b")
        file.truncate(size)
        file.seek(size)
        return file


def _lines(failed: Sequence[FailedRow], *, is_first: bool) -> bytes:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n")
    if is_first:
        writer.writerow(FAILED_HEADER)
    writer.writerows(failed)
    return sink.getvalue().encode()


def _synced(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
