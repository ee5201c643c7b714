"""The parameters of a Python callable, as callers may name them."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple


class Parameters(NamedTuple):
    """What a callable takes.

    Attributes:
        names: of its positional parameters, in order.
        keywords: of those that are taken by name only.
        takes_more: whether it takes other named arguments, or nobody can say.
        takes_more_positions: whether it takes other positional arguments, or nobody can say.
        required: names of those without a default.
    """

    names: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    takes_more: bool = True
    takes_more_positions: bool = True
    required: tuple[str, ...] = ()


def parameters_of(function: Any, *, bound: bool = True) -> Parameters:
    """Ask Python; what has no signature, such as many builtins, takes anything.

    Args:
        function: to call.
        bound: whether it is called as it is; else its first parameter is the object that it is a method of.
    """
    try:
        found = [*inspect.signature(function).parameters.values()][0 if bound else 1 :]
    except (TypeError, ValueError):
        return Parameters()
    kind = inspect.Parameter
    starred = (kind.VAR_POSITIONAL, kind.VAR_KEYWORD)
    return Parameters(
        tuple(one.name for one in found if one.kind in (kind.POSITIONAL_ONLY, kind.POSITIONAL_OR_KEYWORD)),
        tuple(one.name for one in found if one.kind is kind.KEYWORD_ONLY),
        any(one.kind is kind.VAR_KEYWORD for one in found),
        any(one.kind is kind.VAR_POSITIONAL for one in found),
        tuple(one.name for one in found if one.default is one.empty and one.kind not in starred),
    )
