"""CSV as texts: what a text means is up to the column that it is of, so nothing is turned into a number here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final, NamedTuple

from vtsserving._codecs.table_limits import MAX_TABLE_CELLS, MAX_TABLE_COLUMNS
from vtsserving.exceptions import BadEncoding, BadInput, EmptyBody, Ragged, TooLarge

_BOM: Final = b"\xef\xbb\xbf"
MAX_FIELD_CHARS: Final = 64 * 2**20
"""Longest text of one field; the body is bounded before."""


class TextTable(NamedTuple):
    """A table whose cells are texts.

    Attributes:
        names: of the columns, in order.
        columns: their texts.
    """

    names: list[str]
    columns: list[list[str]]


def read_csv(body: bytes | bytearray) -> TextTable:
    """The texts of a CSV body, whose first line names the columns; RFC 4180, in UTF-8.

    Args:
        body: with or without a byte order mark.

    Raises:
        EmptyBody: there is no line.
        BadEncoding: it is not UTF-8.
        Ragged: a line has another number of fields than the first.
        TooLarge: more columns or cells than a table may have.
        BadInput: it is not CSV.
    """
    _check_size(body)
    try:
        text = bytes(body).removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadEncoding(f"the CSV is not UTF-8: byte {error.start} is {body[error.start]:#04x}") from None
    if "\0" in text:
        raise BadInput("the CSV has a NUL in it; it is not text")
    lines = records(text)
    names = [] if text[:1] in ("\r", "\n") else next(lines, (0, []))[1]
    if not names:
        raise EmptyBody("the CSV is empty; its first line names the columns")
    if len(names) > MAX_TABLE_COLUMNS:
        raise TooLarge(f"the table has {len(names)} columns; at most {MAX_TABLE_COLUMNS} are possible")
    rows = []
    for line, row in lines:
        if len(row) != len(names):
            raise Ragged(f"line {line} of the CSV has {len(row)} fields, the first one {len(names)}")
        rows.append(row)
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in names]
    return TextTable(names, columns)


def records(text: str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV, each with the number of the line on which it ends; empty lines are none.

    Args:
        text: as RFC 4180 has it.
        delimiter: between fields.

    Raises:
        BadInput: it is not CSV.
    """
    if csv.field_size_limit() < MAX_FIELD_CHARS:
        csv.field_size_limit(MAX_FIELD_CHARS)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for record in lines:
            if record:
                yield lines.line_num, record
    except csv.Error as error:
        raise BadInput(f"line {lines.line_num} is not CSV: {error}") from None


def _check_size(body: bytes | bytearray) -> None:
    """Refuse a body of very many fields before they are made: each takes far more than its byte."""
    if body.count(b",") + body.count(b"\n") + body.count(b"\r") > MAX_TABLE_CELLS:
        raise TooLarge(f"the CSV has more than {MAX_TABLE_CELLS:,} fields; send fewer rows in one request")
