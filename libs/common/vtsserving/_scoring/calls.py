"""Rows of a file as the arguments of a call: as an array, a table or a list, or each column as an argument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from vtsserving._codecs.column_items import is_missing
from vtsserving._codecs.column_objects import object_converter
from vtsserving._codecs.csv_text import TextTable
from vtsserving._contract.arguments import Arguments
from vtsserving._model.argument import NOT_DESCRIBED
from vtsserving._model.contract import MethodContract
from vtsserving._scoring import packages
from vtsserving._scoring.chunks import Chunk, CsvChunk
from vtsserving._scoring.column_names import as_written, repeated
from vtsserving._scoring.csv_text import TEXT
from vtsserving.exceptions import BadInput, BadShape, InvalidArgument, WrongType

RowsAs = Literal["array", "table", "list", "arguments"]
ROWS_AS: Final = ("array", "table", "list", "arguments")
"""Kinds of arguments that the rows of a file may be; `arguments`: each column is one."""

MAX_TRIED: Final = 32
"""Rows at either end of a chunk of which one has to fit, or no row of the file does."""


@dataclass(frozen=True)
class CallPlan:
    """A way to make calls from rows.

    Attributes:
        rows_as: what the rows are for the method.
        columns: of the file that the method gets, in order, made unique; None: the file is one array.
        dtypes: column to the dtype that the contract says; those of a CSV file are parsed as it.
        ndim: dimensions of the array that is wanted; 0: that is not known.
    """

    rows_as: RowsAs
    columns: tuple[str, ...] | None
    dtypes: Mapping[str, str]
    ndim: int = 0

    def arguments(self, chunk: Chunk) -> tuple[list[Any], dict[str, Any]]:
        """Positional and named arguments of a call with the rows of a chunk.

        Raises:
            BadInput: a cell is not what its column's dtype says.
        """
        if self.columns is None:
            return [chunk.frame(()) if self.rows_as == "table" else chunk.array()], {}
        if self.rows_as == "table":
            return [_with_own_names(chunk.frame(self.columns), self.columns)], {}
        if self.rows_as == "arguments":
            return [], {name: _plain(chunk.column(name)) for name in self.columns}
        if self.rows_as == "list":
            return [_list(chunk, self.columns)], {}
        return [_array(chunk, self.columns, self.ndim)], {}


def plan_calls(
    contract: MethodContract,
    arguments: Arguments,
    names: Sequence[str] | None,
    *,
    chosen: Sequence[str] | None = None,
    kept: Sequence[str] = (),
    rows_as: str | None = None,
) -> CallPlan:
    """Decide how calls are made from the rows of a file.

    Args:
        contract: of the method.
        arguments: what is known of its arguments.
        names: the file's columns; None: it is one array.
        chosen: the columns that the method gets; None: those of the contract, or all that are not kept.
        kept: columns that are copied to the output.
        rows_as: what the rows are; None: as the contract says.

    Raises:
        InvalidArgument: an option names a column that there is not, or is impossible.
        BadInput: the file has a column twice, and the method does not.
    """
    if rows_as is not None and rows_as not in ROWS_AS:
        raise InvalidArgument(f"rows_as is {', '.join(ROWS_AS)}, not {rows_as!r:.40}")
    first = contract.names[0] if contract.names else ""
    described = contract.arguments.get(first, NOT_DESCRIBED)
    spec = arguments.spec(0)
    ndim = len(spec.shape) if spec is not None else 0
    if names is None:
        if chosen or kept:
            raise InvalidArgument("a .npy file has no columns that could be chosen or kept")
        return CallPlan("table" if rows_as == "table" else "array", None, {}, ndim)
    known = [str(column["name"]) for column in described.columns]
    missing = [name for name in (*(chosen or ()), *kept) if name not in names]
    if missing:
        has = _some(list(map(as_written, names)))
        raise InvalidArgument(f"the file has no column {missing[0]!r:.80}; it has {has}")
    if chosen is None:
        chosen = [name for name in names if name not in kept or name in known]
    if not chosen:
        raise InvalidArgument(
            f"no column is left for the method, for all are kept; choose what it gets, too: --column {names[0]!r:.80}"
        )
    items = arguments.kind_of_items(0)
    found = rows_as or _rows_as(contract, items or described.type, bool(known), spec is not None, chosen)
    if found == "list" and rows_as is None and items and len(chosen) > 1:
        raise InvalidArgument(
            f"the method takes one column of {items}, and would get {_some(chosen)}; keep what is not for it, "
            f"--keep {chosen[1]!r:.80}, or choose its column, --column {chosen[0]!r:.80}"
        )
    dtypes = {str(column["name"]): _parsed_as(column) for column in described.columns if _parsed_as(column)}
    if repeated(names):
        _check_repeated(names, chosen, kept, known if found == "table" else [])
        parsed = map(_parsed_as, described.columns)
        dtypes = {name: dtype for name, dtype in zip(chosen, parsed, strict=True) if dtype}
    if found == "array" and spec is not None:
        dtypes = dict.fromkeys(chosen, TEXT if spec.dtype.kind == "U" else _number(spec.dtype))
    if found == "arguments":
        specs = {name: arguments.named.get(name) for name in chosen}
        dtypes = {name: _number(one.dtype) for name, one in specs.items() if one and one.dtype.kind in "iuf"}
    if found != "arguments" and items:
        dtypes = dict.fromkeys(chosen, TEXT)
    return CallPlan(_known_as(found), tuple(chosen), dtypes, ndim)


def _check_repeated(
    names: Sequence[str], chosen: Sequence[str], kept: Sequence[str], known: Sequence[str]
) -> None:
    """Refuse a file that has a column twice, unless these columns are those of the method, in its order.

    Args:
        names: of the file.
        chosen: those that the method gets.
        kept: those that are copied to the output.
        known: those of the method's table; empty: they are not known.

    Raises:
        BadInput: names the columns.
    """
    twice = repeated(names)
    is_kept = next((name for name in map(as_written, kept) if name in twice), None)
    if is_kept is not None:
        raise BadInput(
            f"the file has the column {is_kept!r:.80} twice; a column that is kept needs a name of its own"
        )
    if len(set(known)) == len(known):
        raise BadInput(f"the file has the column {twice[0]!r:.80} twice; each needs a name of its own")
    found = list(map(as_written, chosen))
    if found != known or not repeated(chosen):
        raise BadShape(
            f"the method would get the columns {_some(found)}; as {twice[0]!r:.80} is among the file's columns more "
            f"than once, they must be {_some(known)} in this order"
        )


def _with_own_names(frame: Any, columns: Sequence[str]) -> Any:
    return frame.set_axis(list(map(as_written, columns)), axis=1) if repeated(columns) else frame


def _rows_as(
    contract: MethodContract, kind: str, has_columns: bool, is_array: bool, chosen: Sequence[str]
) -> str:
    """The kind of argument where nobody says it: as the contract describes, else as the framework takes it."""
    taken = [
        name for name in contract.names if contract.arguments.get(name, NOT_DESCRIBED).kind != "parameter"
    ]
    if len(taken) > 1 and len(chosen) > 1 and set(chosen) <= set(contract.names):
        return "arguments"
    if kind in ("table", "series") or has_columns:
        return "table"
    if kind in ("texts", "bytes"):
        return "list"
    if kind == "tensor" or is_array or contract.lists == "arrays":
        return "array"
    if len(chosen) == 1:
        return "list"
    return "table" if packages.has_pandas() else "array"


def _known_as(text: str) -> RowsAs:
    for known in ("array", "table", "list"):
        if text == known:
            return known
    return "arguments"


_PARSED_ARROW: Final = ("int", "uint", "float", "double", "bool", "halffloat")


def _parsed_as(column: Mapping[str, Any]) -> str:
    """The dtype as which a column of a CSV file is parsed; a category has that of its categories."""
    dtype = str(column.get("dtype") or "")
    if dtype == "category":
        categories = column.get("categories") or ()
        is_text = not categories or any(isinstance(one, str) for one in categories)
        return (
            TEXT if is_text else "float64" if any(isinstance(one, float) for one in categories) else "int64"
        )
    if dtype.startswith("Sparse["):
        return dtype.removeprefix("Sparse[").partition(",")[0].rstrip("]")
    is_text = dtype in ("object", "str", "string") or dtype.startswith(("string[", "interval["))
    if is_text or object_converter(dtype) is not None:
        return TEXT
    # Of other dtypes of Arrow pandas' parser makes no column: the record of the columns does, of their texts.
    return TEXT if dtype.endswith("[pyarrow]") and not dtype.startswith(_PARSED_ARROW) else dtype


def _number(dtype: np.dtype[Any]) -> str:
    return "float64" if dtype.kind == "f" else str(dtype.name)


def arguments_of(plan: CallPlan, arguments: Arguments, chunk: Chunk) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call; a record of CSV that does not fit is read as online, with the errors from there.

    Args:
        plan: how calls are made.
        arguments: what is known of the method's.
        chunk: some rows.

    Raises:
        BadInput: as `CallPlan.arguments`.
    """
    try:
        return plan.arguments(chunk)
    except BadInput:
        is_record = isinstance(chunk, CsvChunk) and chunk.rows == 1 and plan.columns is not None
        if not is_record or plan.rows_as != "table" or arguments.known_columns(0) is None:
            raise
        texts = chunk.as_written(plan.columns or ())
        found, named = arguments.conform([TextTable(list(map(as_written, texts)), list(texts.values()))], {})
        return list(found), named


def _array(chunk: Chunk, columns: Sequence[str], ndim: int) -> Any:
    """The columns side by side: [rows, columns]; a single one [rows], or [rows, ...] where its cells are lists.

    A single column of texts is [rows], too, unless two dimensions are wanted: so text models take it.
    """
    found = (
        chunk.columns(columns) if isinstance(chunk, CsvChunk) else [chunk.column(name) for name in columns]
    )
    if len(found) == 1 and found[0].dtype.kind == "O":
        _check_complete(found[0].tolist(), columns[0])
    if len(found) == 1 and (ndim == 1 or found[0].ndim > 1):
        return np.array(found[0])
    if len(found) == 1 and not ndim and _is_text(found[0]):
        return np.array(found[0].tolist(), dtype="U")
    for name, column in zip(columns, found, strict=True):
        if column.ndim > 1:
            raise BadShape(f"the column {name!r:.80} holds lists, beside other columns; choose one of them")
    kinds = {column.dtype.kind for column in found}
    if "O" in kinds:
        return _of_objects(found, columns)
    if not kinds <= set("biuf"):
        raise WrongType("an array of numbers cannot hold columns of times; convert them, or choose others")
    joined = np.empty((chunk.rows, len(found)), np.result_type(*found))
    for at, column in enumerate(found):
        joined[:, at] = column
    return joined


def _of_objects(found: Sequence[Any], columns: Sequence[str]) -> Any:
    texts = [_is_text(column) for column in found]
    if all(texts):
        return np.column_stack([np.array(column.tolist(), dtype="U") for column in found])
    name = columns[texts.index(True)] if any(texts) else columns[0]
    raise WrongType(
        f"the column {name!r:.80} holds something else than numbers; choose the columns that the method takes"
    )


def _check_complete(items: Sequence[Any], name: str) -> None:
    """Refuse a missing value among texts."""
    gaps = [is_missing(item) for item in items]
    if any(gaps) and all(gap or isinstance(item, str) for gap, item in zip(gaps, items, strict=True)):
        raise WrongType(f"the column {name!r:.80}, row {gaps.index(True)} is missing; expected a string")


def _is_text(column: Any) -> bool:
    return column.dtype.kind == "O" and all(isinstance(item, str) for item in column.tolist())


def _list(chunk: Chunk, columns: Sequence[str]) -> list[Any]:
    """A list with an item for each row: its value, or an object of its values by name."""
    found = [chunk.column(name).tolist() for name in columns]
    if len(found) == 1:
        return list(found[0])
    return [dict(zip(columns, row, strict=True)) for row in zip(*found, strict=True)]


def _plain(column: Any) -> Any:
    """A column as an argument: texts are a list."""
    return column.tolist() if column.dtype.kind == "O" else np.array(column)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name)[:80] for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def check_once(arguments: Arguments, plan: CallPlan, chunk: Chunk) -> None:
    """Refuse a file of which no row could be right: its columns are not what the method takes.

    Args:
        arguments: what is known of the method's.
        plan: how calls are made.
        chunk: the first rows of the file.

    Raises:
        BadInput: the error that such a request gets online.
    """
    error = _misfit(arguments, plan, chunk)
    if error is None:
        return
    # A row of them may be bad, or all are: single ones show it.
    alone = [_misfit(arguments, plan, row) for row in _some_rows(chunk)]
    if None not in alone:
        raise error


def _misfit(arguments: Arguments, plan: CallPlan, chunk: Chunk) -> BadInput | None:
    """The error of a call with these rows; None: the method would take them."""
    try:
        args, kwargs = arguments_of(plan, arguments, chunk)
        try:
            arguments.conform(
                [_no_rows(one) for one in args], {name: _no_rows(one) for name, one in kwargs.items()}
            )
        except BadInput:
            # Without rows, a list or an array of objects says less than with them: the whole call decides.
            arguments.conform(args, kwargs)
    except BadShape as error:
        if plan.rows_as == "table":
            return _with_a_way_out(error, arguments, plan)
        if plan.rows_as != "array" or not plan.columns:
            return error
        return BadShape(
            f"{error.message}; the method gets {_some(plan.columns)}: choose its columns, or keep the others"
        )
    except BadInput as error:
        return error
    return None


def _with_a_way_out(error: BadShape, arguments: Arguments, plan: CallPlan) -> BadShape:
    """The same error; of columns that the method does not have, with what can be done about them."""
    table = arguments.known_columns(0)
    known = {str(name) for name in table.names} if table is not None else set()
    unknown = [name for name in map(as_written, plan.columns or ()) if known and name not in known]
    if not unknown:
        return error
    return BadShape(
        f"{error.message}; keep what is not for the method, --keep {unknown[0]!r:.80}, or choose its columns, --column"
    )


def _some_rows(chunk: Chunk) -> Iterator[Chunk]:
    """Single rows from the beginning and from the end of a chunk."""
    for end in (0, -1):
        some = chunk
        while some.rows > MAX_TRIED:
            some = some.halves()[end]
        waiting = [some]
        while waiting:
            one = waiting.pop()
            if one.rows > 1:
                waiting += reversed(one.halves())
            else:
                yield one


def _no_rows(value: Any) -> Any:
    return value.iloc[:0] if hasattr(value, "iloc") else value[:0]
