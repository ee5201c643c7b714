"""Answers the rows of chunks: call, look at the result, encode; what fails is halved until single rows stand alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from vtsserving._contract.arguments import Arguments
from vtsserving._model.contract import MethodContract
from vtsserving._model.result_form import ResultForm
from vtsserving._scoring.calls import CallPlan, arguments_of
from vtsserving._scoring.chunks import Chunk
from vtsserving._scoring.encoding import Stretch, encode
from vtsserving._scoring.formats import Format
from vtsserving._scoring.result_columns import columns_of, may_be_parts, parts_form, whole_array
from vtsserving._wire import tables
from vtsserving._wire.leaves import dimensions
from vtsserving.exceptions import (
    AuthError,
    BadInput,
    BadModelOutput,
    IncompatibleEnvironment,
    ModelError,
    ModelFailed,
    NotFound,
    ProtocolError,
    StorageError,
    Unavailable,
    VtsServingException,
)

FATAL: Final = (Unavailable, AuthError, NotFound, ProtocolError, StorageError, IncompatibleEnvironment)
"""Errors that say nothing about rows: the run ends, and can be resumed."""

MIN_SHOWING_ROWS: Final = 2
"""Rows of a call that shows how a result follows its rows: some results of a single row lose their axis."""

_ROW: Final = re.compile(r"^([^\n]{1,200}?), row 0 is ")

CallArguments = tuple[list[Any], dict[str, Any]]
Call = Callable[[list[Any], dict[str, Any]], Any]


class FailedRow(NamedTuple):
    """A row without an answer.

    Attributes:
        row: its number in the file, or in a chunk, from 0.
        code: of the error.
        message: of the error.
    """

    row: int
    code: str
    message: str


class Answered(NamedTuple):
    """A chunk that was computed.

    Attributes:
        rows: how many it has.
        names: of the result's columns; None: no row was answered.
        data: its answers, encoded.
        failed: the rows that have none, numbered within the chunk.
    """

    rows: int
    names: tuple[str, ...] | None
    data: bytes
    failed: tuple[FailedRow, ...]


class Answerer:
    """Answers chunks by a call; the same in this process, in a model process and in front of a gateway."""

    def __init__(
        self,
        call: Call,
        contract: MethodContract,
        arguments: Arguments,
        plan: CallPlan,
        *,
        output: Format,
        kept: Sequence[str],
        name: str,
    ) -> None:
        """Answer by `call`.

        Args:
            call: of the method, with positional and named arguments; checks them against the contract.
            contract: of the method.
            arguments: what is known of its arguments.
            plan: how rows become arguments.
            output: format of the output.
            kept: columns that are copied to it.
            name: of the result's column.
        """
        self._call = call
        self._form = contract.result
        self.arguments = arguments
        self.plan = plan
        self._wrong_lengths: set[int] = set()
        self._output = output
        self._kept = kept
        self._name = name

    def ready(self, chunk: Chunk) -> CallArguments | None:
        """The arguments of a chunk's call, made before it is computed; None: `answer` will say what is wrong."""
        try:
            return arguments_of(self.plan, self.arguments, chunk)
        except Exception:
            return None

    def answer(
        self, chunk: Chunk, names: tuple[str, ...] | None, ready: CallArguments | None = None
    ) -> Answered:
        """Compute a chunk.

        Args:
            chunk: some rows.
            names: of the result's columns; None: the first answer says them.
            ready: what `ready` gave for this chunk; the model may change it, so it serves once.

        Raises:
            VtsServingException: an error that says nothing about rows.
        """
        parts: list[Stretch] = []
        failed: list[FailedRow] = []
        waiting = [chunk]
        done = 0
        while waiting:
            some = waiting.pop()
            try:
                part, names = self._part(some, names, ready if some is chunk else None)
            except (KeyboardInterrupt, *FATAL):
                raise
            except BaseException as error:  # what a model raises, SystemExit included, must not end the run
                if some.rows > 1:
                    first, second = some.halves()
                    waiting += [second, first]
                    continue
                failed.append(FailedRow(done, *described_alone(error)))
                part = self._gap(some)
            parts.append(part)
            done += some.rows
        data = b"" if names is None else encode(_joined(parts), names, self._output)
        return Answered(chunk.rows, names, data, tuple(failed))

    def gap(self, chunk: Chunk, names: tuple[str, ...], error: BaseException) -> Answered:
        """The answer in place of a single row whose computation ended its process."""
        data = encode([self._gap(chunk)], names, self._output)
        return Answered(chunk.rows, names, data, (FailedRow(0, *described(error)),))

    def _gap(self, chunk: Chunk) -> Stretch:
        """Rows without results; where they cannot be read, without the kept columns, too."""
        try:
            kept = self._kept_of(chunk)
        except BadInput:
            kept = {name: [None] * chunk.rows for name in self._kept}
        return Stretch(chunk.rows, kept)

    def _part(
        self, chunk: Chunk, names: tuple[str, ...] | None, ready: CallArguments | None
    ) -> tuple[Stretch, tuple[str, ...]]:
        result = in_order(self._result(chunk, ready), chunk.rows)
        form = self._form_of(result, chunk)
        length = len(result) if isinstance(result, list) or dimensions(result) else -1
        if length in self._wrong_lengths and chunk.rows > 1:
            self._check_length(length, chunk)
        if length != chunk.rows and form is None:
            self._wrong_lengths.add(length)
        if self._output == "npy":
            array = whole_array(result, chunk.rows, form)
            # Arrays have no names; what all rows must have in common is their shape.
            found: tuple[str, ...] = ("x".join(map(str, array.shape[1:])),)
            part = Stretch(chunk.rows, {}, array=array)
        else:
            columns = columns_of(result, chunk.rows, form, self._name)
            found = tuple(columns)
            part = Stretch(chunk.rows, self._kept_of(chunk), columns)
            if names is not None and set(found) == set(names):
                found = names
        if names is not None and found != names:
            raise BadModelOutput(
                f"the result has the columns {_some(found)}; the first rows' had {_some(names)}"
            )
        clash = next((one for one in found if one in self._kept), None)
        if clash is not None:
            raise BadModelOutput(
                f"the result has the column {clash!r:.80}, and so have the kept ones; choose another name for it"
            )
        return part, found

    def _result(self, chunk: Chunk, ready: CallArguments | None = None) -> Any:
        args, kwargs = ready or arguments_of(self.plan, self.arguments, chunk)
        return self._call(args, kwargs)

    def _form_of(self, result: Any, chunk: Chunk) -> ResultForm | None:
        """How the rows of a result follow those of a chunk; None: its first axis does.

        Of a list that could be read in two ways, a call with fewer rows shows which one is right.
        """
        if self._form is not None or not may_be_parts(result, chunk.rows):
            return self._form
        if chunk.rows == 1:
            return parts_form(result, result) if len(result) > 1 else None
        self._form = parts_form(result, self._result(_few_of(chunk)))
        return self._form

    def _check_length(self, length: int, chunk: Chunk) -> None:
        """Refuse a result that has as many items as rows by chance: more rows had no others before.

        Raises:
            BadModelOutput: fewer rows give as many items.
        """
        few = _few_of(chunk)
        other = self._result(few)
        if (isinstance(other, list) or dimensions(other)) and len(other) == length:
            raise BadModelOutput(f"the model returned {length} rows for {few.rows}")

    def _kept_of(self, chunk: Chunk) -> dict[str, Any]:
        return chunk.as_written(self._kept) if self._kept else {}


def _few_of(chunk: Chunk) -> Chunk:
    few = chunk.halves()[0]
    while few.rows > MIN_SHOWING_ROWS:
        few = few.halves()[0]
    return few


def in_order(result: Any, rows: int) -> Any:
    """A table whose labels are 0, 1, 2... in another order, put back into the order of the rows."""
    if not tables.is_table(result) or len(result) != rows or tables.has_default_index(result):
        return result
    index = result.index
    if not index.is_unique or set(index) != set(range(rows)):
        return result
    return result.sort_index()


def described(error: BaseException) -> tuple[str, str]:
    """Code and message of an error, as a caller gets them online."""
    if isinstance(error, VtsServingException):
        return error.wire_code, " ".join(error.message.split())
    kind = ModelFailed if isinstance(error, Exception | SystemExit) else ModelError
    return kind.code, " ".join(f"{type(error).__name__}: {error}".split())[:500]


def described_alone(error: BaseException) -> tuple[str, str]:
    """The same of a call with one row, whose number, 0, says nothing of the file."""
    code, message = described(error)
    return code, _ROW.sub(r"\1 is ", message, count=1) if isinstance(error, BadInput) else message


def _joined(parts: list[Stretch]) -> list[Stretch]:
    """The same parts, with failed rows that follow each other in one where nothing is kept."""
    joined: list[Stretch] = []
    for part in parts:
        last = joined[-1] if joined else None
        is_gap = part.columns is None and part.array is None
        if is_gap and not part.kept and last is not None and last.columns is None and last.array is None:
            joined[-1] = Stretch(last.rows + part.rows, {})
        else:
            joined.append(part)
    return joined


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name)[:60] for name in names[:5]) + (", ..." if len(names) > 5 else "")
