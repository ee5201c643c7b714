"""Contracts as a gateway shows them: `/v1/models/{tag}`, `/openapi.json`, the inference protocol's metadata."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from openapi_spec_validator import validate

from support.backend import entry
from support.served_gateway import ServedGateway, get, post, served
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_record import write_contracts
from vtsserving._model.parameters import Parameters

TAKES = Parameters(("x", "weights", "labels"), ("scale",), takes_more=False)
SPECS = [{"name": name, "dtype": "float32", "shape": [-1, 2]} for name in ("x", "weights")]


def with_contract(name: str, specs: Any = None, **keys: Any) -> CatalogEntry:
    declared = MethodContract.declared("predict", {"batchable": True, **keys}).completed("predict", TAKES)
    record = write_contracts({"predict": declared})["contract"]
    return replace(entry(name, input_specs=specs or {}), contract_record=record)


DESCRIBED = {
    "parameters": ["weights"],
    "arguments": {
        "labels": {"type": "texts", "kind": "parameter"},
        "scale": {"dtype": "float64", "shape": [], "kind": "parameter"},
    },
    "result": {"sums": {"axis": 0}, "classes": {"same": True}},
}
LATER = {"number": 2, "methods": {"predict": {"batchable": "maybe"}}}

ENTRIES = [
    with_contract("described", **DESCRIBED),
    with_contract("recorded", {"predict": {"args": SPECS}}, parameters=["weights"]),
    with_contract("tensors", arguments={"x": {"axis": 0, "dtype": "int64", "shape": [-1, 3]}}),
    entry("old", input_specs={"predict": {"args": SPECS}}),
    replace(entry("later"), contract_record=LATER),
]


@pytest.fixture(scope="module")
def gateway() -> Iterator[ServedGateway]:
    with served(ENTRIES, {("tensors", "predict"): lambda x: x.sum(axis=1)}) as running:
        yield running


def test_a_described_model_has_the_contracts_of_its_methods(gateway: ServedGateway) -> None:
    shown = gateway.ask(get("/v1/models/described")).json["contracts"]
    assert list(shown) == ["predict"]
    contract = shown["predict"]
    assert contract["positional"] == ["x", "weights", "labels"]
    assert contract["keywords"] == ["scale"]
    assert contract["arguments"]["weights"] == {"kind": "parameter"}
    assert contract["arguments"]["labels"] == {"kind": "parameter", "type": "texts"}
    assert contract["result"] == {"dict": {"sums": {"axis": 0}, "classes": {"same": True}}}
    assert contract["undescribed"] == "by_type"


def test_a_model_of_0_1_shows_the_rule_of_0_1(gateway: ServedGateway) -> None:
    shown = gateway.ask(get("/v1/models/old")).json["contracts"]["predict"]
    assert (shown["undescribed"], shown["lists"]) == ("every_array_and_list", "arrays_if_uniform")


def operation(gateway: ServedGateway, model: str) -> dict[str, Any]:
    document = gateway.ask(get("/openapi.json")).json
    validate(document)
    found: dict[str, Any] = document["paths"][f"/v1/models/{model}/predict"]["post"]
    return found


def test_the_documentation_says_of_each_argument_what_it_is(gateway: ServedGateway) -> None:
    described = operation(gateway, "described")["description"].splitlines()
    assert described == [
        "x: rows along axis 0 if it is an array, a table or a list, else a parameter",
        "weights: parameter",
        "labels: parameter; texts",
        "scale: parameter; tensor float64 []",
        "result['sums']: rows along axis 0",
        "result['classes']: the same for everybody",
        "How results follow rows was said by its author.",
    ]
    content = operation(gateway, "recorded")["requestBody"]["content"]["application/json"]
    by_name = content["schema"]["properties"]["kwargs"]["properties"]
    assert by_name["weights"]["description"] == "Parameter."
    assert by_name["x"]["description"] == "Rows along axis 0."
    by_type = {"description": "Rows along axis 0 if it is an array or a table, else a parameter."}
    assert by_name["labels"] == by_name["scale"] == by_type
    in_order = content["schema"]["properties"]["args"]["prefixItems"]
    assert in_order == [by_name["x"], by_name["weights"], by_name["labels"]]


def test_the_documentation_of_a_model_of_0_1_says_by_which_rule_it_is_served(gateway: ServedGateway) -> None:
    assert operation(gateway, "old")["description"].startswith("Saved by release 0.1, without a contract")


METADATA = {
    "recorded": [
        {"name": "x", "datatype": "FP32", "shape": [-1, 2], "parameters": {"kind": "rows"}},
        {"name": "weights", "datatype": "FP32", "shape": [-1, 2], "parameters": {"kind": "parameter"}},
    ],
    "described": [
        {"name": "labels", "datatype": "BYTES", "shape": [-1], "parameters": {"kind": "parameter"}},
        {"name": "scale", "datatype": "FP64", "shape": [], "parameters": {"kind": "parameter"}},
    ],
    "tensors": [{"name": "x", "datatype": "INT64", "shape": [-1, 3], "parameters": {"kind": "rows"}}],
    "old": [
        {"name": "x", "datatype": "FP32", "shape": [-1, 2], "parameters": {"kind": "rows"}},
        {"name": "weights", "datatype": "FP32", "shape": [-1, 2], "parameters": {"kind": "rows"}},
    ],
}


@pytest.mark.parametrize("model", METADATA)
def test_the_metadata_has_the_arguments_in_their_order_and_what_they_are(
    gateway: ServedGateway, model: str
) -> None:
    assert gateway.ask(get(f"/v2/models/{model}")).json["inputs"] == METADATA[model]
    configured = gateway.ask(get(f"/v2/models/{model}/config")).json["input"]
    assert [one["name"] for one in configured] == [one["name"] for one in METADATA[model]]


def test_the_sizes_of_a_parameter_are_shown_whole_in_the_configuration(gateway: ServedGateway) -> None:
    configured = gateway.ask(get("/v2/models/recorded/config")).json
    assert configured["max_batch_size"] > 0
    assert [one["dims"] for one in configured["input"]] == [[2], [-1, 2]]


def test_a_contract_of_a_later_release_cannot_be_called_and_disturbs_nobody(gateway: ServedGateway) -> None:
    for request in (
        post(b"[[1.0]]", "/v1/models/later/predict"),
        post(b"[[1.0]]", "/v1/models/later"),
        post(b'{"inputs": []}', "/v2/models/later/infer"),
        get("/v2/models/later"),
        get("/v2/models/later/config"),
    ):
        answer = gateway.ask(request)
        assert answer.status == 501, answer
        assert "later release" in str(answer.json["error"])
    shown = gateway.ask(get("/v1/models/later"))
    assert (shown.status, shown.json["contracts"]) == (200, None)
    assert "contracts of number 2" in shown.json["reason"]
    assert "later" in [one["name"] for one in gateway.ask(get("/v1/models")).json["models"]]
    assert "/v1/models/later/predict" not in gateway.ask(get("/openapi.json")).json["paths"]
    answer = gateway.ask(post(b"[[1, 2, 3]]", "/v1/models/tensors/predict"))
    assert (answer.status, answer.json) == (200, [6])
