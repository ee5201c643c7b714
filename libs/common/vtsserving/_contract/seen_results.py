"""The form of one call's results: as its contract says it, and as parts of the call show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vtsserving._contract.result_rows import agrees_on_first_row, copied, observe
from vtsserving._model.contract import MethodContract
from vtsserving._model.result_form import ResultForm
from vtsserving._wire.layout import layout
from vtsserving._wire.leaves import Leaf
from vtsserving._wire.rows import Packed, pieces


def described_form(contract: MethodContract, head: bytes) -> ResultForm | None:
    """The form that a contract says results have; None: it says nothing of calls like this one.

    An example shows the results of calls like its own: a parameter may change their form, and so may an argument that
    the example left out.

    Args:
        contract: of the method.
        head: of the call; not empty.
    """
    if contract.result is None:
        return None
    is_said = contract.result_source == "user" or _is_like_the_example(contract, head)
    return contract.result if is_said else None


def _is_like_the_example(contract: MethodContract, head: bytes) -> bool:
    args, kwargs = layout(head).template()
    are_rows = all(value is Leaf for value in (*args, *kwargs.values()))
    others = contract.names[len(args) : contract.example_arguments]
    return are_rows and len(args) + len(kwargs) == contract.example_arguments and set(kwargs) <= set(others)


def form_in_parts(packed: Packed, whole: Any, call: Callable[[Packed], Any]) -> ResultForm | None:
    """The form of a call's result, seen by calling its halves, too, and its first row.

    Args:
        packed: the call, of at least two rows.
        whole: a copy of what it returned.
        call: calls the method with some of the rows.

    Returns:
        None: its result does not follow its rows.

    Raises:
        Undecided: it does not show.
        UnsupportedValue: a part's result cannot be sent.
        Exception: whatever the method raises for a part.
    """
    parts = pieces(packed, (packed.rows + 1) // 2)
    form = observe(whole, [copied(call(part)) for part in parts], [part.rows for part in parts])
    if form is None or any(part.rows == 1 for part in parts):
        return form
    return form if holds_for_one_row(packed, form, whole, call) else None


def holds_for_one_row(packed: Packed, form: ResultForm, whole: Any, call: Callable[[Packed], Any]) -> bool:
    """Whether the first row of a call gives alone what it gives among others: some results lose their axis then.

    Args:
        packed: the call.
        form: seen in batches of several rows each.
        whole: what it returned.
        call: calls the method with some of the rows.
    """
    return agrees_on_first_row(form, whole, call(pieces(packed, 1)[0]))
