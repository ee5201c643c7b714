"""CSV as it is read here: cut into whole records without parsing, then parsed with the dtypes that are known."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from vtsserving._codecs.column_texts import MISSING
from vtsserving._codecs.csv_text import records
from vtsserving._scoring import packages
from vtsserving._scoring.column_names import unique_names
from vtsserving.exceptions import BadInput

TEXT: Final = "str"
EXACT_FLOAT: Final = 1 << 53
"""Whole numbers up to this one are exact as float64."""

MAX_RECORD_BYTES: Final = 64 * 2**20
"""Longest record; a longer one is a quote that is never closed."""

_WHOLE: Final = ("int64", "uint64", "Int64")
_NEWLINE: Final = 10
_QUOTE: Final = 34
_RETURN: Final = 13


class CsvLayout(NamedTuple):
    """The form of a CSV file.

    Attributes:
        names: of its columns.
        delimiter: between cells.
        dtypes: name to dtype; `str` is text.
        guessed: names whose dtype only the first rows show: a whole number there may be a fraction or missing later.
    """

    names: tuple[str, ...]
    delimiter: str = ","
    dtypes: Mapping[str, str] = {}
    guessed: tuple[str, ...] = ()

    def of_texts(self) -> CsvLayout:
        """The same with every cell a text."""
        return self._replace(dtypes=dict.fromkeys(self.names, TEXT), guessed=())

    def to_dict(self) -> dict[str, Any]:
        """As it travels and is recorded."""
        return {
            "names": list(self.names),
            "delimiter": self.delimiter,
            "dtypes": dict(self.dtypes),
            "guessed": list(self.guessed),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> CsvLayout:
        """The reverse of `to_dict`."""
        return cls(
            tuple(raw["names"]), str(raw["delimiter"]), dict(raw["dtypes"]), tuple(raw.get("guessed", ()))
        )


def record_starts(text: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Positions at which records begin, in bytes; blank lines do not count.

    Args:
        text: whole records, of which the last may lack its newline.
    """
    return starts_of(text, record_ends(text))


def starts_of(text: bytes, ends: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The same, where `record_ends` of the text is known."""
    if not len(ends) or ends[-1] != len(text):
        ends = np.append(ends, len(text))
    starts = np.concatenate(([0], ends[:-1]))
    data = np.frombuffer(text, np.uint8)
    lengths = ends - starts
    first = data[np.minimum(starts, max(0, len(data) - 1))] if len(data) else data
    is_blank = (lengths == 0) | ((lengths == 1) & (first == _NEWLINE)) | ((lengths == 2) & (first == _RETURN))
    found: np.ndarray[Any, np.dtype[np.int64]] = starts[~is_blank]
    return found


def record_ends(text: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The positions behind the newlines that end records: those that stand in no quotes."""
    data = np.frombuffer(text, np.uint8)
    newlines = np.flatnonzero(data == _NEWLINE)
    if b'"' in text:
        quotes = np.flatnonzero(data == _QUOTE)
        newlines = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
    return newlines.astype(np.int64) + 1


def _is_regular(text: bytes, delimiter: str, columns: int) -> bool:
    """Whether text without quotes has the same number of cells in each line, in one pass over it."""
    line = delimiter.encode() * (columns - 1) + b"\n"
    marks = text.translate(None, bytes({*range(256)} - {*line}))
    return bool(marks) and marks == line * (len(marks) // len(line))


def check_cells(text: bytes, layout: CsvLayout) -> None:
    """Refuse records with more or fewer cells than the file has columns: parsers fill these up, or drop some.

    Args:
        text: whole records.
        layout: of the file.

    Raises:
        BadInput: says how many cells a record has.
    """
    if b'"' not in text and _is_regular(text, layout.delimiter, len(layout.names)):
        return
    data = np.frombuffer(text, np.uint8)
    starts = record_starts(text)
    between = np.flatnonzero(data == ord(layout.delimiter))
    if b'"' in text:
        quotes = np.flatnonzero(data == _QUOTE)
        between = between[np.searchsorted(quotes, between) % 2 == 0]
    cells = np.diff(np.append(np.searchsorted(between, starts), len(between))) + 1
    wrong = cells[cells != len(layout.names)]
    if len(wrong):
        raise BadInput(f"a record has {wrong[0]} cells for {len(layout.names)} columns")


def parsed_names(line: bytes, delimiter: str) -> tuple[str, ...]:
    """The names of the columns, made unique where one is there again.

    Args:
        line: the first record of a file.
        delimiter: between cells.

    Raises:
        BadInput: it is not UTF-8, or names no column.
    """
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput("the first line of the file is not UTF-8") from error
    if "\0" in text:
        raise BadInput("the first line of the file has a NUL in it; it is not text")
    names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), ())
    if not names:
        raise BadInput("the first line of the file names no column; each column needs a name")
    return tuple(unique_names(names))


def parsed_frame(text: bytes, layout: CsvLayout, names: Sequence[str], rows: int) -> Any:
    """Some columns as a DataFrame, with pandas' own parser.

    Args:
        text: whole records.
        layout: of the file.
        names: of the columns, in the order in which they are wanted.
        rows: of the text.

    Raises:
        BadInput: a cell is not what its column's dtype says, or a record has more cells than there are names.
    """
    check_cells(text, layout)
    try:
        frame = _read(text, layout, names)
    except ValueError as error:
        loose = {name for name in layout.guessed if layout.dtypes[name] in _WHOLE} & {*names}
        if not loose:
            raise BadInput(_reason(error)) from error
        try:
            frame = _read_loosely(text, layout, names, loose)
        except ValueError as again:
            raise BadInput(_reason(again)) from again
    if len(frame) != rows:
        raise BadInput(f"{rows} lines are {len(frame)} records; is a quote not closed?")
    return frame[list(names)]


def _reason(error: ValueError) -> str:
    return f"the record cannot be read: {' '.join(str(error).split())[:200]}"


def _columns(layout: CsvLayout, names: Sequence[str]) -> dict[str, Any]:
    """The options by which pandas reads some columns of records without their line of names."""
    return {
        "header": None,
        "names": list(layout.names),
        "usecols": list(names),
        "index_col": False,
        "sep": layout.delimiter,
        "keep_default_na": False,
        "low_memory": False,
    }


def _read(text: bytes, layout: CsvLayout, names: Sequence[str]) -> Any:
    pandas = packages.pandas()
    dtypes = {name: layout.dtypes.get(name, TEXT) for name in names}
    times = [name for name, dtype in dtypes.items() if dtype.startswith(("datetime64", "timedelta64"))]
    # It tries fractions as whole numbers before it refuses them, and numpy warns of those that are missing.
    with np.errstate(invalid="ignore"):
        frame = pandas.read_csv(
            io.BytesIO(text),
            **_columns(layout, names),
            dtype={**dtypes, **dict.fromkeys(times, TEXT)},
            na_values=_missing(dtypes),
            on_bad_lines="error",
            **_precision(pandas),
        )
    for name in times:
        convert = pandas.to_datetime if dtypes[name].startswith("datetime64") else pandas.to_timedelta
        frame[name] = convert(frame[name]).astype(dtypes[name])
    return frame


def _settled(numbers: Any) -> Any:
    """Nullable numbers as models know them: float64 with NaN, unless that cannot hold the whole numbers."""
    if numbers.dtype.kind not in "iu":
        return numbers.astype("float64")
    if not numbers.isna().any():
        return numbers.astype("int64")
    return numbers if _are_long(numbers) else numbers.astype("float64")


def _are_long(numbers: Any) -> bool:
    """Whether float64 cannot hold some of a column's whole numbers."""
    return bool((numbers.dropna().abs() > EXACT_FLOAT).any())


def _missing(dtypes: Mapping[str, str]) -> list[str] | dict[str, list[str]]:
    """The texts that are missing values, by column only where columns differ: the parser prepares each list anew."""
    if TEXT not in dtypes.values():
        return list(MISSING)
    return {name: [""] if dtype == TEXT else list(MISSING) for name, dtype in dtypes.items()}


def _precision(pandas: Any) -> dict[str, str]:
    """The option for exact numbers: pandas 3 parses them so by default, and warns when it is given."""
    return {"float_precision": "round_trip"} if int(pandas.__version__.partition(".")[0]) < 3 else {}


def _read_loosely(text: bytes, layout: CsvLayout, names: Sequence[str], loose: set[str]) -> Any:
    """As `_read`, where columns of whole numbers may hold fractions and missing values."""
    pandas = packages.pandas()
    frame = _read(text, layout._replace(dtypes={**layout.dtypes, **dict.fromkeys(loose, TEXT)}), names)
    for name in loose:
        cells = frame[name].where(~frame[name].isin(MISSING), None)
        frame[name] = _settled(pandas.to_numeric(cells, dtype_backend="numpy_nullable"))
    return frame


def parsed_columns(text: bytes, layout: CsvLayout, names: Sequence[str], rows: int) -> dict[str, Any]:
    """Some columns as arrays [rows], without pandas.

    Args:
        text: whole records.
        layout: of the file.
        names: of the columns.
        rows: of the text.

    Raises:
        BadInput: a cell is not what its column's dtype says, or a record has another number of cells.
    """
    check_cells(text, layout)
    try:
        found_records = [record for _, record in records(text.decode(), layout.delimiter)]
    except (UnicodeDecodeError, BadInput) as error:
        raise BadInput(f"the record cannot be read: {error}") from error
    if len(found_records) != rows:
        raise BadInput(f"{rows} lines are {len(found_records)} records; is a quote not closed?")
    found = {}
    for name in names:
        at = layout.names.index(name)
        found[name] = _typed([record[at] for record in found_records], layout.dtypes.get(name, TEXT), name)
    return found


def _typed(cells: list[str], dtype: str, name: str) -> Any:
    if dtype == TEXT:
        array = np.empty(len(cells), dtype=object)
        array[:] = cells
        return array
    try:
        if dtype.startswith(("int", "uint")) and not any(cell in MISSING for cell in cells):
            return np.array([int(cell) for cell in cells], dtype=dtype)
        return np.array([np.nan if cell in MISSING else float(cell) for cell in cells])
    except (ValueError, OverflowError) as error:
        raise BadInput(f"the column {name!r:.80} holds something else than {dtype}: {error}") from error


def guessed_dtypes(text: bytes, layout: CsvLayout, names: Sequence[str]) -> dict[str, str]:
    """The dtypes of columns of which nobody says one, as the first records show them.

    Args:
        text: the first records.
        layout: of the file.
        names: of these columns.
    """
    if not packages.has_pandas():
        return {name: _guessed(text, layout, name) for name in names}
    pandas = packages.pandas()
    frame = pandas.read_csv(
        io.BytesIO(text),
        **_columns(layout, names),
        na_values=list(MISSING),
        on_bad_lines="skip",
        encoding_errors="replace",
        dtype_backend="numpy_nullable",
    )
    return {name: _seen(frame[name]) for name in names}


def _seen(column: Any) -> str:
    """The dtype of a column that was read without one, as pandas has it when it reads a whole file.

    Only long whole numbers with a missing one among them are nullable: float64 would change them.
    """
    kind = column.dtype.kind
    if kind in "iu" and column.isna().any():
        return "Int64" if _are_long(column) else "float64"
    return {"b": "bool", "i": "int64", "u": "uint64", "f": "float64"}.get(kind, TEXT)


def _guessed(text: bytes, layout: CsvLayout, name: str) -> str:
    content = io.StringIO(text.decode(errors="replace"), newline="")
    at = layout.names.index(name)
    try:
        for record in csv.reader(content, delimiter=layout.delimiter):
            if len(record) > at and record[at] not in MISSING:
                float(record[at])
    except (ValueError, csv.Error):
        return TEXT
    return "float64"
