"""How the result of a method follows the rows of its arguments, part by part.

A leaf is cut by rows along one axis, or the same for everybody; lists, tuples and dicts hold forms of their items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vtsserving._model.signature import MAX_DIM
from vtsserving.exceptions import InvalidSignature

_LEAF: Final = ("axis", "same", "ordered", "type", "dtype", "shape", "columns")
_TYPES: Final = ("tensor", "table", "texts", "bytes", "any")
DICT: Final = "dict"
"""The key of a form that is a dict whose names could be taken for those of a leaf."""

MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class ResultForm:
    """The form of one part of a result: a leaf, or items of a list, tuple or dict.

    Attributes:
        axis: of a leaf: its rows lie along it; None: it is the same for everybody.
        ordered: whether its rows come in the order of the arguments' rows.
        items: of a list or tuple.
        named: of a dict.
        described: what else was said of a leaf: type, dtype, shape, columns.
    """

    axis: int | None = None
    ordered: bool = True
    items: tuple[ResultForm, ...] | None = None
    named: Mapping[str, ResultForm] | None = None
    described: Mapping[str, Any] | None = None

    @property
    def follows_rows(self) -> bool:
        """Whether every part of it can be cut by rows; what is the same for everybody is no obstacle."""
        if self.items is not None:
            return bool(self.items) and all(item.follows_rows for item in self.items)
        if self.named is not None:
            return bool(self.named) and all(item.follows_rows for item in self.named.values())
        return self.ordered

    def is_plain(self, axis: int) -> bool:
        """Whether 0.1 finds the same rows: it cuts dicts of arrays along one axis, and takes every list for rows."""
        if self.items is not None:
            return False
        if self.named is not None:
            return all(one.is_plain(axis) for one in self.named.values())
        return self.axis == axis and self.ordered

    def to_raw(self) -> Any:
        """As users write it."""
        if self.items is not None:
            return [item.to_raw() for item in self.items]
        if self.named is not None:
            return {DICT: {name: item.to_raw() for name, item in self.named.items()}}
        place: dict[str, Any] = {"same": True} if self.axis is None else {"axis": self.axis}
        return {**place, **({} if self.ordered else {"ordered": False}), **(self.described or {})}


def read_result(raw: Any, path: str, axis: int, depth: int = 0) -> ResultForm:
    """Read a form as users write it.

    Args:
        raw: a leaf such as `{"axis": 0}` or `{"same": True}`, a list of forms, or a dict of them by name.
        path: of the key, for errors.
        axis: where rows lie if a leaf does not say.
        depth: how deep the form is nested.

    Raises:
        InvalidSignature: it is none; the message has the path of the key.
    """
    if depth > MAX_DEPTH:
        raise InvalidSignature(f"{path} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(raw, Mapping):
        named = raw[DICT] if set(raw) == {DICT} else None if set(raw) <= set(_LEAF) else raw
        if named is None:
            return _leaf(raw, path, axis)
        if not isinstance(named, Mapping):
            raise InvalidSignature(f"{path}.{DICT} is a dict from name to form, not {named!r:.60}")
        return ResultForm(
            named={
                str(name): read_result(one, f"{path}[{name!r}]", axis, depth + 1)
                for name, one in named.items()
            }
        )
    if isinstance(raw, Sequence) and not isinstance(raw, str | bytes):
        return ResultForm(
            items=tuple(read_result(one, f"{path}[{at}]", axis, depth + 1) for at, one in enumerate(raw))
        )
    raise InvalidSignature(f"{path} is a dict like {{'axis': 0}}, or a list or dict of such, not {raw!r:.60}")


def _leaf(raw: Mapping[str, Any], path: str, axis: int) -> ResultForm:
    for key in ("same", "ordered"):
        if not isinstance(raw.get(key, True), bool):
            raise InvalidSignature(f"{path}.{key} is True or False, not {raw[key]!r:.60}")
    if raw.get("type") not in (None, *_TYPES):
        raise InvalidSignature(f"{path}.type is {' or '.join(_TYPES)}, not {raw['type']!r:.60}")
    is_same = raw.get("same", False)
    if is_same and "axis" in raw:
        raise InvalidSignature(f"{path} has both `axis` and `same`: rows are cut, or the same for everybody")
    along = raw.get("axis", axis)
    if type(along) is not int or not 0 <= along <= MAX_DIM:
        raise InvalidSignature(f"{path}.axis is a number from 0 to {MAX_DIM}, not {along!r:.60}")
    described = {key: raw[key] for key in ("type", "dtype", "shape", "columns") if key in raw}
    return ResultForm(None if is_same else along, raw.get("ordered", True), described=described)
