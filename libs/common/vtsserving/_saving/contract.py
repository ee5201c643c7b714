"""The contracts that are recorded when a model is saved: what its author says, its framework, and its example.

An example shows how results follow rows: it is called whole, in two parts, and with its first row alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vtsserving._codecs.columns import Column
from vtsserving._contract.result_rows import Undecided, copied, mark
from vtsserving._contract.seen_results import form_in_parts
from vtsserving._model.argument import NOT_DESCRIBED
from vtsserving._model.contract import MethodContract
from vtsserving._model.parameters import Parameters, parameters_of
from vtsserving._model.result_form import ResultForm
from vtsserving._model.signature import ModelSignature, method_of
from vtsserving._saving.taking import Taking
from vtsserving._saving.trial import GivenModel
from vtsserving._wire import rows
from vtsserving._wire.rows import Packed
from vtsserving.exceptions import BadModelOutput, BadShape, InvalidSignature, UnsupportedValue


def contracts_of(
    described: Mapping[str, Mapping[str, Any] | ModelSignature],
    taking: Taking,
    parameters: Callable[[Any, str], Parameters] | None,
    served: Any,
    columns: Sequence[str] = (),
) -> dict[str, MethodContract]:
    """The contracts of a model's methods as far as their author and the framework know them.

    Args:
        described: the signatures as the user wrote them.
        taking: of the framework.
        parameters: of a method of the object, where Python cannot say.
        served: the object that has the methods.
        columns: names of the columns that a table has, where the framework knows them.

    Raises:
        InvalidSignature: a signature says what its method cannot have; the message has the path of the key.
    """
    found = {}
    for method, raw in described.items():
        has = parameters(served, method) if parameters else parameters_of(method_of(served, method))
        found[method] = with_columns(contract_of(method, raw, taking, has), method, columns)
    return found


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
        is_said = argument.type in ("table", "series")
        if (is_said or argument.columns) and not taking.tables:
            path = f"signatures[{method!r}].arguments[{name!r}].{'type' if is_said else 'columns'}"
            raise InvalidSignature(
                f"{path} says that it is a {argument.type or 'table'}, but the method takes arrays"
            )
        _check_categories(argument.columns, f"signatures[{method!r}].arguments[{name!r}].columns")
    return replace(
        contract,
        undescribed="parameter" if taking.one else "by_type",
        lists="arrays" if taking.arrays else "lists",
    )


def _check_categories(columns: Sequence[Mapping[str, Any]], path: str) -> None:
    """Check that categories are values of the dtype that their author says."""
    for at, column in enumerate(columns):
        if not column.get("categories_dtype"):
            continue
        try:
            Column.of(column).target  # noqa: B018  it is made of the categories here
        except Exception as error:  # dtypes of other packages raise whatever they like
            said = f"{path}[{at}].categories_dtype is {column['categories_dtype']!r:.60}"
            raise InvalidSignature(f"{said}, which does not fit the categories: {str(error)[:160]}") from None


def with_columns(contract: MethodContract, method: str, columns: Sequence[str]) -> MethodContract:
    """The same, knowing the names of the columns of the first argument, should it be a table.

    Args:
        contract: of the method.
        method: its name.
        columns: what the framework knows; empty: nothing.

    Raises:
        InvalidSignature: `extra_columns` is said of a table whose columns nobody knows.
    """
    arguments = dict(contract.arguments)
    first = contract.names[0] if contract.names else ""
    known = arguments.get(first, NOT_DESCRIBED)
    is_table = known.type in ("", "table") and not known.axis and not contract.batch_dim[0]
    if columns and first and is_table and not known.columns:
        arguments = {first: known, **arguments}
        arguments[first] = replace(known, columns=tuple({"name": name} for name in columns))
    for name, argument in arguments.items():
        if argument.extra_columns and not argument.columns:
            raise InvalidSignature(
                f"signatures[{method!r}].arguments[{name!r}].extra_columns needs `columns`: without them, "
                "none is one too many"
            )
    return replace(contract, arguments=arguments)


def with_example(contracts: Mapping[str, MethodContract], given: GivenModel) -> dict[str, MethodContract]:
    """The same, knowing how results follow rows, as far as the example shows it.

    Args:
        contracts: by method.
        given: the model, its example, and its answers to that.

    Returns:
        Contracts with their results described; or not merged, with a warning, if the results follow no rows.

    Raises:
        InvalidSignature: an argument or a result has no such axis as its contract says.
    """
    if given.example is None:
        return dict(contracts)
    return {method: _with_example(contract, method, given) for method, contract in contracts.items()}


def _with_example(contract: MethodContract, method: str, given: GivenModel) -> MethodContract:
    assert given.example is not None
    if contract.rule.axis is None:
        return contract
    try:
        packed = rows.pack_call(given.example.args(), {}, contract.rule)
    except BadShape as error:
        raise InvalidSignature(
            f"signatures[{method!r}] does not fit the input example: {error.message}"
        ) from None
    if contract.result is not None:
        _check_result(contract.result, method, given, packed)
        return contract
    if packed.rows < 2:
        return contract
    why = "a call of all rows gives something else than calls of its parts"
    try:
        form = _seen(packed, method_of(given.served, method))
    except (Undecided, UnsupportedValue):
        return contract
    except Exception as error:  # a model that refuses a part of its own example cannot be merged
        form = None
        why = (
            f"a call of some of its rows raises {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        )
    if form is not None:
        shown = len(given.example.args())
        return replace(contract, result=form, result_source="example", example_arguments=shown)
    warnings.warn(
        f"the results of {method!r} do not follow the rows of its arguments: with the input example, {why}. Its calls "
        f"are computed one by one; save it with signatures={{{method!r}: {{'batchable': False}}}} if that is right",
        UserWarning,
        stacklevel=5,
    )
    return replace(contract, merged=False)


def _check_result(form: ResultForm, method: str, given: GivenModel, packed: Packed) -> None:
    """Refuse a declared result that is not what the method gives for the example."""
    if not packed.rows or method not in given.results:
        return
    try:
        mark(given.results[method], form, packed.rows, [], f"signatures[{method!r}].result")
    except BadModelOutput as error:
        raise InvalidSignature(f"{error.message}, with the input example") from None


def _seen(packed: Packed, call: Callable[..., Any]) -> ResultForm | None:
    """How the results of an example follow its rows; None: they do not. Raises what the method raises for a part."""

    def result(one: Packed) -> Any:
        args, kwargs = rows.unpack_call(one)
        return copied(call(*args, **kwargs))

    return form_in_parts(packed, result(packed), result)
