"""`vtsserving.predict_file(...)`: reads a file in chunks, calls a model's method, writes what it returns.

The steps of a run: open the input, find out what is known of the method, go on from where an earlier run was killed,
answer chunk by chunk, write the output under its name.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from vtsserving import _clock, models
from vtsserving._scoring import packages
from vtsserving._scoring.ahead import Prepared, ahead
from vtsserving._scoring.answering import Answered
from vtsserving._scoring.calls import check_once, plan_calls
from vtsserving._scoring.chunks import Chunk
from vtsserving._scoring.csv_text import CsvLayout
from vtsserving._scoring.encoding import header
from vtsserving._scoring.finishing import empty_answers, finish, framed
from vtsserving._scoring.formats import OF_PYARROW, Format, format_of
from vtsserving._scoring.gateway_model import RETRIES, known_remotely, remote_call
from vtsserving._scoring.local_model import Answering, Known, known_locally, loaded_call
from vtsserving._scoring.processes import MAX_PROCESSES, ScoringProcesses
from vtsserving._scoring.sources import DEFAULT_ROWS, CsvSource, Read, Source, open_source
from vtsserving._scoring.unfinished import Unfinished
from vtsserving.client.sync_client import Client
from vtsserving.exceptions import InvalidArgument, ModelFailed, from_code

MAX_BATCH_ROWS: Final = 1_000_000
REMOTE_ROWS: Final = 1_024
"""Rows of a request to a gateway, which has limits of its own."""
REMOTE_REQUESTS: Final = 4
REMOTE_TIMEOUT_S: Final = 300.0

Answer = Callable[[Chunk, "tuple[str, ...] | None"], "list[Answered]"]


@dataclass(frozen=True)
class ScoredFile:
    """The outcome of scoring a file.

    Attributes:
        output: the file that was written.
        tag: exact, of the model that computed it.
        rows: of the input, and of the output.
        failed: rows without an answer: their results are missing in the output.
        failed_file: row, code and error of each of them; None where there are none.
        seconds: that this run took; less than all, where it went on with an earlier one.
    """

    output: Path
    tag: str
    rows: int
    failed: int
    failed_file: Path | None
    seconds: float


class Done(NamedTuple):
    """The state of a run after a chunk.

    Attributes:
        position: in the input: bytes of a CSV file, rows of any other.
        total: the position of its end.
        rows: that are done.
        failed: of these.
    """

    position: int
    total: int
    rows: int
    failed: int


def predict_file(
    tag: str,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    method: str = "",
    url: str | None = None,
    token: str | None = None,
    processes: int | None = None,
    batch_rows: int | None = None,
    columns: Sequence[str] | None = None,
    keep: Sequence[str] | Literal["all"] = (),
    rows_as: str | None = None,
    result_name: str = "prediction",
    input_format: str | None = None,
    output_format: str | None = None,
    restart: bool = False,
    on_progress: Callable[[Done], None] | None = None,
) -> ScoredFile:
    """Call a model's method with all rows of a file, and write the results to another.

        vtsserving.predict_file("iris_clf:latest", "in.parquet", "out.parquet", keep=["id"])

    A row is checked as online: by the contract of the method. Memory is bounded whatever the size of the file. Row i of
    the output is row i of the input; one that fails has missing results, and a line in `target` + `.failed.csv`. The
    output appears when it is whole. A run that was killed leaves `target` + `.unfinished`; the same call goes on.

    Args:
        tag: of the model, such as "iris_clf:latest".
        source: the file to read: .csv, .tsv, .parquet, .arrow (.feather), .arrows (an Arrow stream) or .npy.
        target: the file to write, in any of these formats; it is replaced if it exists.
        method: of the model; `__call__`, the only one or `predict` by default.
        url: of a gateway that computes, such as "http://127.0.0.1:3000"; the local store and this machine by default.
        token: for the gateway; VTSSERVING_TOKEN by default.
        processes: model processes, 1 to 64; in front of a gateway, requests at the same time, 4 by default. None: the
            model is called in this process.
        batch_rows: most rows of one call, 1 to 1,000,000; 16,384 by default, 1,024 in front of a gateway; fewer where
            rows are so wide that they would have more than 8 MiB.
        columns: of the file that the method gets, in order; those that its contract names by default, else all that are
            not kept.
        keep: columns that are copied to the output, before the results; "all" for all of them.
        rows_as: what the rows are for the method: `array`, `table`, `list` (of values, or of objects by column) or
            `arguments` (each column is the argument of its name); what the contract says by default.
        result_name: of the output's column, where the method's result has no names of its own.
        input_format: `csv`, `tsv`, `parquet`, `arrow`, `arrows` or `npy`, where the name of the file does not tell it.
        output_format: likewise.
        restart: forget what an earlier run left.
        on_progress: called after each chunk.

    Raises:
        InvalidArgument: an option is impossible, or an earlier run for `target` computed something else.
        BadInput: the file is damaged, or its columns, dtypes or shapes are not what the method takes.
        ModelNotFound, MethodNotFound: there is no such model, or method.
        MissingDependency: the formats or the method need a package that is not installed.
        ModelFailed: not one row of the first chunk was answered; the message has the first row's error.
        VtsServingException: of other kinds, where the model cannot be loaded or the gateway does not answer; the same
            call goes on later.
    """
    started_s = _clock.monotonic_s()
    paths = Path(source).absolute(), Path(target).absolute()
    kinds = format_of(paths[0], input_format), format_of(paths[1], output_format)
    _check_options(paths, processes, batch_rows)
    if kinds[1] in OF_PYARROW:
        packages.pyarrow()
    opened = open_source(paths[0], kinds[0])
    with contextlib.ExitStack() as stack:
        client = None
        if url is not None:
            client = stack.enter_context(Client(url, token=token, timeout=REMOTE_TIMEOUT_S, retries=RETRIES))
            known = known_remotely(client, tag, method)
        else:
            known = known_locally(models.get(tag), method)
        answering = _answering(opened, known, kinds[1], columns, keep, rows_as, result_name)
        run = _Run(opened, known, answering, on_progress)
        unfinished = stack.enter_context(Unfinished(paths[1], restart=restart))
        run.begin(unfinished, paths[0], url)
        if not unfinished.progress.is_written:
            rows = batch_rows or (REMOTE_ROWS if client is not None else DEFAULT_ROWS)
            if unfinished.progress.position < opened.total:
                run.answer_all(client, processes, rows)
            run.publish()
        unfinished.remove()
        done = unfinished.progress
    return ScoredFile(
        Path(target),
        known.tag,
        done.rows,
        done.failed,
        unfinished.failed_file if done.failed else None,
        _clock.monotonic_s() - started_s,
    )


def _answering(
    source: Source,
    known: Known,
    output: Format,
    columns: Sequence[str] | None,
    keep: Sequence[str] | Literal["all"],
    rows_as: str | None,
    result_name: str,
) -> Answering:
    """Decide how chunks are answered; arguments as of `predict_file`."""
    if keep == "all":
        kept = tuple(source.names or ())
        columns = columns if columns is not None else _for_method(source, known)
    else:
        kept = tuple(keep)
    if kept and output == "npy":
        raise InvalidArgument("a .npy file has no room for columns that are kept; write .csv or .parquet")
    plan = plan_calls(
        known.contract, known.arguments(), source.names, chosen=columns, kept=kept, rows_as=rows_as
    )
    return Answering(plan, output, kept, result_name)


class _Run:
    """One run from its first chunk to its output."""

    def __init__(
        self,
        source: Source,
        known: Known,
        answering: Answering,
        on_progress: Callable[[Done], None] | None,
    ) -> None:
        self._source = source
        self._known = known
        self._answering = answering
        self._on_progress = on_progress

    def begin(self, unfinished: Unfinished, path: Path, url: str | None) -> None:
        """Go on with what an earlier run left, or start; the dtypes of a CSV file are settled here."""
        self._unfinished = unfinished
        stat = path.stat()
        plan: dict[str, Any] = {
            "input": f"{path}, {stat.st_size} bytes, modified {stat.st_mtime_ns}",
            "tag": self._known.tag,
            "digest": self._known.digest,
            "method": self._known.method,
            "gateway": url,
            "answering": self._answering.to_dict(),
        }
        if isinstance(self._source, CsvSource):
            self._source.layout = self._layout(self._source)
            plan["layout"] = self._source.layout.to_dict()
        unfinished.begin(plan)

    def answer_all(self, client: Client | None, processes: int | None, rows: int) -> None:
        """Compute what is left of the file."""
        progress = self._unfinished.progress
        reads = self._source.chunks(progress.position, rows)
        first = next(reads, None)
        if first is None:
            progress.position = self._source.total
            return
        if not progress.rows:
            check_once(self._known.arguments(), self._answering.plan, first.chunk)
        with contextlib.ExitStack() as stack:
            if client is None and processes is None:
                self._answer_here(first, reads)
            else:
                answer, at_once, abort = self._elsewhere(stack, client, processes)
                # The first chunk says what the columns of the result are; what comes after it can be computed at once.
                self._take(first, answer(first.chunk, progress.names))
                self._answer_together(reads, answer, at_once, abort)
        progress.position = self._source.total
        self._unfinished.step(now=True)

    def publish(self) -> None:
        """Write the output, and give it its name."""
        unfinished, kind = self._unfinished, self._answering.output
        if unfinished.progress.names is None:
            names = (self._answering.name,)
            unfinished.append(header(self._answering.kept, names, kind), ())
            unfinished.append(empty_answers([*self._answering.kept, *names], kind), ())
            unfinished.progress.names = names
        unfinished.step(now=True)
        unfinished.publish(finish(unfinished.answers_file, unfinished.folder / "output", kind))

    def _answer_here(self, first: Read, reads: Iterator[Read]) -> None:
        """One chunk after the other, in this process; those of some formats are made ready while one is computed."""
        model = models.get(self._known.tag)
        answerer = self._answering.answerer(self._known, loaded_call(model, self._known.method))
        progress = self._unfinished.progress
        with contextlib.ExitStack() as stack:
            following: Iterator[Prepared] = ((read, None) for read in reads)
            if not isinstance(self._source, CsvSource):
                following = stack.enter_context(ahead(reads, answerer.ready))
            for read, ready in chain([(first, None)], following):
                self._take(read, [answerer.answer(read.chunk, progress.names, ready)])

    def _elsewhere(
        self, stack: contextlib.ExitStack, client: Client | None, processes: int | None
    ) -> tuple[Answer, int, Callable[[], None]]:
        """A gateway or model processes that answer chunks, how many at once, and how to end it amid them."""
        known = self._known
        if client is not None:
            answerer = self._answering.answerer(known, remote_call(client, known))
            return (
                lambda chunk, names: [answerer.answer(chunk, names)],
                processes or REMOTE_REQUESTS,
                client.close,
            )
        assert processes is not None
        setup = {
            "tag": known.tag,
            "method": known.method,
            "answering": self._answering.to_dict(),
            "kind": self._source.kind,
            "layout": self._source.layout.to_dict() if isinstance(self._source, CsvSource) else None,
        }
        gaps = self._answering.answerer(known, _no_call)
        running = ScoringProcesses(processes, setup, models.get(known.tag).info.options.threads, gaps)
        stack.callback(running.close)
        return running.answer, processes, running.close

    def _answer_together(
        self, reads: Iterator[Read], answer: Answer, at_once: int, abort: Callable[[], None]
    ) -> None:
        """Several chunks at the same time; what they give is kept in their order."""
        names = self._unfinished.progress.names
        waiting: deque[tuple[Read, Future[list[Answered]]]] = deque()
        pool = ThreadPoolExecutor(at_once, thread_name_prefix="scoring")
        try:
            for read in reads:
                waiting.append((read, pool.submit(answer, read.chunk, names)))
                # One more than are computed, so that none of these waits for the disk.
                if len(waiting) > at_once:
                    done, future = waiting.popleft()
                    self._take(done, future.result())
            while waiting:
                done, future = waiting.popleft()
                self._take(done, future.result())
        except BaseException:
            abort()  # a call that never returns must not hold up an interrupt
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _take(self, read: Read, answers: list[Answered]) -> None:
        """Keep the answers of a chunk."""
        unfinished, kind = self._unfinished, self._answering.output
        progress = unfinished.progress
        for answered in answers:
            if answered.names is None:
                _, code, message = answered.failed[0]
                first = from_code(
                    code, f"none of the first {answered.rows:,} rows was answered; row 0: {message}"
                )
                raise first if isinstance(first, InvalidArgument) else ModelFailed(first.message)
            if progress.names is None:
                progress.names = answered.names
                unfinished.append(header(self._answering.kept, answered.names, kind), ())
            failed = [one._replace(row=one.row + progress.rows) for one in answered.failed]
            unfinished.append(framed(answered.data, kind), failed)
            progress.rows += answered.rows
        progress.position = read.position
        unfinished.step()
        if self._on_progress is not None:
            self._on_progress(Done(read.position, self._source.total, progress.rows, progress.failed))

    def _layout(self, source: CsvSource) -> CsvLayout:
        plan = self._answering.plan
        names = plan.columns or ()
        source.layout = source.layout._replace(dtypes=dict(plan.dtypes))
        source.guess([name for name in names if name not in plan.dtypes], DEFAULT_ROWS)
        return source.layout


def _no_call(args: list[Any], kwargs: dict[str, Any]) -> Any:
    raise InvalidArgument("the model is called in processes of its own")


def _for_method(source: Source, known: Known) -> Sequence[str] | None:
    """The columns that the method gets where all are kept: those that its contract names, if it names any."""
    first = known.contract.names[0] if known.contract.names else ""
    described = known.contract.arguments.get(first)
    names = [str(column["name"]) for column in described.columns] if described is not None else []
    found = [name for name in source.names or () if name in names]
    return found or source.names


def _check_options(paths: tuple[Path, Path], processes: int | None, batch_rows: int | None) -> None:
    for name, value, most in (
        ("processes", processes, MAX_PROCESSES),
        ("batch_rows", batch_rows, MAX_BATCH_ROWS),
    ):
        if value is not None and not 1 <= value <= most:
            raise InvalidArgument(f"{name} is a number from 1 to {most:,}, not {value!r:.40}")
    if paths[0] == paths[1] or (paths[1].exists() and paths[0].exists() and paths[0].samefile(paths[1])):
        raise InvalidArgument(f"the output would replace the input, {paths[0].name}; name another file")
    if not paths[1].parent.is_dir():
        raise InvalidArgument(f"there is no folder {str(paths[1].parent)!r} for the output")
