from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pytest

from vtsserving._wire.values import DATAFRAME, SERIES, decode_value, encode_value, to_extension
from vtsserving.exceptions import BadFrame, ProtocolError, UnsupportedValue

pytestmark = pytest.mark.fast


def packed(code: int, fields: Any) -> bytes:
    data: bytes = msgpack.packb(fields, default=lambda node: to_extension(node, "x"), strict_types=True)
    return bytes(msgpack.packb(msgpack.ExtType(code, data)))


NUMBERS = ["tensor", np.arange(3)]
RANGE = ["range", [0, 3, 1]]


def test_a_good_table_is_read() -> None:
    frame = decode_value(packed(DATAFRAME, [["a"], [NUMBERS], RANGE, "n"]))
    pd.testing.assert_frame_equal(frame, pd.DataFrame({"a": [0, 1, 2]}, index=pd.RangeIndex(3, name="n")))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([], id="no fields"),
        pytest.param([["a"], [NUMBERS], RANGE], id="a field short"),
        pytest.param([["a"], [NUMBERS], RANGE, None, None], id="a field more"),
        pytest.param([["a", "b"], [NUMBERS], RANGE, None], id="more names than columns"),
        pytest.param([[], [NUMBERS], RANGE, None], id="no names"),
        pytest.param([["a"], [["tensor", np.arange(2)]], RANGE, None], id="a short column"),
        pytest.param([["a"], [["list", [1, 2]]], RANGE, None], id="a short list"),
        pytest.param([["a"], [["list", 3]], RANGE, None], id="a list that is a number"),
        pytest.param([["a"], [["list", "abc"]], RANGE, None], id="a list that is a string"),
        pytest.param([["a"], [["tensor", 1]], ["range", [0, 10**12, 1]], None], id="a number for many rows"),
        pytest.param(
            [["a"], [["tensor", np.array(1)]], ["range", [0, 10**12, 1]], None], id="a 0-d tensor for many"
        ),
        pytest.param([["a"], [["tensor", np.zeros((3, 2))]], RANGE, None], id="a 2-d column"),
        pytest.param([["a"], [["tensor", np.array(["a"] * 3)]], RANGE, None], id="a tensor of strings"),
        pytest.param([["a"], [["str", [1, 2, 3]]], RANGE, None], id="strings of numbers"),
        pytest.param([["a"], [["string", ["a", [], None]]], RANGE, None], id="strings with a list"),
        pytest.param([["a"], [["object", [1, 2, 3]]], RANGE, None], id="unknown kind"),
        pytest.param([["a"], [[3, [1, 2, 3]]], RANGE, None], id="kind of no str"),
        pytest.param([["a"], [["datetime64[xx]", np.arange(3)]], RANGE, None], id="unknown unit"),
        pytest.param([["a"], [["datetime64[D]", np.arange(3)]], RANGE, None], id="unit of days"),
        pytest.param([["a"], [["datetime64", np.arange(3)]], RANGE, None], id="no unit"),
        pytest.param([["a"], [["datetime64[s]", np.arange(3, dtype="i4")]], RANGE, None], id="narrow times"),
        pytest.param([["a"], [["datetime64[s]", np.arange(3.0)]], RANGE, None], id="times of floats"),
        pytest.param([["a"], [["datetime64[s]", [1, 2, 3]]], RANGE, None], id="times in a list"),
        pytest.param([["a"], [NUMBERS], ["range", [0, 3, 0]], None], id="a range of step 0"),
        pytest.param([["a"], [NUMBERS], ["range", [0, 3, -1]], None], id="a range the other way"),
        pytest.param([["a"], [NUMBERS], ["range", [0, 3]], None], id="a range of two"),
        pytest.param([["a"], [NUMBERS], ["range", [0, 3.0, 1]], None], id="a range of floats"),
        pytest.param([["a"], [NUMBERS], ["range", [0, True, 1]], None], id="a range of bools"),
        pytest.param([[], [], ["range", [-(2**63), 2**63, 1]], None], id="a range of 2**64"),
        pytest.param([[], [], ["range", [0, 2**64 - 1, 1]], None], id="a range beyond int64"),
        pytest.param([[], [], ["range", [0, 2**40, 1]], None], id="no columns and many rows"),
        pytest.param([["a"], [NUMBERS], "range", None], id="an index of no array"),
        pytest.param([["a"], [NUMBERS], ["range", None], None], id="a range of nil"),
        pytest.param([["a"], [NUMBERS], RANGE, []], id="an unhashable index name"),
        pytest.param([[[1]], [NUMBERS], RANGE, None], id="an unhashable name"),
        pytest.param([[{}], [NUMBERS], RANGE, None], id="a name that is a dict"),
        pytest.param([None, [NUMBERS], RANGE, None], id="nil for names"),
        pytest.param([["a"], None, RANGE, None], id="nil for columns"),
        pytest.param([["a"], [None], RANGE, None], id="nil for a column"),
        pytest.param(["a", [NUMBERS], RANGE, None], id="a str for names"),
        pytest.param([{"a": 1}, [NUMBERS], RANGE, None], id="a dict for names"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(fields: list[Any]) -> None:
    with pytest.raises(ProtocolError):
        decode_value(packed(DATAFRAME, fields))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["s", ["tensor", np.arange(2)], RANGE, None], id="a short column"),
        pytest.param([[], NUMBERS, RANGE, None], id="an unhashable name"),
        pytest.param(["s", NUMBERS, ["list", [[], [], []]], {}], id="an unhashable index name"),
        pytest.param(["s", None, RANGE, None], id="no column"),
    ],
)
def test_a_series_that_contradicts_itself_is_refused(fields: list[Any]) -> None:
    with pytest.raises(BadFrame):
        decode_value(packed(SERIES, fields))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        pytest.param(
            pd.DataFrame({"a": pd.Series([object()], dtype=object)}), "builtins.object", id="object"
        ),
        pytest.param(pd.DataFrame({object: [1]}), "builtins.type", id="a name that cannot be sent"),
    ],
)
def test_a_table_that_cannot_be_sent_is_refused_by_name(table: pd.DataFrame, reason: str) -> None:
    with pytest.raises(UnsupportedValue, match=reason):
        encode_value(table, "argument 1")


def test_a_table_that_came_may_be_written_to() -> None:
    frame = decode_value(encode_value(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})))
    frame.loc[0, "a"] = 7
    frame["a"] += 1
    assert frame["a"].tolist() == [8, 3]


def test_names_of_two_levels_come_back() -> None:
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]))
    pd.testing.assert_frame_equal(decode_value(encode_value(frame)), frame)
