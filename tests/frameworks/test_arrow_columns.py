"""Columns that pandas keeps as Arrow: JSON and CSV give back what an input example shows, or say what is wrong."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from vtsserving._codecs.csv_text import read_csv
from vtsserving._codecs.json_write import to_json
from vtsserving._codecs.table import Table
from vtsserving._saving.table_columns import columns_of
from vtsserving.exceptions import OutOfRange, WrongType

pytestmark = [pytest.mark.frameworks("tables"), pytest.mark.timeout(120)]

DAY = datetime.date(2024, 1, 2)
TIME = pd.Timestamp("2024-01-02 03:04:05.000000006")


def kinds() -> dict[str, tuple[Any, Any]]:
    """Name to the type of pyarrow, and a value."""
    import pyarrow as pa

    return {
        "int8": (pa.int8(), -3),
        "uint64": (pa.uint64(), 2**64 - 1),
        "float32": (pa.float32(), 0.1),
        "float64": (pa.float64(), 0.1),
        "bool": (pa.bool_(), True),
        "text": (pa.string(), "01067"),
        "large text": (pa.large_string(), "NA "),
        "date": (pa.date32(), DAY),
        "time": (pa.time64("us"), datetime.time(1, 2)),
        "timestamp": (pa.timestamp("ns"), TIME),
        "timestamp with a zone": (
            pa.timestamp("us", "Europe/Rome"),
            TIME.floor("us").tz_localize("Europe/Rome"),
        ),
        "duration": (pa.duration("ns"), pd.Timedelta(1)),
        "decimal": (pa.decimal128(9, 2), Decimal("1.20")),
        "bytes": (pa.binary(), b"ab"),
        "bytes of one width": (pa.binary(2), b"ab"),
        "list": (pa.list_(pa.int64()), [1, 2]),
        "list of fractions": (pa.list_(pa.float64()), [0.5]),
        "dictionary": (pa.dictionary(pa.int32(), pa.string()), "a"),
    }


NAMES = (
    *("int8", "uint64", "float32", "float64", "bool", "text", "large text", "date", "time", "timestamp"),
    *(
        "timestamp with a zone",
        "duration",
        "decimal",
        "bytes",
        "bytes of one width",
        "list",
        "list of fractions",
    ),
    "dictionary",
)
NOT_IN_CSV = ("bytes", "bytes of one width", "list", "list of fractions")
"""pandas prints Python's own text of these."""


def frame_of(name: str) -> pd.DataFrame:
    kind, value = kinds()[name]
    return pd.DataFrame({"a": pd.array([value, None], dtype=pd.ArrowDtype(kind))})


def test_each_kind_is_named() -> None:
    assert set(kinds()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_answered_is_read_as_what_it_was(name: str) -> None:
    frame = frame_of(name)
    columns = columns_of(frame)
    assert json.loads(json.dumps(columns)) == columns
    table = Table.of(columns)
    pd.testing.assert_frame_equal(table.of_records(json.loads(to_json(frame)), "input"), frame)
    pd.testing.assert_frame_equal(table.of_frame(frame.astype(object), "input"), frame)
    if name not in NOT_IN_CSV:
        read = table.of_texts(read_csv(frame.to_csv(index=False).encode()), "input")
        pd.testing.assert_frame_equal(read, frame)


@pytest.mark.parametrize(
    ("name", "item", "said"),
    [
        ("int8", 300, "row 1 is 300, which is outside of int8"),
        ("int8", 1.5, "row 1 is 1.5; expected an integer"),
        ("float32", "x", "row 1 is a string; expected a number"),
        ("bool", 1, "row 1 is a number; expected true or false"),
        ("text", 1067, "row 1 is a number; expected a string"),
        ("date", "2.1.2024", "expected a date like '2024-05-01'"),
        ("timestamp", "yesterday", "expected a time like"),
        ("timestamp with a zone", "2024-05-01", "no offset from UTC"),
        ("duration", "1 day", "expected a duration like"),
        ("decimal", "much", "expected a decimal as text"),
        ("decimal", "1.234", "does not fit the dtype decimal128"),
        ("bytes", "%", "expected bytes as base64"),
        ("list", ["x"], "does not fit the dtype list"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_column(name: str, item: Any, said: str) -> None:
    table = Table.of(columns_of(frame_of(name)))
    with pytest.raises((WrongType, OutOfRange), match="input, column 'a'") as caught:
        table.of_records([{"a": None}, {"a": item}], "input")
    assert said in str(caught.value)
