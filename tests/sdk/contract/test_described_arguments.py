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
from vtsserving.exceptions import BadInput, BadShape, OutOfRange, WrongType
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


ONE_OF_DATA: dict[str, Any] = {"lists": "arrays", "undescribed": "parameter"}
"""Of the frameworks whose methods take arrays, and one of data."""


def test_a_list_beside_the_data_stays_the_list_that_it_is() -> None:
    call = local(contract({}, **ONE_OF_DATA))
    assert call([[1.5]], [0.1, 0.9], scale=["a"]) == ["float64", "list", "list"]
    assert call([[1.5]], [[1], [2, 3]], scale=[]) == ["float64", "list", "list"]
    assert call(np.ones((1, 1)), np.ones(2)) == ["float64", "float64", "float"]


@pytest.mark.parametrize("described", [{"kind": "rows"}, {"type": "tensor"}, {"dtype": "float64"}], ids=str)
def test_a_list_that_is_described_as_an_array_becomes_one(described: dict[str, Any]) -> None:
    call = local(contract({"weights": described}, **ONE_OF_DATA))
    assert call([[1.5]], [0.5]) == ["float64", "float64", "float"]


def test_a_list_of_a_method_that_takes_several_arrays_becomes_one() -> None:
    assert local(contract({}, lists="arrays"))([[1.5]], [0.5]) == ["float64", "float64", "float"]


EXAMPLE = {"args": [{"name": name, "dtype": "float64", "shape": [-1]} for name in ("x", "weights")]}


def test_what_has_a_default_may_be_left_out_although_the_example_has_it() -> None:
    call = local(contract({}, required=("x",)), {"predict": EXAMPLE})
    assert call([1.5]) == ["float64", "NoneType", "float"]
    assert call([1.5], weights=[2]) == ["float64", "float64", "float"]
    with pytest.raises(BadInput, match="'x' is missing"):
        call(weights=[2])


@pytest.mark.parametrize(
    "takes", [TAKES._replace(required=("x", "weights")), Parameters()], ids=["known", "not known"]
)
def test_what_has_no_default_that_is_known_may_not(takes: Parameters) -> None:
    declared = MethodContract.declared("predict", {"batchable": True}).completed("predict", takes)
    with pytest.raises(BadInput, match="'weights' is missing"):
        Arguments(declared, EXAMPLE).check_names(([1.5],), {})


def test_a_call_of_nothing_misses_what_the_example_has_even_where_all_has_a_default() -> None:
    with pytest.raises(BadInput, match="'x' is missing"):
        local(contract({}), {"predict": EXAMPLE})()


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
