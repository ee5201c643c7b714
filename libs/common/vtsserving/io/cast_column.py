"""A column of a Service's table: cast to the dtype that it asks for, or, where it does not insist, left as it is.

Each column is cast by itself, so one that cannot be cast does not keep the others from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vtsserving._codecs.column_categories import is_usual
from vtsserving._codecs.column_objects import kind_of
from vtsserving._codecs.columns import Column, inferred, pandas_module
from vtsserving.exceptions import BadDtype, OutOfRange, WrongType


class CastColumn(Column):
    """One column, with the casts that pandas' `astype` does beside the strict ones, as far as they lose nothing."""

    __slots__ = ("_is_enforced",)

    def __init__(self, name: Any, dtype: Any = None, *, is_enforced: bool = False) -> None:
        """A column of a name.

        Args:
            name: of the column.
            dtype: what pandas takes for one; None: any.
            is_enforced: whether what cannot be cast is refused; else it stays as it is.
        """
        categories = getattr(dtype, "categories", None)
        self._is_enforced = is_enforced or categories is not None
        super().__init__(
            name,
            "" if dtype is None else _name_of(dtype),
            categories=None if categories is None else list(categories),
            ordered=bool(getattr(dtype, "ordered", False)),
            categories_dtype="" if categories is None else _dtype_of_categories(categories),
        )

    def of_items(self, items: Any, where: str) -> Any:
        """See Column.of_items."""
        if self.is_text:
            items = [item if item is None or isinstance(item, list | dict) else _text(item) for item in items]
        return self._tried(lambda: super(CastColumn, self).of_items(items, where), lambda: inferred(items))

    def of_texts(self, texts: Sequence[str], where: str) -> Any:
        """See Column.of_texts."""
        untyped = Column(self.name)
        return self._tried(
            lambda: Column.of_texts(self, texts, where), lambda: untyped.of_texts(texts, where)
        )

    def of_series(self, series: Any, where: str) -> Any:
        """See Column.of_series."""
        return self._tried(lambda: super(CastColumn, self).of_series(series, where), lambda: series)

    def _tried(self, strict: Callable[[], Any], plain: Callable[[], Any]) -> Any:
        if self.dtype and self.target is None:
            if self._is_enforced:
                raise BadDtype(f"the column {self.name!r:.80} cannot be cast to {self.dtype!r:.60}")
            return plain()
        try:
            return strict()
        except (WrongType, OutOfRange) as error:
            found = plain()
            cast = self._by_pandas(found)
            if cast is not None:
                return cast
            if self._is_enforced:
                raise BadDtype(f"the values cannot be cast: {error.message}") from None
            return found

    def _by_pandas(self, values: Any) -> Any:
        """The array that pandas makes of it, for dtypes where that loses nothing; None: it cannot."""
        kind = getattr(self.target, "kind", "O")
        pd = pandas_module()
        series = values if isinstance(values, pd.Series) else pd.Series(values)
        if self.categories is not None or self.nullable is False:
            return None
        if kind == "b" or (kind in "iuf" and not _are_texts(series)):
            return None
        try:
            return _as_given(values, series.astype(self.target))
        except Exception:  # dtypes of other packages raise whatever they like
            return None


def _as_given(values: Any, series: Any) -> Any:
    return series if type(values) is type(series) else series.array


def _are_texts(series: Any) -> bool:
    return len(series) > 0 and all(isinstance(item, str) for item in series)


def _text(item: Any) -> Any:
    return item if isinstance(item, str) else str(item)


def _dtype_of_categories(categories: Any) -> str:
    """The dtype of categories that JSON has as texts, or in another dtype than pandas makes of them."""
    if str(categories.dtype) == "object":
        return kind_of(categories)
    return "" if is_usual(categories.dtype) else str(categories.dtype)


def _name_of(dtype: Any) -> str:
    if dtype is str or (isinstance(dtype, str) and dtype in ("str", "U")):
        return "str"
    if isinstance(dtype, str):
        return dtype
    pd = pandas_module()
    try:
        return str(pd.api.types.pandas_dtype(dtype))
    except TypeError:
        return str(dtype)


def column_maker(dtype: Any, *, is_enforced: bool) -> Callable[[Any], Column]:
    """The maker of the column of a name.

    Args:
        dtype: None, one for all columns, or column name to dtype.
        is_enforced: whether what cannot be cast is refused.
    """
    if not isinstance(dtype, Mapping):
        return lambda name: CastColumn(name, dtype, is_enforced=is_enforced)
    return lambda name: CastColumn(name, dtype.get(name), is_enforced=is_enforced)
