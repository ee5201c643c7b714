"""The inputs of a method as the Open Inference Protocol's metadata shows them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vtsserving._codecs.columns import Column
from vtsserving._codecs.json_arrays import ArraySpec
from vtsserving._model.argument import NOT_DESCRIBED, Kind
from vtsserving._model.contract_text import kind_of_array
from vtsserving_gateway.predict.decode import Target


class Input(NamedTuple):
    """One input.

    Attributes:
        spec: its name, dtype and shape.
        kind: whether it is rows or a parameter.
    """

    spec: ArraySpec
    kind: Kind


def inputs_of(target: Target) -> list[Input]:
    """The inputs of which dtype and shape are known, in the order of the arguments; a table has its columns.

    None where a call must name one of several methods.
    """
    if not target.is_default:
        return []
    contract = target.method.contract
    table = target.arguments.table(0)
    if table is not None and table.goes_by_position:
        return []  # inputs go by name
    if table is not None and table.columns and contract.names:
        kind = kind_of_array(contract, contract.names[0], 0)
        return [
            Input(ArraySpec(str(column.name), _dtype_of(column), (-1,)), kind) for column in table.columns
        ]
    specs = target.inputs
    if specs is None:
        named = [*contract.names, *contract.keywords]
        found = [_spec(target, name, at) for at, name in enumerate(named)]
        specs = [spec for spec in found if spec is not None]
    positions = {name: at for at, name in enumerate(contract.names or [spec.name for spec in specs])}
    return [Input(spec, kind_of_array(contract, spec.name, positions.get(spec.name, -1))) for spec in specs]


def outputs_of(target: Target) -> list[ArraySpec]:
    """The recorded outputs; none of several methods."""
    return target.outputs if target.is_default else []


def _dtype_of(column: Column) -> np.dtype[Any]:
    """The dtype in which the protocol has a column: numbers as they are, everything else as text."""
    found = getattr(column.target, "numpy_dtype", column.target)
    is_number = isinstance(found, np.dtype) and found.kind in "biuf"
    return found if is_number else np.dtype("U")


def _spec(target: Target, name: str, at: int) -> ArraySpec | None:
    """What is recorded of an argument, or else what its contract says."""
    arguments = target.arguments
    recorded = arguments.spec(at) if at < len(arguments.contract.names) else None
    if recorded is not None:
        return recorded._replace(name=name)
    described = arguments.contract.arguments.get(name, NOT_DESCRIBED)
    if arguments.kind_of_items(at if at < len(arguments.contract.names) else -1, name) == "texts":
        return ArraySpec.parse({"name": name, "dtype": "str", "shape": [-1]})
    return ArraySpec.parse({"name": name, "dtype": described.dtype, "shape": described.shape})
