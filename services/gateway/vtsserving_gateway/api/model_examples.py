"""The example of a call that the documentation shows: of that very method, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vtsserving._codecs.json_arrays import ArraySpec
from vtsserving._model.argument import NOT_DESCRIBED
from vtsserving_gateway.predict.decode import Target

MAX_ITEMS: Final = 64
"""Most numbers of an example that nobody gave."""

TEXT: Final = "a text of your own"
"""Shown where a model takes any text."""

_ZEROS: Final = {"b": False, "i": 0, "u": 0, "f": 0.0}
_COLUMNS: Final = (
    (("float", "Float"), 0.0),
    (("int", "uint", "Int", "UInt"), 0),
    (("bool",), False),
    (("datetime64",), "2024-05-01T12:30:00"),
    (("timedelta64",), "P1DT2H"),
    (("date",), "2024-05-01"),
    (("time",), "12:30:00"),
    (("decimal",), "0"),
)
"""Beginning of a dtype's name to a value; texts have none, since a model may know only some."""


def example_call(target: Target) -> list[Any] | None:
    """The positional arguments of a call that the method answers, as JSON values.

    Args:
        target: the method.

    Returns:
        Those of the input example, else what is recorded of each argument that a call must have; None where that
        does not say enough.
    """
    entry = target.entry
    if entry.input_example:
        return list(entry.input_example)
    if entry.output_specs and entry.contract_record is not None:
        return None  # it was saved with an example, of which JSON has no form that is answered
    contract, arguments = target.method.contract, target.arguments
    if not set(contract.required) <= set(contract.names):
        return None  # it takes an argument by name alone, of which nothing is recorded
    needed = [contract.names.index(name) + 1 for name in contract.required]
    shown = []
    for at in range(max(1, len(arguments.specs), *needed)):
        name = contract.names[at] if at < len(contract.names) else ""
        spec, columns = arguments.spec(at), contract.arguments.get(name, NOT_DESCRIBED).columns
        is_table = arguments.table(at) is not None
        value = None
        if is_table and columns:
            value = _of_columns(columns)
        elif spec is not None:
            value = [TEXT] if _splits_texts(target, at) else _of_array(spec)
        if value is None:
            return None
        shown.append(value)
    return shown


def _splits_texts(target: Target, at: int) -> bool:
    """Whether a framework says that an argument is texts of any words: a model of categories would know only some."""
    recorded = (target.entry.input_specs.get(target.method.name) or {}).get("args", ())
    return at < len(recorded) and recorded[at].get("dtype") == "str"


def body_of(arguments: Sequence[Any]) -> Any:
    """The JSON body of a call with some positional arguments."""
    return (
        arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else {"args": list(arguments)}
    )


def _of_array(spec: ArraySpec) -> Any:
    """One row of zeros; None for texts, where several sizes are not known, and where many numbers would be shown."""
    if list(spec.shape).count(-1) > 1 or spec.dtype.kind not in _ZEROS:
        return None
    value: Any = _ZEROS[spec.dtype.kind]
    items = 1
    for size in reversed(spec.shape):
        count = 1 if size < 0 else size
        items *= count
        if items > MAX_ITEMS:
            return None
        value = [value] * count
    return value


def _of_columns(columns: Sequence[Mapping[str, Any]]) -> Any:
    """One record, or a row where names do not tell the columns apart; None where a column may hold anything."""
    row = [_cell(column) for column in columns]
    if any(cell is None for cell in row):
        return None
    names = [str(column["name"]) for column in columns]
    return [dict(zip(names, row, strict=True)) if len(set(names)) == len(names) else row]


def _cell(column: Mapping[str, Any]) -> Any:
    if column.get("categories"):
        return column["categories"][0]
    dtype = column.get("dtype", "")
    found = next((value for beginnings, value in _COLUMNS if dtype.startswith(beginnings)), None)
    return f"{found}+00:00" if dtype.startswith("datetime64") and "," in dtype else found
