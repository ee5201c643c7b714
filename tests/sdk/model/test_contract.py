"""Contracts as users write them: what is read, what is refused and with which path, what is recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vtsserving._model.argument import Argument
from vtsserving._model.contract import MethodContract
from vtsserving._model.parameters import Parameters
from vtsserving._model.signature import ModelSignature
from vtsserving.exceptions import InvalidSignature

pytestmark = pytest.mark.fast

PATH = "signatures['predict']"


def declared(**keys: Any) -> MethodContract:
    return MethodContract.declared("predict", {"batchable": True, **keys})


def refusal(**keys: Any) -> str:
    with pytest.raises(InvalidSignature) as caught:
        declared(**keys)
    assert isinstance(caught.value, ValueError)
    return caught.value.message


# --- what is read -------------------------------------------------------------------------------------------------


def test_a_signature_without_more_describes_nothing() -> None:
    contract = declared(batch_dim=1)
    assert (contract.batchable, contract.batch_dim) == (True, (1, 1))
    assert not contract.is_described
    assert MethodContract.declared("predict", ModelSignature(True, (0, 1))).batch_dim == (0, 1)


def test_parameters_is_short_for_arguments_that_are_parameters() -> None:
    short = declared(parameters=["weights", "bias"])
    long = declared(arguments={"weights": {"kind": "parameter"}, "bias": {"kind": "parameter"}})
    assert short == long
    assert short.arguments["weights"] == Argument("parameter")


def test_parameters_adds_to_what_arguments_says_of_the_same_name() -> None:
    contract = declared(parameters=["w"], arguments={"w": {"dtype": "float32", "shape": [3]}})
    assert contract.arguments["w"] == Argument("parameter", None, "tensor", "float32", (3,))


def test_an_axis_makes_rows_of_an_argument() -> None:
    contract = declared(arguments={"x": {"axis": 1}})
    assert contract.arguments["x"].kind == "rows"
    assert contract.rule.kinds == {"x": 1}


def test_a_dtype_or_a_shape_makes_a_tensor_of_an_argument() -> None:
    for keys in ({"dtype": "int64"}, {"shape": [-1, 4]}):
        assert declared(arguments={"x": keys}).arguments["x"].type == "tensor"


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        (np.float32, "float32"),
        (np.dtype("<f8"), "float64"),
        ("f4", "float32"),
        (int, "int64"),
        (str, "str"),
        ("U7", "str"),
        ("torch.float16", "float16"),
        ("bfloat16", "bfloat16"),
        ("bool", "bool"),
        ("object", "object"),
        ("datetime64[ns]", "datetime64[ns]"),
    ],
    ids=str,
)
def test_a_dtype_is_recorded_by_its_name(given: Any, recorded: str) -> None:
    assert declared(arguments={"x": {"dtype": given}}).arguments["x"].dtype == recorded


def test_numbers_of_numpy_are_recorded_as_those_of_python() -> None:
    described = {"axis": np.int64(1), "shape": (None, np.int32(4))}
    found = declared(arguments={"x": described}).arguments["x"]
    assert (found.axis, found.shape) == (1, (-1, 4))
    assert [type(size) for size in found.shape or ()] == [int, int]


def test_what_is_said_of_columns_is_kept_as_it_is_given() -> None:
    columns = [
        "age",
        {"name": "job", "dtype": "category", "categories": ["a", "b"], "nullable": True},
        {"name": 3, "dtype": np.float64},
        {"name": "when", "dtype": "datetime64[ns, UTC]", "nullable": False},
    ]
    found = declared(
        deterministic="tolerant",
        arguments={"X": {"type": "table", "columns": columns, "extra_columns": "ignore"}},
    )
    assert [dict(column) for column in found.arguments["X"].columns] == [
        {"name": "age"},
        {"name": "job", "dtype": "category", "nullable": True, "categories": ["a", "b"]},
        {"name": 3, "dtype": "float64"},
        {"name": "when", "dtype": "datetime64[ns, UTC]", "nullable": False},
    ]
    assert found.arguments["X"].extra_columns == "ignore"
    assert found.deterministic == "tolerant"
    assert MethodContract.from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_unchecked_is_batchable() -> None:
    contract = declared(batchable="unchecked")
    assert (contract.batchable, contract.unchecked) == (True, True)
    assert contract.to_dict()["batchable"] == "unchecked"


@pytest.mark.parametrize(
    ("raw", "follows"),
    [
        ({}, True),
        ({"axis": 1}, True),
        ([{"axis": 0}, {"same": True}], True),
        ({"scores": {"axis": 0}, "classes": {"same": True}}, True),
        ({"dict": {"axis": {"axis": 0}, "same": {"same": True}}}, True),
        ([{"axis": 0}, {"boxes": [{"axis": 0}, {"ordered": False}]}], False),
        ({"ordered": False}, False),
        ({"same": True}, False),
        ([{"same": True}, {"same": True}], False),
    ],
    ids=str,
)
def test_a_result_is_cut_where_all_of_its_rows_are_in_order(raw: Any, follows: bool) -> None:
    form = declared(result=raw).result
    assert form is not None
    assert form.follows_rows is follows


# --- what is refused, and by which path ---------------------------------------------------------------------------

TABLE = {"type": "table"}

REFUSED = {
    "an unknown key": ({"argument": {}}, f"{PATH} has the unknown key 'argument', did you mean 'arguments'"),
    "batchable": ({"batchable": "yes"}, f"{PATH}: batchable"),
    "batchable as an array": ({"batchable": np.ones(2)}, f"{PATH}: batchable"),
    "batch_dim": ({"batch_dim": 32}, f"{PATH}: a batch dimension"),
    "deterministic": ({"deterministic": "mostly"}, f"{PATH}.deterministic"),
    "deterministic as a number": ({"deterministic": 1}, f"{PATH}.deterministic"),
    "deterministic as an array": ({"deterministic": np.ones(2)}, f"{PATH}.deterministic"),
    "arguments as a list": ({"arguments": ["x"]}, f"{PATH}.arguments"),
    "arguments as an empty list": ({"arguments": []}, f"{PATH}.arguments"),
    "the name of an argument": ({"arguments": {3: {}}}, f"{PATH}.arguments has 3"),
    "an argument as a text": ({"arguments": {"x": "rows"}}, f"{PATH}.arguments['x'] is a dict"),
    "a key of an argument": (
        {"arguments": {"x": {"kinds": "rows"}}},
        f"{PATH}.arguments['x'] has the unknown key 'kinds', did you mean 'kind'",
    ),
    "kind": ({"arguments": {"x": {"kind": "row"}}}, f"{PATH}.arguments['x'].kind is 'rows' or 'parameter'"),
    "kind as a list": ({"arguments": {"x": {"kind": ["rows"]}}}, f"{PATH}.arguments['x'].kind"),
    "kind as an array": ({"arguments": {"x": {"kind": np.ones(2)}}}, f"{PATH}.arguments['x'].kind"),
    "type": ({"arguments": {"x": {"type": "frame"}}}, f"{PATH}.arguments['x'].type"),
    "an axis below": ({"arguments": {"x": {"axis": -1}}}, f"{PATH}.arguments['x'].axis"),
    "an axis above": ({"arguments": {"x": {"axis": 32}}}, f"{PATH}.arguments['x'].axis"),
    "an axis as a bool": ({"arguments": {"x": {"axis": True}}}, f"{PATH}.arguments['x'].axis"),
    "an axis as a text": ({"arguments": {"x": {"axis": "0"}}}, f"{PATH}.arguments['x'].axis"),
    "an axis of a parameter": (
        {"arguments": {"x": {"kind": "parameter", "axis": 0}}},
        f"{PATH}.arguments['x'].axis does not fit a parameter",
    ),
    "an axis of a table": (
        {"arguments": {"x": {**TABLE, "axis": 1}}},
        f"{PATH}.arguments['x'].axis is 1, but the rows of {PATH}.arguments['x'], a table, lie along axis 0",
    ),
    "a batch_dim of a table": (
        {"batch_dim": 1, "arguments": {"x": {**TABLE, "kind": "rows"}}},
        f"{PATH}.batch_dim is 1, but the rows of {PATH}.arguments['x'], a table, lie along axis 0",
    ),
    "an axis of texts": ({"arguments": {"x": {"type": "texts", "axis": 1}}}, f"{PATH}.arguments['x'].axis"),
    "an axis outside of the shape": (
        {"arguments": {"x": {"axis": 2, "shape": [-1, 4]}}},
        f"{PATH}.arguments['x'].axis is 2, but {PATH}.arguments['x'].shape has 2 dimensions",
    ),
    "a batch_dim outside of the shape": (
        {"batch_dim": 1, "arguments": {"x": {"kind": "rows", "shape": [-1]}}},
        f"{PATH}.batch_dim is 1, but {PATH}.arguments['x'].shape",
    ),
    "dtype": ({"arguments": {"x": {"dtype": "float33"}}}, f"{PATH}.arguments['x'].dtype is 'float33'"),
    "a class as dtype": ({"arguments": {"x": {"dtype": dict}}}, f"{PATH}.arguments['x'].dtype"),
    "a number as dtype": ({"arguments": {"x": {"dtype": 5}}}, f"{PATH}.arguments['x'].dtype"),
    "a dtype with fields": ({"arguments": {"x": {"dtype": "f4,f4"}}}, f"{PATH}.arguments['x'].dtype"),
    "a dtype of texts": (
        {"arguments": {"x": {"type": "texts", "dtype": "str"}}},
        f"{PATH}.arguments['x'].dtype is said of a tensor",
    ),
    "shape as a number": ({"arguments": {"x": {"shape": 4}}}, f"{PATH}.arguments['x'].shape"),
    "a size below": ({"arguments": {"x": {"shape": [-2]}}}, f"{PATH}.arguments['x'].shape"),
    "a size as a fraction": ({"arguments": {"x": {"shape": [1.5]}}}, f"{PATH}.arguments['x'].shape"),
    "a size as a bool": ({"arguments": {"x": {"shape": [True]}}}, f"{PATH}.arguments['x'].shape"),
    "too many dimensions": ({"arguments": {"x": {"shape": [1] * 33}}}, f"{PATH}.arguments['x'].shape"),
    "columns as a text": ({"arguments": {"x": {"columns": "age"}}}, f"{PATH}.arguments['x'].columns"),
    "columns as a dict": (
        {"arguments": {"x": {"columns": {"age": "int64"}}}},
        f"{PATH}.arguments['x'].columns is a list",
    ),
    "no columns": ({"arguments": {"x": {"columns": []}}}, f"{PATH}.arguments['x'].columns is empty"),
    "a column twice": (
        {"arguments": {"x": {"columns": ["a", "b", {"name": "a"}]}}},
        f"{PATH}.arguments['x'].columns[2] has the name 'a', which {PATH}.arguments['x'].columns[0] has",
    ),
    "a column without a name": (
        {"arguments": {"x": {"columns": [{"dtype": "int64"}]}}},
        f"{PATH}.arguments['x'].columns[0]",
    ),
    "a key of a column": (
        {"arguments": {"x": {"columns": [{"name": "a", "type": "int64"}]}}},
        f"{PATH}.arguments['x'].columns[0] has the unknown key 'type'",
    ),
    "the name of a column": (
        {"arguments": {"x": {"columns": [1.5]}}},
        f"{PATH}.arguments['x'].columns[0] is a name",
    ),
    "nullable": (
        {"arguments": {"x": {"columns": [{"name": "a", "nullable": "yes"}]}}},
        f"{PATH}.arguments['x'].columns[0].nullable",
    ),
    "the dtype of a column": (
        {"arguments": {"x": {"columns": [{"name": "a", "dtype": 0}]}}},
        f"{PATH}.arguments['x'].columns[0].dtype",
    ),
    "categories as a text": (
        {"arguments": {"x": {"columns": [{"name": "a", "categories": "ab"}]}}},
        f"{PATH}.arguments['x'].columns[0].categories",
    ),
    "a category twice": (
        {"arguments": {"x": {"columns": [{"name": "a", "categories": ["b", "b"]}]}}},
        f"{PATH}.arguments['x'].columns[0].categories[1]",
    ),
    "a category that is not finite": (
        {"arguments": {"x": {"columns": [{"name": "a", "categories": [float("nan")]}]}}},
        f"{PATH}.arguments['x'].columns[0].categories[0]",
    ),
    "columns of a tensor": (
        {"arguments": {"x": {"type": "tensor", "columns": ["a"]}}},
        f"{PATH}.arguments['x'].columns is said of a table",
    ),
    "columns beside a dtype": (
        {"arguments": {"x": {"dtype": "float64", "columns": ["a"]}}},
        f"{PATH}.arguments['x'].columns is said of a table",
    ),
    "extra_columns": (
        {"arguments": {"x": {**TABLE, "columns": ["a"], "extra_columns": "drop"}}},
        f"{PATH}.arguments['x'].extra_columns is 'error' or 'ignore'",
    ),
    "extra_columns of texts": (
        {"arguments": {"x": {"type": "texts", "extra_columns": "error"}}},
        f"{PATH}.arguments['x'].extra_columns is said of a table",
    ),
    "parameters as a text": ({"parameters": "weights"}, f"{PATH}.parameters"),
    "the name of a parameter": ({"parameters": [3]}, f"{PATH}.parameters has 3"),
    "parameters that are rows": (
        {"parameters": ["x"], "arguments": {"x": {"kind": "rows"}}},
        f"{PATH}.parameters names 'x', which {PATH}.arguments declares to be rows",
    ),
    "parameters that have an axis": (
        {"parameters": ["x"], "arguments": {"x": {"axis": 0}}},
        f"{PATH}.parameters names 'x'",
    ),
    "result": ({"result": "rows"}, f"{PATH}.result is a dict"),
    "an empty list as result": ({"result": []}, f"{PATH}.result is an empty list"),
    "an empty dict of parts": ({"result": {"dict": {}}}, f"{PATH}.result.dict"),
    "a key of a result": ({"result": {"axes": 0}}, f"{PATH}.result has the unknown key 'axes'"),
    "a part of a result": ({"result": [{"axis": 0}, 3]}, f"{PATH}.result[1] is a dict"),
    "a part of a part": ({"result": {"a": [{"axis": 99}]}}, f"{PATH}.result['a'][0].axis"),
    "an axis of what is the same": ({"result": {"axis": 0, "same": True}}, f"{PATH}.result has both"),
    "an order of what is the same": ({"result": {"same": True, "ordered": False}}, f"{PATH}.result has both"),
    "same": ({"result": {"same": "yes"}}, f"{PATH}.result.same"),
    "ordered": ({"result": {"ordered": 0}}, f"{PATH}.result.ordered"),
    "the type of a result": ({"result": {"type": "array"}}, f"{PATH}.result.type"),
    "the dtype of a result": ({"result": {"dtype": "nothing"}}, f"{PATH}.result.dtype"),
    "columns of a result": ({"result": {"columns": ["a", "a"]}}, f"{PATH}.result.columns[1]"),
    "an axis of a table as result": ({"result": {"axis": 1, **TABLE}}, f"{PATH}.result.axis is 1"),
    "names that are equal as texts": (
        {"result": {1: {"axis": 0}, "1": {"axis": 0}}},
        f"{PATH}.result has two names",
    ),
}


@pytest.mark.parametrize(("keys", "beginning"), REFUSED.values(), ids=REFUSED.keys())
def test_an_impossible_declaration_is_refused_with_the_path_of_the_key(
    keys: dict[str, Any], beginning: str
) -> None:
    message = refusal(**keys)
    assert message.startswith(beginning), message


def test_a_result_that_is_nested_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "nested deeper than 16 levels" in refusal(result=endless)


def test_a_signature_that_is_no_dict_is_refused() -> None:
    for raw in (None, True, ["batchable"], "batchable"):
        with pytest.raises(InvalidSignature, match="is a dict like"):
            MethodContract.declared("predict", raw)  # type: ignore[arg-type]


# --- what a method has --------------------------------------------------------------------------------------------

TAKES = Parameters(("x", "weights"), ("scale",), takes_more=False, takes_more_positions=False)


def test_an_argument_that_the_method_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidSignature) as caught:
        declared(arguments={"weigths": {"kind": "parameter", "dtype": "int64"}}).completed("predict", TAKES)
    assert caught.value.message == (
        f"{PATH}.arguments['weigths']: the method has no such argument, did you mean 'weights'?; "
        "it takes x, weights, scale"
    )
    with pytest.raises(InvalidSignature, match=r"\.parameters names 'alpha': the method has no such"):
        declared(parameters=["alpha"]).completed("predict", TAKES)


def test_arguments_by_position_and_by_name_are_the_methods_own() -> None:
    contract = declared(parameters=["weights", "scale"]).completed("predict", TAKES)
    assert (contract.names, contract.keywords, contract.takes_more) == (("x", "weights"), ("scale",), False)


def test_a_method_that_takes_anything_may_have_any_argument() -> None:
    contract = declared(parameters=["alpha"]).completed("predict", Parameters(("x",)))
    assert contract.arguments["alpha"].kind == "parameter"
