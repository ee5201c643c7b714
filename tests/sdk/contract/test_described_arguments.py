"""What a contract says of an array's dtype and shape holds for calls, wherever they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from support.backend import entry
from support.served_gateway import ServedGateway, get, post, served
from vtsserving._contract.arguments import Arguments
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_record import write_contracts
from vtsserving._model.parameters import Parameters
from vtsserving.exceptions import BadShape, OutOfRange, WrongType
from vtsserving.runner.local import LocalHandle

TAKES = Parameters(("x", "weights"), ("scale",), takes_more=False)
DESCRIBED = {
    "x": {"dtype": "float32", "shape": [-1, 3]},
    "weights": {"kind": "parameter", "dtype": "int8", "shape": [3]},
    "scale": {"kind": "parameter", "dtype": "float64", "shape": []},
}


def contract(arguments: dict[str, Any], **more: Any) -> MethodContract:
    declared = MethodContract.declared("predict", {"batchable": True, "arguments": arguments})
    return replace(declared.completed("predict", TAKES), **more)


def local(described: MethodContract, recorded: Any = None) -> Callable[..., Any]:
    class Model:
        def predict(self, x: Any, weights: Any = None, *, scale: Any = 1.0) -> Any:
            return [str(getattr(one, "dtype", type(one).__name__)) for one in (x, weights, scale)]

    handle = LocalHandle(Model(), {"predict": described}, None, recorded)
    return lambda *args, **kwargs: handle.call("predict", args, kwargs)


def test_lists_and_arrays_get_the_described_dtype() -> None:
    call = local(contract(DESCRIBED))
    assert call([[1, 2, 3]], [1, 2, 3], scale=2) == ["float32", "int8", "float64"]
    assert call(np.ones((2, 3)), weights=np.arange(3)) == ["float32", "int8", "float"]


def test_an_argument_that_is_described_may_be_left_out() -> None:
    assert local(contract(DESCRIBED))(np.ones((1, 3), "float32")) == ["float32", "NoneType", "float"]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (([[1.0, 2.0]],), BadShape),
        ((np.ones((1, 2)),), BadShape),
        (([["a", "b", "c"]],), WrongType),
        ((np.array([["a", "b", "c"]]),), WrongType),
        ((np.ones((1, 3)), [1, 2]), BadShape),
        ((np.ones((1, 3)), [1, 2, 300]), OutOfRange),
        ((np.ones((1, 3)), np.array([1, 2, 300])), OutOfRange),
    ],
    ids=str,
)
def test_what_does_not_fit_is_the_callers_error(args: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        local(contract(DESCRIBED))(*args)


def test_what_the_author_says_wins_over_what_an_example_showed() -> None:
    recorded = {"args": [{"name": "x", "dtype": "float64", "shape": [-1, 5]}]}
    found = Arguments(contract({"x": {"dtype": "float32"}}), recorded).spec(0)
    assert (found and found.name, found and found.dtype, found and found.shape) == ("x", np.float32, (-1, 5))
    found = Arguments(contract({"x": {"shape": [-1, -1]}}), recorded).spec(0)
    assert (found and found.dtype, found and found.shape) == (np.float64, (-1, -1))


def test_a_dtype_that_numpy_does_not_have_is_not_checked() -> None:
    call = local(contract({"x": {"dtype": "bfloat16", "shape": [-1]}}))
    assert call([1.5]) == ["float64", "NoneType", "float"]


@pytest.fixture(scope="module")
def gateway() -> Iterator[ServedGateway]:
    record = write_contracts({"predict": contract(DESCRIBED)})["contract"]
    with served(
        [replace(entry("described"), contract_record=record)],
        {("described", "predict"): lambda x, weights=None: [str(x.dtype)] * len(x)},
    ) as running:
        yield running


def test_a_gateway_says_the_same(gateway: ServedGateway) -> None:
    path = "/v1/models/described/predict"
    assert gateway.ask(post(b"[[1, 2, 3]]", path)).json == ["float32"]
    for body, code in (
        (b"[[1, 2]]", "bad_shape"),
        (b'[["a", "b", "c"]]', "wrong_type"),
        (b'{"args": [[[1, 2, 3]]], "kwargs": {"weights": [1, 2, 300]}}', "out_of_range"),
    ):
        answer = gateway.ask(post(body, path))
        assert (answer.status, answer.code) == (422, code), answer
    inputs = gateway.ask(get("/v2/models/described")).json["inputs"]
    assert [(one["name"], one["datatype"], one["parameters"]["kind"]) for one in inputs] == [
        ("x", "FP32", "rows"),
        ("weights", "INT8", "parameter"),
        ("scale", "FP64", "parameter"),
    ]
