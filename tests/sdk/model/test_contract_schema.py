"""docs/contract.schema.json and the code are of one mind: the same keys, the same values, the same contracts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from support.source_tree import REPOSITORY
from vtsserving._model import argument, contract, contract_record, described, result_form
from vtsserving._model.contract import MethodContract
from vtsserving._model.parameters import Parameters
from vtsserving._model.signature import MAX_DIM
from vtsserving.exceptions import InvalidSignature

pytestmark = pytest.mark.fast

SCHEMA = json.loads((REPOSITORY / "docs/contract.schema.json").read_text())
PARTS = SCHEMA["$defs"]


def validator(part: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{part}", "$defs": PARTS})


SIGNATURE, RECORD = validator("signature"), validator("record")


def keys(part: str) -> set[str]:
    return set(PARTS[part]["properties"])


# --- the same keys and values -------------------------------------------------------------------------------------


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_key_that_the_code_reads_is_in_the_schema_and_no_other() -> None:
    assert keys("signature") == {*contract.PLAIN, *contract.DECLARED}
    assert keys("method") == {*contract.PLAIN, *contract.DECLARED, *contract.RECORDED} - {"parameters"}
    assert keys("argument") == set(argument.ARGUMENT)
    assert keys("leaf") == set(result_form.LEAF)
    assert keys("column") == set(described.COLUMN)
    assert PARTS["result"]["anyOf"][2]["required"] == [result_form.DICT]
    not_names = PARTS["result"]["anyOf"][3]["allOf"][1]["not"]["propertyNames"]["enum"]
    assert not_names == list(result_form.LEAF)


def test_every_value_that_the_code_knows_is_in_the_schema_and_no_other() -> None:
    def listed(part: str, key: str) -> tuple[Any, ...]:
        return tuple(PARTS[part]["properties"][key]["enum"])

    assert listed("argument", "kind") == argument.KINDS
    assert listed("argument", "extra_columns") == argument.EXTRA_COLUMNS
    assert tuple(PARTS["type"]["enum"]) == described.TYPES
    assert listed("method", "undescribed") == contract.UNDESCRIBED
    assert listed("method", "lists") == contract.LISTS
    assert listed("method", "result_source") == contract.SOURCES
    assert PARTS["batchable"]["enum"] == [True, False, contract.UNCHECKED]
    assert PARTS["deterministic"]["enum"] == [True, False, contract.TOLERANT]
    assert (PARTS["axis"]["maximum"], PARTS["shape"]["maxItems"]) == (MAX_DIM, MAX_DIM + 1)
    assert PARTS["record"]["properties"]["number"]["const"] == contract_record.NUMBER


# --- the same contracts -------------------------------------------------------------------------------------------

NAMES = ("x", "weights", "labels", "scale")
AXES = st.integers(0, MAX_DIM)
FLAGS = st.booleans()
COLUMN_NAMES = st.one_of(st.text(max_size=5), st.integers(-5, 5))


def some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def columns() -> st.SearchStrategy[list[Any]]:
    described_column = some(
        {"name": COLUMN_NAMES},
        {
            "dtype": st.sampled_from(["float64", "category", "Int64", "datetime64[ns, UTC]"]),
            "nullable": FLAGS,
            "categories": st.lists(st.one_of(st.text(max_size=3), st.integers()), unique=True, max_size=4),
        },
    )
    return st.lists(
        st.one_of(COLUMN_NAMES, described_column),
        min_size=1,
        max_size=4,
        unique_by=lambda one: repr(one["name"] if isinstance(one, dict) else one),
    )


TENSOR = some(
    {"type": st.just("tensor")},
    {
        "dtype": st.sampled_from(["float32", "int64", "bool", "str", "bfloat16"]),
        "shape": st.lists(st.integers(-1, 9), min_size=3, max_size=4),
    },
)
TABLE = some({"type": st.just("table")}, {"columns": columns()})
OTHER = some({}, {"type": st.sampled_from(["texts", "bytes", "any"])})


@st.composite
def values(draw: st.DrawFn, *, rows: bool) -> dict[str, Any]:
    """A type and what belongs to it, with an axis that it can have."""
    value = draw(st.one_of(TENSOR, TABLE, OTHER))
    if rows and draw(FLAGS):
        value["axis"] = draw(st.integers(0, 2)) if value.get("type") in ("tensor", "any") else 0
    return value


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["rows", "parameter", None]))
    found = draw(values(rows=kind == "rows"))
    if kind is not None:
        found["kind"] = kind
    if "columns" in found and draw(FLAGS):
        found["extra_columns"] = draw(st.sampled_from(["error", "ignore"]))
    return found


@st.composite
def leaves(draw: st.DrawFn) -> dict[str, Any]:
    is_same = draw(FLAGS)
    found = draw(values(rows=not is_same))
    return {**found, **({"same": True} if is_same else draw(some({}, {"ordered": FLAGS})))}


RESULTS: st.SearchStrategy[Any] = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.dictionaries(st.sampled_from(["scores", "boxes", "x"]), inner, min_size=1, max_size=3),
        st.dictionaries(st.sampled_from(["axis", "dict", "scores"]), inner, min_size=1).map(
            lambda parts: {"dict": parts}
        ),
    ),
    max_leaves=6,
)


@st.composite
def signatures(draw: st.DrawFn) -> dict[str, Any]:
    """Signatures that a method of the parameters NAMES can have, as JSON writes them."""
    found = draw(
        some(
            {},
            {
                "batchable": st.sampled_from([True, False, "unchecked"]),
                "deterministic": st.sampled_from([True, False, "tolerant"]),
                "arguments": st.dictionaries(st.sampled_from(NAMES[:2]), arguments()),
                "parameters": st.lists(st.sampled_from(NAMES[2:])),
                "result": RESULTS,
            },
        )
    )
    # Tables and texts have their rows along axis 0, whatever the method's other arguments have.
    text = json.dumps(found)
    if not any(f'"{kind}"' in text for kind in ("table", "texts", "bytes")) and draw(FLAGS):
        found["batch_dim"] = draw(
            st.one_of(st.integers(0, 2), st.lists(st.integers(0, 2), min_size=2, max_size=2))
        )
    return found


@given(signatures())
def test_a_contract_that_fits_is_one_by_the_schema_and_comes_back_from_its_record(
    raw: dict[str, Any],
) -> None:
    SIGNATURE.validate(raw)
    takes = Parameters(NAMES, ("more",), takes_more=False)
    found = MethodContract.declared("predict", raw).completed("predict", takes)
    event(f"result: {type(raw.get('result')).__name__}")
    record = json.loads(json.dumps(contract_record.write_contracts({"predict": found})))["contract"]
    RECORD.validate(record)
    assert MethodContract.from_dict(record["methods"]["predict"]) == found


def test_a_trial_that_left_calls_unmerged_is_recorded_by_the_schema() -> None:
    import dataclasses

    declared = MethodContract.declared("predict", {"batchable": True})
    seen = dataclasses.replace(declared, merged=False, undescribed="parameter", lists="arrays")
    RECORD.validate(contract_record.write_contracts({"predict": seen})["contract"])
    assert MethodContract.from_dict(seen.to_dict()) == seen


ANYTHING = st.recursive(
    st.one_of(FLAGS, st.integers(-2, 40), st.floats(allow_nan=False), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key in a value."""
    found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(found):
        yield value, key
        yield from places(item)


@given(signatures(), st.data())
def test_what_the_schema_refuses_is_refused_by_the_code(raw: dict[str, Any], data: st.DataObject) -> None:
    changed = json.loads(json.dumps(raw))
    found = list(places(changed))
    if found and data.draw(FLAGS):
        container, key = data.draw(st.sampled_from(found))
        container[key] = data.draw(ANYTHING)
    else:
        every = sorted({*keys("signature"), *keys("argument"), *keys("leaf"), "other"})
        dicts = [changed, *(c[k] for c, k in found if isinstance(c[k], dict))]
        data.draw(st.sampled_from(dicts))[data.draw(st.sampled_from(every))] = data.draw(ANYTHING)
    is_valid = SIGNATURE.is_valid(changed)
    event(f"valid: {is_valid}")
    if is_valid:
        return
    with pytest.raises(InvalidSignature):
        MethodContract.declared("predict", changed)
