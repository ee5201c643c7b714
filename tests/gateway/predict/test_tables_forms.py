"""Forms of a table over HTTP: which one a body is, what of it is refused, and what an error advises, followed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.damaged_requests import described
from support.served_gateway import Answer, ServedGateway, post, served
from vtsserving._codecs.table_limits import MAX_TABLE_COLUMNS
from vtsserving._wire.rows import unpack_call
from vtsserving._wire.values import encode_value
from vtsserving.exceptions import UnsupportedMediaType
from vtsserving_gateway.predict.decode import Target

COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "dtype": "float64", "nullable": True},
    {"name": "many", "dtype": "int64"},
    {"name": "zip", "dtype": "str"},
]
CALL_NAMES = [{"name": "args", "dtype": "int64"}, {"name": "kwargs", "dtype": "int64"}]
SPLIT_NAMES = [{"name": "columns", "dtype": "object"}, {"name": "data", "dtype": "object"}]
ENTRIES = [
    described("plain", {"type": "table", "columns": COLUMNS}),
    described("loose", {"type": "table", "columns": COLUMNS, "extra_columns": "ignore"}),
    described("call", {"type": "table", "columns": CALL_NAMES}),
    described("call1", {"type": "table", "columns": CALL_NAMES[:1]}),
    described("split", {"type": "table", "columns": SPLIT_NAMES}),
    described("any", {"type": "table"}),
    described("numbered", {"type": "table", "columns": [{"name": 0, "dtype": "int64"}, {"name": 1}]}),
]
ROW = {"age": 22.5, "many": 3, "zip": "01067"}
RIGHT = ["age 22.5, many 3, zip 01067"]


def seen(df: pd.DataFrame) -> list[str]:
    """A text for each row: what it holds, by the name of its column."""
    return [
        ", ".join(f"{name} {value}" for name, value in zip(df.columns, row, strict=True))
        for row in df.itertuples(index=False)
    ]


FUNCTIONS = {(entry.name, "predict"): seen for entry in ENTRIES}


@pytest.fixture(scope="module")
def gateway() -> Iterator[ServedGateway]:
    with served(ENTRIES, FUNCTIONS) as running:
        yield running


def ask(gateway: ServedGateway, model: str, body: Any, kind: str = "application/json") -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.ask(post(data, f"/v1/models/{model}", {"Content-Type": kind}))


def message(answer: Answer) -> str:
    return str(answer.json["error"]["message"])


@pytest.mark.parametrize(
    "body",
    [
        [ROW],
        [dict(reversed(ROW.items()))],
        [list(ROW.values())],
        {name: [value] for name, value in ROW.items()},
        {name: {"0": value} for name, value in ROW.items()},
        {"columns": ["zip", "age", "many"], "data": [["01067", 22.5, 3]]},
        {"columns": list(ROW), "index": ["x"], "data": [list(ROW.values())]},
        {"args": [[ROW]]},
        {"args": [{"columns": list(ROW), "data": [list(ROW.values())]}]},
        {"kwargs": {"df": {name: [value] for name, value in ROW.items()}}},
    ],
    ids=str,
)
def test_every_form_of_json_means_the_same_table(gateway: ServedGateway, body: Any) -> None:
    answer = ask(gateway, "plain", body)
    assert (answer.status, answer.json) == (200, RIGHT)


@pytest.mark.parametrize(
    ("model", "body", "forms"),
    [
        ("call", {"args": [1], "kwargs": [2]}, None),
        ("call1", {"args": [1]}, ("a call", "columns")),
        ("split", {"columns": ["columns", "data"], "data": [["a", 1], ["b", 2]]}, ("split", "columns")),
        ("split", {"args": [{"columns": ["data", "columns"], "data": [[1, 2]]}]}, ("split", "columns")),
        ("any", {"columns": ["a"], "data": ["b"]}, ("split", "columns")),
    ],
)
def test_a_body_of_two_forms_is_refused_with_both(
    gateway: ServedGateway, model: str, body: Any, forms: tuple[str, str] | None
) -> None:
    answer = ask(gateway, model, body)
    if forms is None:
        assert (answer.status, answer.json) == (200, ["args 1, kwargs 2"])
        return
    assert (answer.status, answer.code) == (400, "bad_input")
    assert all(form in message(answer) for form in forms)
    assert "send records, [{...}]" in message(answer)


def test_records_fit_one_form_whatever_the_columns_are_called(gateway: ServedGateway) -> None:
    assert ask(gateway, "call1", [{"args": 1}]).json == ["args 1"]
    assert ask(gateway, "split", [{"columns": "a", "data": 1}]).json == ["columns a, data 1"]


def test_further_columns_are_dropped_where_the_contract_says_so(gateway: ServedGateway) -> None:
    more = {**ROW, "name": "x", "a": None}
    csv = b"name,zip,many,age\nx,01067,3,22.5\n"
    for body, kind in (
        ([more], "application/json"),
        ({name: [value] for name, value in more.items()}, "application/json"),
        ({"columns": list(more), "data": [list(more.values())]}, "application/json"),
        (csv, "text/csv"),
        (encode_value(pd.DataFrame([more])), "application/msgpack"),
    ):
        answer = ask(gateway, "loose", body, kind)
        assert (answer.status, answer.json) == (200, RIGHT), answer
        assert ask(gateway, "plain", body, kind).status == 422
    assert "misses 'many', 'zip'" in message(ask(gateway, "loose", [{"age": 1, "x": 2}]))


def test_numbered_columns_are_named_by_their_numbers_as_text(gateway: ServedGateway) -> None:
    for body in (
        [{"1": "b", "0": 1}],
        {"1": ["b"], "0": [1]},
        [[1, "b"]],
        {"columns": [1, 0], "data": [["b", 1]]},
    ):
        assert ask(gateway, "numbered", body).json == ["0 1, 1 b"]


def test_a_table_of_unknown_columns_takes_what_comes(gateway: ServedGateway) -> None:
    assert ask(gateway, "any", [{"b": 1}, {"a": "x"}]).json == ["b 1.0, a nan", "b nan, a x"]
    assert ask(gateway, "any", {"a": [9007199254740993]}).json == ["a 9007199254740993"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (5, 422, "args"),
        ([ROW, [1, 2, 3]], 422, "row 1 is list; expected an object"),
        ([[1.0, 2, "x"], ROW], 422, "row 1 is not a list"),
        ([1, 2, "x"], 422, "row 0 is not a list"),
        (ROW, 422, "send records, [{...}], split"),
        ({**{name: [1] for name in ROW}, "zip": ["a", "b"]}, 422, "different numbers of rows"),
        ({"columns": list(ROW), "data": [[1.0, 2]]}, 422, "one value for each of the 3 columns"),
        (
            {"columns": ["age", "age", "many", "zip"], "data": [[1.0, 2.0, 2, "x"]]},
            422,
            "a column twice, 'age'",
        ),
        ([{**ROW, "many": None}], 422, "column 'many', row 0 is missing"),
        ([{**ROW, "many": 9.5}], 422, "column 'many', row 0 is 9.5; expected an integer"),
        ([{**ROW, "zip": 1067}], 422, "column 'zip', row 0 is a number; expected a string"),
        ([ROW, {"age": 1.0, "many": 1}], 422, "row 1 misses 'zip'"),
    ],
)
def test_what_is_no_such_table_is_refused(gateway: ServedGateway, body: Any, status: int, said: str) -> None:
    answer = ask(gateway, "plain", body)
    assert answer.status == status, answer
    assert said in message(answer)


def test_null_is_a_missing_value_of_a_table(gateway: ServedGateway) -> None:
    answer = ask(gateway, "plain", [{"age": None, "many": 1, "zip": None}])
    assert answer.json == ["age nan, many 1, zip nan"]


def test_too_large_a_table_is_refused_before_it_is_made(gateway: ServedGateway) -> None:
    many = [{f"c{at}": 1} for at in range(8_000)]
    wide = {f"c{at}": [1] for at in range(MAX_TABLE_COLUMNS + 1)}
    header = ",".join(f"c{at}" for at in range(MAX_TABLE_COLUMNS + 1)).encode()
    for body, kind in (
        (many, "application/json"),
        (wide, "application/json"),
        (header + b"\n", "text/csv"),
        (b"a\n" + b"," * (1 << 24), "text/csv"),
    ):
        answer = ask(gateway, "any", body, kind)
        assert (answer.status, answer.code) == (413, "too_large"), answer


def test_the_forms_that_errors_advise_are_read(gateway: ServedGateway) -> None:
    """Each hint, followed."""
    assert "records, [{...}]" in message(ask(gateway, "plain", ROW))
    assert ask(gateway, "plain", [ROW]).status == 200
    assert "null is a missing value among fractions" in message(ask(gateway, "plain", b'[{"age": NaN}]'))
    assert ask(gateway, "plain", [{**ROW, "age": None}]).status == 200
    assert "integer is outside of" in message(ask(gateway, "any", b'[{"a": 99999999999999999999}]'))
    assert ask(gateway, "any", b'[{"a": 99999999999999999999.0}]').status == 200
    assert "not JSON; send it with Content-Type: application/x-npy" in message(
        ask(gateway, "any", b"\x93NUMPY\x01\x00")
    )
    assert "rows like [[...]] or objects like [{...}]" in message(ask(gateway, "any", [1]))
    assert ask(gateway, "any", [[1]]).status == 200


def test_without_pandas_rows_are_arrays_and_other_forms_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = described("plain", {"type": "table", "columns": COLUMNS[:2]})
    monkeypatch.setitem(sys.modules, "pandas", None)
    target = Target(entry, entry.method("predict"))
    (rows,), _ = unpack_call(target.decode(b"[[1.5, 2]]"))
    assert rows == [[1.5, 2]]
    for body in (b'[{"age": 1.5, "many": 2}]', b'{"age": [1.5], "many": [2]}'):
        with pytest.raises(UnsupportedMediaType, match=r"vtsserving\[pandas\]"):
            target.decode(body)


def test_columns_of_the_protocol_may_be_missing_values(gateway: ServedGateway) -> None:
    def infer(columns: dict[str, tuple[str, list[Any]]], **parameters: Any) -> Answer:
        inputs = [
            {"name": name, "shape": [len(data), 1], "datatype": kind, "data": data}
            for name, (kind, data) in columns.items()
        ]
        body = json.dumps({"inputs": inputs, "parameters": parameters}).encode()
        return gateway.ask(post(body, "/v2/models/plain/infer"))

    sent = {"zip": ("BYTES", ["01067", None]), "many": ("INT64", [3, 4]), "age": ("FP64", [None, 1.5])}
    answer = infer(sent)
    assert answer.status == 200, answer
    for columns, said in (
        ({**sent, "many": ("INT64", [3, None])}, "column 'many', row 1 is missing"),
        ({**sent, "many": ("INT64", [3, 4, 5])}, "columns of different lengths"),
        ({**sent, "name": ("BYTES", ["x", "y"])}, "unknown 'name'"),
        ({**sent, "age": ("BYTES", ["x", "y"])}, "column 'age', row 0 is a string"),
    ):
        answer = infer(columns, content_type="pd")
        assert answer.status == 400, answer
        assert said in answer.json["error"]


def test_a_list_of_a_client_may_hold_nan(gateway: ServedGateway) -> None:
    body = encode_value([{"age": float("nan"), "many": 1, "zip": np.str_("x")}])
    assert ask(gateway, "plain", body, "application/msgpack").json == ["age nan, many 1, zip x"]
