"""An argument that a contract calls texts or bytes gets these and nothing else, wherever a call is made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.backend import entry
from support.served_gateway import Answer, ServedGateway, post, served
from vtsserving._codecs.csv_text import TextTable
from vtsserving._model.argument import Argument
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_record import write_contracts
from vtsserving._model.parameters import Parameters
from vtsserving._wire.values import encode_value
from vtsserving.exceptions import BadShape, WrongType
from vtsserving.runner.local import LocalHandle

TYPES = {"texts": {"x": {"type": "texts"}}, "bytes": {"x": {"type": "bytes"}}}
KEYWORD = {"mode": {"type": "texts", "kind": "parameter"}}
GOOD: dict[str, list[Any]] = {
    "texts": ["a", ["a", "é"], []],
    "bytes": [b"a", [b"a\0", b""], [bytearray(b"a")]],
}
COLUMNS: dict[str, list[Any]] = {
    "texts": [
        ("a", "é"),
        np.array(["a", "é"]),
        np.array(["a", "é"], object),
        np.array([["a"], ["é"]]),
        np.array(["a", "é"], np.dtypes.StringDType()),
        pd.Series(["a", "é"], index=[7, 5]),
        pd.Series(["a", "é"], dtype="string"),
        pd.Series(["a", "é"], dtype="category"),
        pd.Index(["a", "é"]),
        pd.array(["a", "é"], dtype="string"),
        pd.DataFrame({"words": ["a", "é"]}, index=[7, 5]),
        pd.DataFrame({"words": pd.Categorical(["a", "é"], ["é", "a", "b"])}),
        TextTable(["words"], [["a", "é"]]),
    ],
    "bytes": [
        (b"a", b"b"),
        np.array([b"a", b"b"]),
        np.array([b"a", b"b"], object),
        pd.Series([b"a", b"b"]),
        pd.DataFrame({"files": [b"a", b"b"]}),
        TextTable(["files"], [["YQ==", "Yg=="]]),
    ],
}
"""Every form of one column, which the model gets as a list."""
BAD: dict[str, list[tuple[Any, str]]] = {
    "texts": [
        (7, "is of the type int; expected a string, or a list of them"),
        (None, "is missing"),
        (["a", 7], "row 1 is a number; expected a string"),
        (["a", None], "row 1 is missing"),
        ([["a"]], "row 0 is a list"),
        ([b"a"], "row 0 is b'a'"),
        ({"a": 1}, "of the type dict"),
        (np.array([1.5]), "row 0 is a number"),
        (np.array([b"a"]), "row 0 is b'a'"),
        (np.ma.array(["a", "b"], mask=[0, 1]), "row 1 is missing"),
        (pd.Series([1]), "row 0 is a number"),
        (pd.Series(["a", None]), "row 1 is missing"),
        (pd.Series(["a", None], dtype="string"), "row 1 is missing"),
        (pd.Series(["a", None], dtype="category"), "row 1 is missing"),
        (pd.DataFrame({"n": [1.5]}), "column 'n', row 0 is a number; expected a string"),
        (TextTable(["t"], [["NA", ""]]), "column 't', row 1 is missing; expected a string"),
    ],
    "bytes": [
        (7, "expected bytes, in JSON as base64 text"),
        (["YQ==", "not base64"], "row 1 is 'not base64', which is not base64; expected bytes"),
        ([7], "row 0 is a number"),
        (np.array(["a"]), "row 0 is 'a', which is not base64"),
        (TextTable(["files"], [["%"]]), "column 'files', row 0 is '%', which is not base64; expected bytes"),
        ("%", "is '%', which is not base64; expected bytes"),
    ],
}
WIDE: list[tuple[Any, str]] = [
    (pd.DataFrame({"a": ["b"], "c": ["d"]}), "input has the columns 'a', 'c'; expected one column of"),
    (pd.DataFrame(index=[1]), "input has no columns; expected one column of"),
    (TextTable(["a", "c"], [["b"], ["d"]]), "input has the columns 'a', 'c'"),
    (np.array([["a", "b"]]), "for each row, got an array of shape [1, 2]"),
    (np.array([[["a"]]]), "got an array of shape [1, 1, 1]"),
]


def contract(kind: str) -> MethodContract:
    declared = MethodContract.declared("predict", {"batchable": True, "arguments": TYPES[kind] | KEYWORD})
    completed = declared.completed("predict", Parameters(("x",), ("mode",), takes_more=False))
    return replace(completed, lists="lists")


def local(kind: str) -> Callable[..., Any]:
    class Model:
        def predict(self, x: Any, *, mode: Any = "") -> Any:
            return x

    handle = LocalHandle(Model(), {"predict": contract(kind)}, None, None)
    return lambda *args, **kwargs: handle.call("predict", args, kwargs)


CASES = [(kind, value) for kind, values in GOOD.items() for value in values]
FORMS = [(kind, value) for kind, values in COLUMNS.items() for value in values]
REFUSED = [(kind, *case) for kind, cases in BAD.items() for case in cases]


@pytest.mark.parametrize(("kind", "value"), CASES, ids=str)
def test_what_fits_is_what_the_model_gets(kind: str, value: Any) -> None:
    found = local(kind)(value)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(("kind", "value"), FORMS, ids=str)
def test_every_form_of_one_column_is_the_list_of_it(kind: str, value: Any) -> None:
    found = local(kind)(value)
    assert type(found) is list
    assert found == (["a", "é"] if kind == "texts" else [b"a", b"b"])


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("value", "message"), WIDE, ids=str)
def test_several_columns_are_refused_with_their_names(kind: str, value: Any, message: str) -> None:
    with pytest.raises(BadShape, match=re.escape(message)):
        local(kind)(value)


def test_columns_beside_the_first_argument_stay_rows() -> None:
    """A list in their place would be a parameter."""
    mode = pd.Series(["a"])
    described = replace(contract("texts"), names=("x", "mode"), keywords=())
    described = replace(described, arguments={**described.arguments, "mode": Argument(type="texts")})

    class Model:
        def predict(self, x: Any, mode: Any) -> Any:
            return mode

    handle = LocalHandle(Model(), {"predict": described}, None, None)
    assert handle.call("predict", (["b"], mode), {}) is mode
    found = handle.call("predict", (["b"], pd.DataFrame({"c": ["a"]})), {})
    assert type(found) is pd.Series
    assert found.tolist() == ["a"]


@pytest.mark.parametrize(("kind", "value", "message"), REFUSED, ids=str)
def test_anything_else_is_the_callers_error(kind: str, value: Any, message: str) -> None:
    with pytest.raises(WrongType) as raised:
        local(kind)(value)
    assert message in raised.value.message


def test_bytes_come_as_base64_text_where_there_are_none() -> None:
    assert local("bytes")(["YQA=", ""]) == [b"a\0", b""]
    assert local("bytes")("YQA=") == b"a\0"


def test_named_arguments_are_looked_at_too() -> None:
    assert local("texts")(x=["a"], mode="b") == ["a"]
    for given in ({"x": [1]}, {"x": ["a"], "mode": 7}):
        with pytest.raises(WrongType, match=r"^(x|mode|input)"):
            local("texts")(**given)


@pytest.fixture(scope="module")
def gateway() -> Iterator[ServedGateway]:
    entries = [
        replace(entry(kind), contract_record=write_contracts({"predict": contract(kind)})["contract"])
        for kind in TYPES
    ]
    methods = {
        ("texts", "predict"): lambda x, mode="": [item + mode for item in x],
        ("bytes", "predict"): lambda x, mode="": [len(item) for item in x],
    }
    with served(entries, methods) as running:
        yield running


def ask(gateway: ServedGateway, kind: str, body: Any) -> Answer:
    return gateway.ask(post(json.dumps(body).encode(), f"/v1/models/{kind}/predict"))


def test_a_gateway_reads_texts_and_bytes(gateway: ServedGateway) -> None:
    assert ask(gateway, "texts", ["a", "é"]).json == ["a", "é"]
    assert ask(gateway, "texts", {"args": [["a"]], "kwargs": {"mode": "!"}}).json == ["a!"]
    assert ask(gateway, "bytes", ["YQA=", ""]).json == [2, 0]
    packed = encode_value([b"abc", b"\0"])
    headers = {"Content-Type": "application/msgpack", "Accept": "application/json"}
    answer = gateway.ask(post(packed, "/v1/models/bytes/predict", headers))
    assert answer.json == [3, 1]


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        ("texts", [[1, 2]], "row 0 is a list"),
        ("texts", [1, 2], "row 0 is a number; expected a string"),
        ("texts", ["a", None], "row 1 is missing"),
        ("texts", [{"a": 1}], "row 0 is an object"),
        ("texts", {"args": [["a"]], "kwargs": {"mode": [7]}}, "mode, row 0 is a number"),
        ("bytes", ["a b"], "row 0 is 'a b', which is not base64; expected bytes, in JSON as base64 text"),
        ("bytes", [[1]], "row 0 is a list"),
    ],
)
def test_a_gateway_refuses_the_rest_in_the_same_words(
    gateway: ServedGateway, kind: str, body: Any, message: str
) -> None:
    answer = ask(gateway, kind, body)
    assert (answer.status, answer.code) == (422, "wrong_type")
    assert message in answer.json["error"]["message"]
