"""The contracts that are recorded when a model is saved: what its author says, its framework, and its example.

An example shows how results follow rows: it is called whole, in two parts, and with its first row alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vtsserving._contract.result_rows import Undecided, agrees_on_first_row, copied, observe
from vtsserving._model.contract import Argument, MethodContract
from vtsserving._model.parameters import Parameters
from vtsserving._model.result_form import ResultForm
from vtsserving._model.signature import ModelSignature
from vtsserving._saving.taking import Taking
from vtsserving._wire import rows
from vtsserving._wire.rows import Packed
from vtsserving.exceptions import BadShape, InvalidSignature, UnsupportedValue


def contract_of(
    method: str, raw: Mapping[str, Any] | ModelSignature, taking: Taking, parameters: Parameters
) -> MethodContract:
    """The contract of a method as far as its author and its framework know it.

    Args:
        method: its name.
        raw: its signature as the user wrote it.
        taking: of the framework.
        parameters: of the method.

    Raises:
        InvalidSignature: it says what the method cannot have; the message has the path of the key.
    """
    contract = MethodContract.declared(method, raw).completed(method, parameters)
    for name, argument in contract.arguments.items():
        if (argument.type == "table" or argument.columns) and not taking.tables:
            raise InvalidSignature(
                f"signatures[{method!r}].arguments[{name!r}].type is a table, but the method takes arrays"
            )
    return replace(
        contract,
        undescribed="parameter" if taking.one else "by_type",
        lists="arrays" if taking.arrays else "lists",
    )


def with_columns(contract: MethodContract, columns: Sequence[str]) -> MethodContract:
    """The same, knowing the names of the columns of the first argument, should it be a table."""
    if not columns or not contract.names:
        return contract
    first = contract.names[0]
    known = contract.arguments.get(first, Argument())
    if known.columns:
        return contract
    named = replace(known, columns=tuple({"name": name} for name in columns))
    return replace(
        contract, arguments={first: named, **{k: v for k, v in contract.arguments.items() if k != first}}
    )


def with_example(
    contract: MethodContract, method: str, args: Sequence[Any], call: Callable[..., Any]
) -> MethodContract:
    """The same, knowing how results follow rows, as far as an example shows it.

    Args:
        contract: of the method.
        method: its name.
        args: the example.
        call: calls the method; does not change the user's object.

    Returns:
        The contract with its result described; or not merged, with a warning, if its results follow no rows.

    Raises:
        InvalidSignature: an argument has no such axis as the contract says.
    """
    if contract.rule.axis is None:
        return contract
    try:
        packed = rows.pack_call(args, {}, contract.rule)
    except BadShape as error:
        raise InvalidSignature(
            f"signatures[{method!r}] does not fit the input example: {error.message}"
        ) from None
    if contract.result is not None or packed.rows < 2:
        return contract
    try:
        form = _seen(packed, call)
    except (Undecided, UnsupportedValue):
        return contract
    if form is not None:
        return replace(contract, result=form, result_source="example")
    warnings.warn(
        f"the results of {method!r} do not follow the rows of its arguments: with the input example, a call of all "
        "rows gives something else than calls of its parts. Its calls are computed one by one; save it with "
        f"signatures={{{method!r}: {{'batchable': False}}}} if that is right",
        UserWarning,
        stacklevel=5,
    )
    return replace(contract, merged=False)


def _seen(packed: Packed, call: Callable[..., Any]) -> ResultForm | None:
    """How the results of an example follow its rows; None: they do not."""

    def result(one: Packed) -> Any:
        args, kwargs = rows.unpack_call(one)
        return copied(call(*args, **kwargs))

    parts = rows.pieces(packed, (packed.rows + 1) // 2)
    try:
        whole = result(packed)
        separate = [result(part) for part in parts]
        form = observe(whole, separate, [part.rows for part in parts])
        if form is None or any(part.rows == 1 for part in parts):
            return form
        first = result(rows.pieces(packed, 1)[0])
    except (Undecided, UnsupportedValue):
        raise
    except Exception:  # a model that refuses a part of its own example cannot be merged
        return None
    return form if agrees_on_first_row(form, whole, first) else None
