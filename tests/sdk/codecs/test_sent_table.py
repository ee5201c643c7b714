"""A table that is only sent is, byte for byte, the one that a DataFrame of it would be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.wire_values import is_same
from vtsserving._codecs.json_records import PlainRecords
from vtsserving._codecs.json_strict import read
from vtsserving._codecs.sent_table import SentTable
from vtsserving._codecs.table import Table
from vtsserving._codecs.table_forms import read_table
from vtsserving._wire.call_rule import CallRule
from vtsserving._wire.rows import pack_call, unpack_call
from vtsserving._wire.table_records import Records
from vtsserving.exceptions import BadInput

pytestmark = pytest.mark.fast

RULE = CallRule(0, ("x",))

COLUMNS: dict[str, tuple[dict[str, Any], Any]] = {
    "float64": ({"dtype": "float64"}, st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    "float32": ({"dtype": "float32"}, st.floats(-10, 10)),
    "int64": ({"dtype": "int64"}, st.integers(-(2**63), 2**63 - 1)),
    "int8": ({"dtype": "int8"}, st.integers(-128, 128)),
    "nullable": ({"dtype": "int64", "nullable": True}, st.none() | st.integers(-9, 2**53 + 1)),
    "boolean": ({"dtype": "boolean"}, st.none() | st.booleans()),
    "bool": ({"dtype": "bool"}, st.booleans()),
    "str": ({"dtype": "str"}, st.none() | st.text(max_size=3)),
    "complete str": ({"dtype": "str", "nullable": False}, st.none() | st.text(max_size=3)),
    "string": ({"dtype": "string"}, st.none() | st.text(max_size=3)),
    "object": ({"dtype": "object"}, st.none() | st.integers() | st.lists(st.text(max_size=2), max_size=2)),
    "category": ({"dtype": "category", "categories": ["b", "a"]}, st.sampled_from(["a", "b", None, "c"])),
    "numbers": (
        {"dtype": "category", "categories": [2, 1], "ordered": True},
        st.sampled_from([1, 2, None, True]),
    ),
    "time": ({"dtype": "datetime64[s]"}, st.none() | st.datetimes().map(lambda t: t.isoformat()[:19])),
    "zoned": ({"dtype": "datetime64[ns, UTC]"}, st.just("2024-05-01T12:30:00+02:00")),
    "unknown": ({}, st.none() | st.integers(-5, 5) | st.text(max_size=2)),
}


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[dict[str, Any]], Any]:
    """Columns of a contract, and a body with rows of them in one of the JSON forms."""
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=5))
    columns = [{"name": f"{i} {kind}", **COLUMNS[kind][0]} for i, kind in enumerate(kinds)]
    count = draw(st.integers(1, 4))
    rows = [[draw(COLUMNS[kind][1]) for kind in kinds] for _ in range(count)]
    names = [column["name"] for column in columns]
    form = draw(st.sampled_from(["records", "rows", "split", "columns"]))
    if form == "rows":
        return columns, rows
    if form == "records":
        return columns, [dict(zip(names, row, strict=True)) for row in rows]
    if form == "columns":
        return columns, {name: [row[at] for row in rows] for at, name in enumerate(names)}
    index = draw(st.none() | st.just(list(range(count))) | st.just([f"r{i}" for i in range(count)]))
    return columns, {"columns": names, "data": rows, **({} if index is None else {"index": index})}


def answer(table: Table, body: Any) -> Any:
    """What the bus gets; or the error."""
    try:
        return pack_call((read_table(body, table, "input"),), {}, RULE)
    except BadInput as error:
        return type(error), error.message


@given(requests())
def test_it_is_sent_as_its_frame_is(request: tuple[list[dict[str, Any]], Any]) -> None:
    columns, body = request
    assert answer(SentTable.of(columns), body) == answer(Table.of(columns), body)


@given(requests())
def test_in_a_call_of_several_arguments_it_is_what_its_frame_is(
    request: tuple[list[dict[str, Any]], Any],
) -> None:
    columns, body = request
    found = []
    for table in (SentTable.of(columns), Table.of(columns)):
        try:
            frame = read_table(body, table, "input")
        except BadInput:
            return
        together = pack_call((frame, 7), {"rows": frame}, RULE)
        alone = pack_call((frame, 7), {}, CallRule(None))
        found.append((together, alone.head, unpack_call(together), unpack_call(alone)))
    sent, made = found
    assert sent[:2] == made[:2]
    for one, other in zip(sent[2:], made[2:], strict=True):
        assert is_same(one[0][0], other[0][0])
        assert one[0][1] == 7


@given(requests())
def test_frames_come_out_as_of_a_table_that_is_not_sent(request: tuple[list[dict[str, Any]], Any]) -> None:
    columns, body = request
    names = [column["name"] for column in columns]
    try:
        frame = read_table(body, Table.of(columns), "input")
    except BadInput:
        return
    shuffled = frame[names[::-1]].astype(object)
    for given_frame in (frame, frame[names[::-1]], shuffled):
        assert is_same(
            SentTable.of(columns).of_frame(given_frame, "input"),
            Table.of(columns).of_frame(given_frame, "input"),
        )


def test_the_usual_dtypes_make_no_frame() -> None:
    columns = [{"name": name, **COLUMNS[name][0]} for name in COLUMNS if name not in ("zoned", "unknown")]
    values = [1.5, 0.5, 3, 4, None, True, False, "a", "b", None, [1], "a", 2, "2024-05-01"]
    assert type(read_table([values], SentTable.of(columns), "input")) is Records


NAMES = ["a", "b é"]
PLAIN = [{"name": name, "dtype": "float64"} for name in NAMES]
VALUES = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**65), 2**65)


@given(st.lists(st.fixed_dictionaries({name: VALUES for name in NAMES}), min_size=1, max_size=4))
def test_records_of_numbers_are_read_as_the_strict_way_reads_them(records: list[dict[str, Any]]) -> None:
    body = json.dumps(records, ensure_ascii=False).encode()
    found = PlainRecords(NAMES, np.dtype("f8")).read(body)
    if found is not None:
        expected = read_table(read(body), Table.of(PLAIN), "input")
        assert is_same(pd.DataFrame(found, columns=NAMES), expected)
    elif all(value is None or abs(value) < 9e18 for record in records for value in record.values()):
        pytest.fail(f"{body!r} could have been read")


@pytest.mark.parametrize(
    "body",
    [
        '[{"a": 1, "b é": 2, "a": 1}]',
        '[{"a": 1, "a": 2}]',
        '[{"a": 1, "b é": "2"}]',
        '[{"a": 1, "b é": true}]',
        '[{"a": 1, "b é": [2]}]',
        '[{"a": 1}]',
        '[{"a": 1, "b é": 2, "c": 3}]',
        '[{"a": 1, "b \\u00e9": 2}]',
        '[{"a": 1, "b é": 99999999999999999999}]',
        '[{"a": 1, "b é": NaN}]',
        '{"a": 1, "b é": 2}',
        '[[1, 2]]',
        "[]",
        "",
        "[7]",
    ],
)  # fmt: skip
def test_records_of_anything_else_are_left_to_the_strict_way(body: str) -> None:
    assert PlainRecords(NAMES, np.dtype("f8")).read(body.encode()) is None
