"""Signatures and options: what is read, what is refused, what model.yaml shows."""

from __future__ import annotations

from typing import Any

import pytest

from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import ModelSignature, read_signatures
from vtsserving.exceptions import InvalidArgument, InvalidSignature

pytestmark = pytest.mark.fast


def test_the_defaults_are_not_batchable_along_the_first_dimension() -> None:
    assert ModelSignature.from_dict({}) == ModelSignature(False, (0, 0))
    assert ModelSignature().to_dict() == {"batchable": False}


def test_one_batch_dim_counts_for_inputs_and_outputs() -> None:
    signature = ModelSignature.from_dict({"batchable": True, "batch_dim": 1})
    assert signature.batch_dim == (1, 1)
    assert signature.to_dict() == {"batchable": True, "batch_dim": 1}


def test_a_pair_is_input_and_output() -> None:
    signature = ModelSignature.from_dict({"batchable": True, "batch_dim": (1, 0)})
    assert signature.to_dict() == {"batchable": True, "batch_dim": [1, 0]}
    assert ModelSignature.from_dict(signature.to_dict()) == signature


@pytest.mark.parametrize(
    "raw",
    [
        {"batch_dim": (0, 0, 0)},
        {"batch_dim": -1},
        {"batch_dim": (0, -1)},
        {"batch_dim": 32},
        {"batch_dim": True},
        {"batch_dim": "0"},
        {"batch_dim": None},
        {"batchable": 1},
        {"batchable": "yes"},
        {"batchabel": True},
        ["batchable"],
        True,
    ],
    ids=repr,
)
def test_an_impossible_signature_is_refused_with_an_error_that_is_a_value_error(raw: Any) -> None:
    with pytest.raises(InvalidSignature) as caught:
        read_signatures({"predict": raw})
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "name", ["", "a b", "1a", "_x", "__init__", "__class__", "class", "pr\u00e4dict", 5, None]
)
def test_only_public_method_names_and_call_are_signatures(name: Any) -> None:
    with pytest.raises(InvalidSignature):
        read_signatures({name: {}})
    assert list(read_signatures({"__call__": {}, "predict": {}})) == ["__call__", "predict"]


def test_only_options_that_differ_from_the_defaults_are_stored() -> None:
    options = ModelOptions.from_dict({"max_batch_size": 64, "timeout_s": 5, "device": ["cpu", "cuda:0"]})
    assert options.to_dict() == {"timeout_s": 5, "device": ["cpu", "cuda:0"]}
    assert ModelOptions.from_dict(options.to_dict()) == options
    assert ModelOptions().to_dict() == {}


@pytest.mark.parametrize(
    "raw",
    [
        {"max_batch_size": 0},
        {"max_batch_size": 1.5},
        {"max_batch_size": True},
        {"replicas": None},
        {"threads": -1},
        {"max_wait_ms": -1},
        {"max_wait_ms": float("nan")},
        {"timeout_s": 0},
        {"timeout_s": float("inf")},
        {"device": ""},
        {"device": []},
        {"device": [1.5]},
        {"max_batch": 1},
        [],
    ],
    ids=repr,
)
def test_an_impossible_option_is_refused(raw: Any) -> None:
    with pytest.raises(InvalidArgument):
        ModelOptions.from_dict(raw)


def test_an_option_of_a_newer_version_is_left_out_when_a_model_is_read() -> None:
    assert ModelOptions.from_dict({"warp": 9, "replicas": 2}, strict=False) == ModelOptions(replicas=2)
