"""What an error about a table advises works: each message is read, and what it says is sent."""

from __future__ import annotations

import copy
import datetime
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from support.damaged_requests import described
from support.served_gateway import Answer, ServedGateway, get, post, served
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._saving.table_columns import columns_of

JSON = "application/json"
CSV = "text/csv"
PASSENGERS = [
    {"name": "age", "dtype": "float64"},
    {"name": "many", "dtype": "int64"},
    {"name": "zip", "dtype": "str"},
    {"name": "kind", "dtype": "category", "categories": ["new", "old"]},
]
ROW = {"age": 22.5, "many": 3, "zip": "01067", "kind": "old"}
TWO_FORMS = [{"name": "args", "dtype": "int64"}]
SPLIT_FORMS = [{"name": "columns", "dtype": "object"}, {"name": "data", "dtype": "object"}]
EXAMPLES: dict[str, Any] = {
    "datetime64[ns]": pd.to_datetime(["2024-05-01"]),
    "datetime64[ns, Europe/Rome]": pd.to_datetime(["2024-05-01"]).tz_localize("Europe/Rome"),
    "timedelta64[ns]": pd.to_timedelta(["1h"]),
    "period[M]": pd.PeriodIndex(["2024-05"], freq="M"),
    "interval[int64, left]": pd.interval_range(0, 1, closed="left"),
    "Int64": pd.array([1], dtype="Int64"),
    "boolean": pd.array([True], dtype="boolean"),
    "float32": np.array([0.5], np.float32),
    "str": ["a"],
    "date": pd.Series([datetime.date(2024, 5, 1)], dtype=object),
    "time": pd.Series([datetime.time(1)], dtype=object),
    "decimal": pd.Series([Decimal("1.20")], dtype=object),
    "uuid": pd.Series([UUID(int=5)], dtype=object),
    "bytes": pd.Series([b"ab"], dtype=object),
}
SAYS = {"a number": 5, "an integer": 5, "true or false": True, "a string": "a"}
"""Kinds of values that messages name without an example."""


def sharing_a_name(name: str) -> CatalogEntry:
    """A model that was saved with a table two columns of which are called `a`."""
    entry = described(name, {"type": "table", "columns": ["a", "b", "c"]})
    record = copy.deepcopy(entry.contract_record)
    record["methods"]["predict"]["arguments"]["df"]["columns"] = [{"name": one} for one in "aab"]
    return replace(entry, contract_record=record)


def one_column(dtype: str) -> CatalogEntry:
    (column,) = columns_of(pd.DataFrame({"c": EXAMPLES[dtype]}))
    return described(plain_name(dtype), {"type": "table", "columns": [column]})


def plain_name(dtype: str) -> str:
    return re.sub("[^a-z0-9]+", "-", dtype.lower()).strip("-")


ENTRIES = [
    described("passengers", {"type": "table", "columns": PASSENGERS}),
    described("call", {"type": "table", "columns": TWO_FORMS}),
    described("split", {"type": "table", "columns": SPLIT_FORMS}),
    described("any", {"type": "table"}),
    sharing_a_name("shared"),
    *(one_column(dtype) for dtype in EXAMPLES),
]


def count(df: pd.DataFrame) -> list[int]:
    return list(range(len(df)))


@pytest.fixture(scope="module")
def gateway() -> Iterator[ServedGateway]:
    with served(ENTRIES, {(entry.name, "predict"): count for entry in ENTRIES}) as running:
        yield running


def ask(gateway: ServedGateway, model: str, body: Any, kind: str = JSON) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.ask(post(data, f"/v1/models/{model}", {"Content-Type": kind}))


class Hint(NamedTuple):
    """A request that is refused, what the message advises, and the request that follows it.

    Attributes:
        model: that is called.
        refused: the body.
        status: of its answer.
        says: parts of the message.
        followed: the body that does as it says.
        kind: media type of the refused body.
        followed_kind: of the other one.
    """

    model: str
    refused: Any
    status: int
    says: tuple[str, ...]
    followed: Any
    kind: str = JSON
    followed_kind: str = JSON


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name not in names}


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([[1.0, 2.0]]))
    return file.getvalue()


NAMES = "its columns are 'age', 'many', 'zip', 'kind'"
ROW_OF_LISTS = [list(ROW.values())]
HINTS = {
    "a missing column": Hint("passengers", [without("zip")], 422, ("misses 'zip'", NAMES), [ROW]),
    "a missing column of columns": Hint(
        "passengers", {name: [one] for name, one in without("zip").items()}, 422, ("misses 'zip'", NAMES),
        {name: [one] for name, one in ROW.items()},
    ),
    "an unknown column": Hint("passengers", [{**ROW, "more": 1}], 422, ("unknown 'more'", NAMES), [ROW]),
    "a misspelt column": Hint(
        "passengers", [{**without("zip"), "zpi": "1"}], 422, ("misses 'zip' and has the unknown 'zpi'",), [ROW]
    ),
    "a missing column of CSV": Hint(
        "passengers", b"age,many,zip\n22,3,01067\n", 422, ("misses 'kind'", NAMES),
        b"age,many,zip,kind\n22,3,01067,old\n", CSV, CSV,
    ),
    "a column twice": Hint(
        "passengers", {"columns": ["age", *ROW], "data": [[1.0, *ROW.values()]]}, 422, ("a column twice, 'age'", NAMES),
        {"columns": list(ROW), "data": ROW_OF_LISTS},
    ),
    "a value too few": Hint(
        "passengers", [[1.0, 2, "x"]], 422, ("3 values; the columns are 'age', 'many', 'zip', 'kind'",), ROW_OF_LISTS
    ),
    "an unknown category": Hint(
        "passengers", [{**ROW, "kind": "worn"}], 422, ("'worn', which is not among its categories 'new', 'old'",),
        [{**ROW, "kind": "new"}],
    ),
    "null among whole numbers": Hint(
        "passengers", [{**ROW, "many": None}], 422, ("'many', row 0 is missing; expected an integer",),
        [{**ROW, "many": 0}]
    ),
    "an empty field among whole numbers": Hint(
        "passengers", b"age,many,zip,kind\n22,,01067,old\n", 422, ("'many', row 0 is missing; expected an integer",),
        b"age,many,zip,kind\n22,0,01067,old\n", CSV, CSV,
    ),
    "a fraction among whole numbers": Hint(
        "passengers", [{**ROW, "many": 9.5}], 422, ("row 0 is 9.5; expected an integer",), [{**ROW, "many": 9.0}]
    ),
    "a number among texts": Hint(
        "passengers", [{**ROW, "zip": 1067}], 422, ("row 0 is a number; expected a string",), [{**ROW, "zip": "1067"}]
    ),
    "NaN": Hint(
        "passengers", b'[{"age": NaN, "many": 1, "zip": "1", "kind": "old"}]', 400,
        ("null is a missing value among fractions",), [{**ROW, "age": None}],
    ),
    "one record": Hint("passengers", ROW, 422, ("send records, [{...}]",), [ROW]),
    "one record, as split": Hint(
        "passengers", ROW, 422, ('split, {"columns": [...], "data": [...]}',), {"columns": list(ROW),
        "data": ROW_OF_LISTS}
    ),
    "one record, as columns": Hint(
        "passengers", ROW, 422, ("columns, {NAME: [...], ...}",), {name: [one] for name, one in ROW.items()}
    ),
    "a list of values": Hint("passengers", [1, 2], 422, ("rows like [[...]] or objects like [{...}]",), ROW_OF_LISTS),
    "a number": Hint("passengers", {"args": [5]}, 422, ("send records, [{...}], or rows, [[...]]",), {"args": [[ROW]]}),
    "a call and columns": Hint(
        "call", {"args": [1]}, 400, ("a call", "and columns", "send records, [{...}], which fit one alone"),
        [{"args": 1}]
    ),
    "split and columns": Hint(
        "split", {"columns": ["columns", "data"], "data": [["a", 1], ["b", 2]]}, 400,
        ("split", "and columns", "send records"), [{"columns": "a", "data": 1}],
    ),
    "shared names as records": Hint(
        "shared", [{"a": 1, "b": 2}], 422,
        ("'a' is among them more than once; send rows, [[...]], with one value for each of 'a', 'a', 'b'",),
        [[1, 2, 3]],
    ),
    "shared names as columns": Hint(
        "shared", {"a": [1], "b": [2]}, 422, ("'a' is among them more than once; send rows",), [[1, 2, 3]]
    ),
    "shared names in another order": Hint(
        "shared", {"columns": ["b", "a", "a"], "data": [[3, 1, 2]]}, 422, ("they must be 'a', 'a', 'b' in this order",),
        {"columns": ["a", "a", "b"], "data": [[1, 2, 3]]},
    ),
    "shared names of CSV": Hint(
        "shared", b"b,a,a\n3,1,2\n", 422, ("they must be 'a', 'a', 'b' in this order",), b"a,a,b\n1,2,3\n", CSV, CSV
    ),
    "columns of different lengths": Hint(
        "any", {"a": [1], "b": [1, 2]}, 422, ("different numbers of rows: 'a' 1, 'b' 2",), {"a": [1, 1], "b": [1, 2]}
    ),
    "a split of other width": Hint(
        "any", {"columns": ["a", "b"], "data": [[1]]}, 422, ("one value for each of the 2 columns",),
        {"columns": ["a", "b"], "data": [[1, 2]]},
    ),
    "no body": Hint("any", b"", 400, ("send rows like [[1.0, 2.0]]",), [[1.0, 2.0]]),
    "CSV without a line": Hint("any", b"\n", 400, ("its first line names the columns",), b"a\n1\n", CSV, CSV),
    "CSV that is ragged": Hint("any", b"a,b\n1\n", 422, ("1 fields, the first one 2",), b"a,b\n1,2\n", CSV, CSV),
    "CSV of another encoding": Hint(
        "any", "a\né\n".encode("latin-1"), 400, ("the CSV is not UTF-8",), "a\né\n".encode(), CSV, CSV
    ),
    "CSV that says another encoding": Hint(
        "any", b"a\n1\n", 415, ("send text/csv in UTF-8",), b"a\n1\n", f"{CSV}; charset=latin-1",
        f"{CSV}; charset=utf-8"
    ),
    "an .npy file as JSON": Hint(
        "any", npy(), 400, ("send it with Content-Type: application/x-npy",), npy(), JSON, "application/x-npy"
    ),
    "a whole number beyond all": Hint(
        "any", b'[{"a": 99999999999999999999}]', 400, ("integer is outside of",), b'[{"a": 99999999999999999999.0}]'
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HINTS)
def test_what_a_message_advises_is_answered(gateway: ServedGateway, name: str) -> None:
    hint = HINTS[name]
    refused = ask(gateway, hint.model, hint.refused, hint.kind)
    message = str(refused.json["error"]["message"])
    assert refused.status == hint.status, message
    for part in hint.says:
        assert part in message
    followed = ask(gateway, hint.model, hint.followed, hint.followed_kind)
    assert followed.status == 200, followed


def test_each_media_type_that_an_error_lists_is_one_that_is_taken(gateway: ServedGateway) -> None:
    refused = ask(gateway, "any", [[1]], "text/tab-separated-values")
    assert refused.status == 415
    listed = re.findall(r"\b(?:application|text)/[\w.+-]+", str(refused.json["error"]["message"]))
    bodies = {
        JSON: b"[[1]]",
        "application/x-npy": npy(),
        "application/msgpack": b"\x91\x91\x01",
        CSV: b"a\n1\n",
    }
    known = [kind for kind in listed if kind in bodies]
    assert set(known) == set(bodies)
    for kind in known:
        assert ask(gateway, "any", bodies[kind], kind).status == 200, kind


@pytest.mark.parametrize("dtype", EXAMPLES)
@pytest.mark.parametrize("form", ["JSON", "CSV"])
def test_the_value_that_a_message_shows_is_one_of_the_column(
    gateway: ServedGateway, dtype: str, form: str
) -> None:
    model = plain_name(dtype)
    refused = ask(gateway, model, [{"c": {}}])
    message = str(refused.json["error"]["message"])
    assert refused.status == 422, message
    wanted = message.rpartition("expected ")[2]
    shown = re.search("like '(.*)'$", wanted)
    value = shown.group(1) if shown else SAYS[wanted]
    if form == "JSON":
        assert ask(gateway, model, [{"c": value}]).status == 200, value
    else:
        frame = pd.DataFrame({"c": [value]})
        assert ask(gateway, model, frame.to_csv(index=False).encode(), CSV).status == 200, value


def test_inputs_of_the_protocol_have_no_columns_that_share_a_name(gateway: ServedGateway) -> None:
    shown = gateway.ask(get("/v2/models/shared"))
    assert (shown.status, shown.json["inputs"]) == (200, [])
    columns = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1.0]} for name in "ab"]
    refused = gateway.ask(post(json.dumps({"inputs": columns}).encode(), "/v2/models/shared/infer"))
    assert refused.status == 400
    assert "'a', 'a', 'b' in this order" in str(refused.json["error"])
