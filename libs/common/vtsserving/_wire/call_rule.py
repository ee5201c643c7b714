"""Which arguments of a call are rows and which are parameters: decided by their names and types, never by their values.

Rows of several callers are joined along their axis. A parameter must be equal for all who share a batch, so it is part
of the head, by which calls are grouped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from vtsserving._wire.leaves import dimensions

Undescribed = Literal["by_type", "parameter", "every_array_and_list"]
"""What an argument is that nobody described: rows if its type says so, see `CallRule.axis_of`; a parameter, unless it
is the first; or, in models of 0.1, rows whenever an array or a list is in it."""

PARAMETER: Final = -1
"""In place of an axis: the argument is a parameter."""

_NO_KINDS: Final[Mapping[str, int]] = {}


class CallRule(NamedTuple):
    """How the calls of one method are packed.

    Attributes:
        axis: the rows' axis where an argument does not say its own; None: calls are never merged.
        names: the method's positional parameters, in order; empty where they are not known.
        kinds: parameter name to the axis of its rows, or PARAMETER.
        undescribed: what the other arguments are.
    """

    axis: int | None
    names: tuple[str, ...] = ()
    kinds: Mapping[str, int] = _NO_KINDS
    undescribed: Undescribed = "by_type"

    def axis_of(self, index: int, name: str, value: Any) -> int:
        """The axis of an argument's rows, or PARAMETER.

        Args:
            index: its position; -1 for one that was given by name.
            name: its name; empty where that is not known.
            value: the argument, of which only the type counts.
        """
        assert self.axis is not None
        found = self.kinds.get(name) if name else None
        if found is not None:
            return found
        if self.undescribed == "every_array_and_list":
            return self.axis
        if self.undescribed == "parameter":
            return PARAMETER if index else self.axis
        if isinstance(value, list):
            return PARAMETER if index or self.axis else 0
        return self.axis if dimensions(value) else PARAMETER

    @property
    def first_axis(self) -> int | None:
        """The axis of the first positional argument's rows, if it is an array; None: its calls are never merged."""
        if self.axis is None:
            return None
        found = self.kinds.get(self.names[0]) if self.names else None
        return self.axis if found is None else None if found == PARAMETER else found

    def positional(self, args: list[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The same call with named arguments in the positions of their names, as far as these follow each other.

        So calls that name an argument share batches with those that do not.
        """
        args, kwargs = list(args), dict(kwargs)
        for name in self.names[len(args) :]:
            if name not in kwargs:
                break
            args.append(kwargs.pop(name))
        return args, kwargs
