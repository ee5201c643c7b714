"""Cutting CSV into records without parsing it, and parsing it by dtypes."""

from __future__ import annotations

import csv
import io
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtsserving._scoring.column_names import as_written, repeated
from vtsserving._scoring.csv_text import (
    CsvLayout,
    check_cells,
    parsed_columns,
    parsed_frame,
    parsed_names,
    record_starts,
)
from vtsserving._scoring.encoding import Stretch, encode
from vtsserving._scoring.sources import CsvSource
from vtsserving.exceptions import BadInput

pytestmark = pytest.mark.fast

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)


def written(rows: list[list[str]], end: str = "\n") -> bytes:
    sink = io.StringIO(newline="")
    csv.writer(sink, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    return sink.getvalue().encode()


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1), st.sampled_from(["\n", "\r\n"]))
def test_records_begin_where_a_parser_says(rows: list[list[str]], end: str) -> None:
    text = written(rows, end)
    starts = [*record_starts(text).tolist(), len(text)]
    pieces = [text[start:stop] for start, stop in pairwise(starts)]
    assert len(pieces) == len(rows)
    layout = CsvLayout(("a", "b")).of_texts()
    for piece, row in zip(pieces, rows, strict=True):
        found = parsed_columns(piece, layout, ["a", "b"], 1)
        assert [found["a"][0], found["b"][0]] == row


@given(st.text(st.sampled_from('a,"\n\r'), max_size=12), st.integers(1, 4))
def test_records_are_counted_as_they_are_cut(text: str, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.csv")
        path.write_bytes(b"a,b\n" + text.encode())
        source = CsvSource(path, ",")
        chunks = [read.chunk for read in source.chunks(0, rows)]
    assert all(0 < chunk.rows <= rows for chunk in chunks)
    assert [chunk.rows for chunk in chunks] == [len(record_starts(chunk.encoded())) for chunk in chunks]
    assert sum(chunk.rows for chunk in chunks) == len(record_starts(text.encode()))


def test_a_quote_that_is_not_closed_ends_with_the_file(tmp_path: Path) -> None:
    """Newlines in quotes, more than a chunk has rows, must not be waited for."""
    path = tmp_path / "in.csv"
    path.write_bytes(b'a,b\n1,"2' + b"\n" * 50)
    chunks = [read.chunk for read in CsvSource(path, ",").chunks(0, 10)]
    assert [chunk.rows for chunk in chunks] == [1]


def test_blank_lines_are_no_records() -> None:
    assert record_starts(b"\na,b\n\r\n\nc,d").tolist() == [1, 8]
    assert record_starts(b"").tolist() == []


@pytest.mark.parametrize("text", [b"1,2\n3\n", b"1,2\n3,4,5\n", b"1\n2,3,4\n"])
def test_a_record_with_too_few_or_too_many_cells_is_refused(text: bytes) -> None:
    with pytest.raises(BadInput, match="cells for 2 columns"):
        check_cells(text, CsvLayout(("a", "b")))


def test_names_are_read_without_a_byte_order_mark_and_told_apart() -> None:
    assert parsed_names('\ufeffa;b,"c,d"\r\n'.encode(), ",") == ("a;b", "c,d")
    names = parsed_names(b"a,b,a,a\n", ",")
    assert len(set(names)) == 4
    assert list(map(as_written, names)) == ["a", "b", "a", "a"]
    assert repeated(names) == ["a"]
    with pytest.raises(BadInput, match="a NUL in it"):
        parsed_names(b"a,b\0\n", ",")


def test_both_parsers_give_the_same_numbers_and_texts() -> None:
    text = b"1,0.1,NA,2020-01-02T03:04:05\n-9007199254740993,1e-300,x,\n"
    names = ["i", "f", "t"]
    layout = CsvLayout(("i", "f", "t", "d"), dtypes={"i": "int64", "f": "float64", "t": "str"})
    frame = parsed_frame(text, layout, names, 2)
    plain = parsed_columns(text, layout, names, 2)
    for name in names:
        assert frame[name].tolist() == plain[name].tolist()
    times = parsed_frame(text, CsvLayout(layout.names, dtypes={"d": "datetime64[ns]"}), ["d"], 2)["d"]
    assert times.dtype == np.dtype("datetime64[ns]")
    assert times.isna().tolist() == [False, True]


@pytest.mark.parametrize("parse", [parsed_frame, parsed_columns])
def test_a_cell_that_is_no_number_is_refused(parse: object) -> None:
    layout = CsvLayout(("a",), dtypes={"a": "float64"})
    with pytest.raises(BadInput, match="could not convert"):
        parse(b"1\nabc\n", layout, ["a"], 2)  # type: ignore[operator]


def test_guessed_whole_numbers_may_be_missing_or_fractions_later() -> None:
    layout = CsvLayout(("a", "b"), dtypes={"a": "int64", "b": "int64"}, guessed=("a", "b"))
    frame = parsed_frame(b"1,9007199254740993\n,NA\n", layout, ["a", "b"], 2)
    assert frame["a"].dtype == np.float64
    assert str(frame["b"].dtype) == "Int64"
    assert frame["b"][0] == 9007199254740993
    assert parsed_frame(b"1.5,2\n", layout, ["a", "b"], 1)["a"].tolist() == [1.5]


def test_written_cells_are_quoted_where_they_must_be() -> None:
    def text(column: object) -> str:
        return encode([Stretch(2, {}, {"p": column})], ("p",), "csv").decode()

    assert text(np.array([1, -2])) == "1\n-2\n"
    assert text(np.array([0.1, 1e300])) == "0.1\n1e+300\n"
    assert text(np.array([0.1, 3], np.float32)) == "0.1\n3.0\n"
    assert text(np.ones((2, 2))) == '"[1.0, 1.0]"\n"[1.0, 1.0]"\n'
    assert text(['a "b"', None]) == '"a ""b"""\n""\n'
    assert text([b"\0", np.datetime64("2026-01-02")]) == "AA==\n2026-01-02\n"
