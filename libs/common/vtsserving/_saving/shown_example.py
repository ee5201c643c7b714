"""The input example as documentation shows it: JSON that, sent as it stands, is a call that the model answers.

JSON says less than the values of a call: bytes and texts look alike there. So an example is shown only where what it
is read as equals what was given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from vtsserving._model.contract import MethodContract

MAX_SHOWN_BYTES: Final = 2_048
"""Largest example, as JSON, that the record of a model itself holds, for documentation."""

Args = tuple[Any, ...]
Axes = Mapping[int, int]
"""Position to axis, of the arguments that are rows."""


def shown_example(
    args: Args,
    contracts: Mapping[str, MethodContract],
    specs: Mapping[str, Any],
    axes: Mapping[str, Axes],
    answers: Callable[[str, Args], bool],
) -> list[Any]:
    """The arguments of one call as JSON values: one row where rows are independent, else all of them.

    Args:
        args: of the input example.
        contracts: by method.
        specs: the input specs that are recorded, by method.
        axes: along which the rows of the arguments lie, by method.
        answers: whether a method answers other arguments than these.

    Returns:
        Empty where no method is called, or the example has no short form in JSON that means the same.
    """
    for candidate in _candidates(args, contracts, axes, answers):
        shown = _as_json(candidate)
        if shown and all(_is_read(shown, candidate, contracts[name], specs.get(name)) for name in contracts):
            return shown
    return []


def has_json(results: Mapping[str, Any]) -> bool:
    """Whether what each method returned can be answered in JSON."""
    from vtsserving._codecs.json_write import to_json
    from vtsserving.exceptions import VtsServingException

    try:
        return all(to_json(result) for result in results.values())
    except VtsServingException:
        return False


def _candidates(
    args: Args,
    contracts: Mapping[str, MethodContract],
    axes: Mapping[str, Axes],
    answers: Callable[[str, Args], bool],
) -> Iterator[Args]:
    """The calls that could be shown, the best first, all of which are answered."""
    first = _first_row(args, axes)
    if first is not None and all(map(_has_independent_rows, contracts.values())):
        yield first
    yield args
    if first is not None and all(answers(method, first) for method in contracts):
        yield first


def _has_independent_rows(contract: MethodContract) -> bool:
    known = contract.result
    return contract.rule_axis is not None and (known is None or known.follows_rows)


def _first_row(args: Args, axes: Mapping[str, Axes]) -> Args | None:
    """The first row of each argument that has rows; None where methods do not agree on which these are."""
    from vtsserving._wire.leaves import cut, dimensions

    found = list(axes.values())
    if not found or not found[0] or any(one != found[0] for one in found):
        return None
    try:
        return tuple(
            cut(value, axis, 0, 1) if (axis := found[0].get(at)) is not None and dimensions(value) else value
            for at, value in enumerate(args)
        )
    except (TypeError, KeyError, ValueError, IndexError, NotImplementedError):
        return None


def _as_json(args: Args) -> list[Any]:
    """JSON values of a call; empty where there are none, or too many."""
    from vtsserving._codecs.json_forms import rows
    from vtsserving._codecs.json_write import to_json
    from vtsserving._wire import tables
    from vtsserving.exceptions import VtsServingException

    def form(value: Any) -> Any:
        is_frame = tables.is_table(value) and not tables.is_series(value)
        repeats = is_frame and len({str(name) for name in value.columns}) < len(value.columns)
        return rows(value) if repeats else value

    try:
        text = to_json([form(value) for value in args])
    except (VtsServingException, TypeError, KeyError, ValueError):
        return []
    return list(json.loads(text)) if len(text) <= MAX_SHOWN_BYTES else []


def _is_read(shown: Sequence[Any], args: Args, contract: MethodContract, spec: Any) -> bool:
    """Whether the JSON of a call is read as the call that it was made of."""
    from vtsserving._contract.arguments import Arguments
    from vtsserving.exceptions import VtsServingException

    try:
        arguments = Arguments(contract, spec or {})
        given, _ = arguments.conform(args, {})
        read = [
            arguments.from_list(value, arguments.spec(at), arguments.where(at, len(shown)), at)
            for at, value in enumerate(shown)
        ]
        return all(_is_same(one, other, contract) for one, other in zip(read, given, strict=True))
    except (VtsServingException, ValueError, TypeError):
        return False


def _is_same(read: Any, given: Any, contract: MethodContract) -> bool:
    """Whether an argument that was read is the one that was given, as far as the method can see.

    JSON has no labels of rows. Methods that take arrays get one of a column and of a tensor, too.
    """
    import numpy as np

    from vtsserving._contract.result_rows import same
    from vtsserving._wire import tables, tensors

    if tables.is_table(given) and type(read) is type(given):
        return same(read, given.set_axis(read.index, axis=0)) and list(map(str, read.keys())) == list(
            map(str, given.keys())
        )
    if isinstance(read, np.ndarray) and tensors.is_torch(given):
        tensor = given.detach().cpu().double().numpy()
        return bool(np.array_equal(read.astype(np.float64), tensor, equal_nan=True))
    is_series = tables.is_table(given) and tables.is_series(given)
    if isinstance(read, np.ndarray) and is_series and contract.lists == "arrays":
        return bool(np.array_equal(read.astype(object), given.to_numpy(object)))
    return same(read, given)
