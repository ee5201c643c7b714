"""How the result of a method follows the rows of its arguments, part by part.

A leaf is cut by rows along one axis, or the same for everybody; lists, tuples and dicts hold forms of their items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vtsserving._model.described import check_rows, read_axis, read_value
from vtsserving.exceptions import InvalidSignature

LEAF: Final = ("axis", "same", "ordered", "type", "dtype", "shape", "columns")
"""The keys of a leaf."""

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
        """Whether it can be cut by rows: a part that is the same for everybody is no obstacle, but not all are."""
        leaves = list(self._leaves())
        return all(leaf.ordered for leaf in leaves) and any(leaf.axis is not None for leaf in leaves)

    def _leaves(self) -> Iterator[ResultForm]:
        if self.items is None and self.named is None:
            yield self
        for part in self.items or (self.named or {}).values():
            yield from part._leaves()

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
        if set(raw) == {DICT}:
            return _named(raw[DICT], path, axis, depth)
        return _leaf(raw, path, axis) if _is_leaf(raw) else _named(raw, path, axis, depth)
    if isinstance(raw, Sequence) and not isinstance(raw, str | bytes):
        if not raw:
            raise InvalidSignature(f"{path} is an empty list; leave it out where the result is not known")
        return ResultForm(
            items=tuple(read_result(one, f"{path}[{at}]", axis, depth + 1) for at, one in enumerate(raw))
        )
    raise InvalidSignature(f"{path} is a dict like {{'axis': 0}}, or a list or dict of such, not {raw!r:.60}")


def _is_leaf(raw: Mapping[Any, Any]) -> bool:
    """Whether a dict describes one part, and not parts by name: also with keys that a part does not have."""
    unknown = [value for key, value in raw.items() if key not in LEAF]
    return not unknown or not all(isinstance(value, Mapping | list | tuple) for value in unknown)


def _named(raw: Any, path: str, axis: int, depth: int) -> ResultForm:
    if not isinstance(raw, Mapping) or not raw:
        raise InvalidSignature(f"{path}.{DICT} is a dict from name to form, not {raw!r:.60}")
    named = {str(name): read_result(one, f"{path}[{name!r}]", axis, depth + 1) for name, one in raw.items()}
    if len(named) < len(raw):
        raise InvalidSignature(f"{path} has two names that are equal as texts, among {list(raw)!r:.60}")
    return ResultForm(named=named)


def _leaf(raw: Mapping[Any, Any], path: str, batch_axis: int) -> ResultForm:
    for key in raw:
        if key not in LEAF:
            raise InvalidSignature(f"{path} has the unknown key {key!r:.60}; known are {', '.join(LEAF)}")
    is_same, is_ordered = _flag(raw, "same", path, default=False), _flag(raw, "ordered", path, default=True)
    axis = read_axis(raw, path)
    if is_same and axis is not None:
        raise InvalidSignature(f"{path} has both `axis` and `same`: rows are cut, or the same for everybody")
    if is_same and not is_ordered:
        raise InvalidSignature(f"{path} has both `same` and `ordered`: what has no rows has no order of them")
    value = read_value(raw, path)
    along = batch_axis if axis is None else axis
    if not is_same:
        check_rows(value, along, path, f"{path}.axis" if axis is not None else "batch_dim")
    return ResultForm(None if is_same else along, is_ordered, described=value or None)


def _flag(raw: Mapping[Any, Any], key: str, path: str, *, default: bool) -> bool:
    value = raw.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidSignature(f"{path}.{key} is True or False, not {value!r:.60}")
    return default if value is None else value
