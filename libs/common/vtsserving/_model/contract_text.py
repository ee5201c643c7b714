"""Contracts in words, as the pages of the store, the documentation of a gateway and its metadata show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from vtsserving._model.argument import NOT_DESCRIBED, Argument, Kind
from vtsserving._model.contract import MethodContract
from vtsserving._model.result_form import ResultForm

RULE_OF_0_1: Final = (
    "Saved by release 0.1, without a contract: it is served by the rule of 0.1, by which every array and every list in "
    "a call is rows, and lists become arrays where they can."
)

MAX_NAMED: Final = 20
"""Most columns of a table that are named."""


class ArgumentText(NamedTuple):
    """One argument in words.

    Attributes:
        name: of the argument.
        kind: whether it is rows, and along which axis, or a parameter; empty where calls are not merged.
        type: what is said of its values; empty where nothing is.
    """

    name: str
    kind: str
    type: str


class ResultText(NamedTuple):
    """One part of a result in words.

    Attributes:
        part: where it stands in the result, for example `result[0]`.
        rows: how it follows the rows of the arguments.
        type: what is said of its values; empty where nothing is.
    """

    part: str
    rows: str
    type: str


def kind_of_array(contract: MethodContract, name: str, at: int) -> Kind:
    """What an argument is when it is an array.

    Args:
        contract: of the method.
        name: of the argument.
        at: its position; -1 for one that is taken by name only.
    """
    described = contract.arguments.get(name, NOT_DESCRIBED).kind
    if described is not None:
        return described
    return "parameter" if contract.undescribed == "parameter" and at else "rows"


def array_text(contract: MethodContract, name: str, at: int) -> str:
    """As `kind_text`, of an argument that is an array."""
    if contract.rule_axis is None or kind_of_array(contract, name, at) == "parameter":
        return kind_text(contract, name, at)
    return kind_text(contract, name, at).partition(" if it is")[0]


def argument_texts(contract: MethodContract) -> list[ArgumentText]:
    """The arguments of a method, in the order of its parameters, then those that are taken by name."""
    names = dict.fromkeys((*contract.names, *contract.keywords, *contract.arguments))
    positions = {name: at for at, name in enumerate(contract.names)}
    return [
        ArgumentText(
            name,
            kind_text(contract, name, positions.get(name, -1)),
            type_text(_value(contract.arguments.get(name, NOT_DESCRIBED))),
        )
        for name in names
    ]


def kind_text(contract: MethodContract, name: str, at: int) -> str:
    """Whether an argument is rows or a parameter; arguments as of `kind_of_array`."""
    if contract.rule_axis is None:
        return ""
    described = contract.arguments.get(name, NOT_DESCRIBED)
    rows = f"rows along axis {contract.rule_axis if described.axis is None else described.axis}"
    if kind_of_array(contract, name, at) == "parameter":
        return "parameter"
    if described.kind == "rows" or contract.undescribed == "parameter":
        return rows
    if contract.undescribed == "every_array_and_list":
        return f"{rows} if it is an array or a list, else a parameter"
    lists = ", a table or a list" if at == 0 and not contract.rule_axis else " or a table"
    return f"{rows} if it is an array{lists}, else a parameter"


def result_texts(contract: MethodContract) -> list[ResultText]:
    """The parts of a method's result; empty where nobody described it."""
    return [] if contract.result is None else list(_parts(contract.result, "result"))


def result_source(contract: MethodContract) -> str:
    """Where the description of the result comes from, or what happens without one."""
    if not contract.batchable:
        return "Its calls are not merged."
    if not contract.merged:
        return "Its results did not follow the rows of the input example: its calls are computed one by one."
    if contract.result is None:
        return "How results follow rows is seen in the first batch of each kind of call."
    if not contract.result.follows_rows:
        return "Its results do not follow rows: its calls are computed one by one."
    seen = {"example": "was seen with the input example", "framework": "is known from its framework"}
    return f"How results follow rows {seen.get(contract.result_source, 'was said by its author')}."


def type_text(value: Mapping[str, Any]) -> str:
    """Type, dtype, shape and columns of a described value, for example `tensor float32 [-1, 4]`."""
    words = [str(value["type"])] if value.get("type") else []
    words += [str(value["dtype"])] if value.get("dtype") else []
    words += [str(list(value["shape"]))] if value.get("shape") is not None else []
    columns = value.get("columns") or ()
    if columns:
        named = ", ".join(str(column["name"]) for column in columns[:MAX_NAMED])
        more = f" and {len(columns) - MAX_NAMED} more" if len(columns) > MAX_NAMED else ""
        words = [*(words or ["table, if it is one,"]), f"with the columns {named}{more}"]
    if value.get("extra_columns"):
        words.append(f"(other columns: {value['extra_columns']})")
    return " ".join(words)


def _value(argument: Argument) -> dict[str, Any]:
    return {key: value for key, value in argument.to_dict().items() if key not in ("kind", "axis")}


def _parts(form: ResultForm, where: str) -> Iterator[ResultText]:
    if form.items is not None:
        for at, item in enumerate(form.items):
            yield from _parts(item, f"{where}[{at}]")
    elif form.named is not None:
        for name, part in form.named.items():
            yield from _parts(part, f"{where}[{name!r}]")
    else:
        order = "" if form.ordered else ", in an order of its own"
        rows = "the same for everybody" if form.axis is None else f"rows along axis {form.axis}{order}"
        yield ResultText(where, rows, type_text(form.described or {}))
