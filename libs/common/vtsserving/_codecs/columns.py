"""Columns of a table in the dtypes that are recorded: of JSON values, of texts, and of columns that came with a dtype.

Nothing is guessed where a dtype is known, and nothing is cast that would change a value: it is refused instead, with
the name of the column and the number of the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np

from vtsserving._codecs.column_arrow import converter_of, dtype_of
from vtsserving._codecs.column_categories import categories_index, code_of
from vtsserving._codecs.column_items import NAMES, Items, as_key, is_missing, texts
from vtsserving._codecs.column_objects import is_of, object_converter
from vtsserving._codecs.column_texts import parser
from vtsserving.exceptions import OutOfRange, UnsupportedMediaType, WrongType

MAX_NAMED: Final = 5
"""Most names in one message."""

EXACT: Final = 2**53
"""Whole numbers beyond this lose digits as float64."""

INT64_END: Final = 2**63


def pandas_module() -> Any:
    """pandas, without which no table can be read.

    Raises:
        UnsupportedMediaType: it is not installed here.
    """
    try:
        import pandas
    except ImportError as error:
        raise UnsupportedMediaType("tables need a package here: pip install 'vtsserving[pandas]'") from error
    return pandas


def has_pandas() -> bool:
    """Whether tables can be read here."""
    try:
        import pandas  # noqa: F401
    except ImportError:
        return False
    return True


class Column:
    """One column of a table as it is recorded.

    Attributes:
        name: text, or a number.
        dtype: as pandas names it; empty: not known.
        nullable: whether a value may be missing; None: as the dtype has it.
        categories: of a category, in their order; None: not known.
        ordered: whether the order of the categories means something.
        categories_dtype: of categories that JSON has no values for, or other ones than pandas would make of them.
    """

    __slots__ = ("__dict__", "categories", "categories_dtype", "dtype", "name", "nullable", "ordered")

    def __init__(
        self,
        name: str | int,
        dtype: str = "",
        nullable: bool | None = None,
        categories: Sequence[Any] | None = None,
        *,
        ordered: bool = False,
        categories_dtype: str = "",
    ) -> None:
        self.name = name
        self.dtype = dtype
        self.nullable = nullable
        self.categories = categories
        self.ordered = ordered
        self.categories_dtype = categories_dtype

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Column:
        """The column of a contract."""
        return cls(
            raw["name"],
            raw.get("dtype", ""),
            raw.get("nullable"),
            raw.get("categories"),
            ordered=bool(raw.get("ordered")),
            categories_dtype=raw.get("categories_dtype", ""),
        )

    @cached_property
    def target(self) -> Any:
        """The dtype of the column in this process; None: it is not known, or not here."""
        pd = pandas_module()
        if self.categories is not None:
            return pd.CategoricalDtype(self._index(pd), ordered=self.ordered)
        if not self.dtype:
            return None
        if self.dtype == "str" or object_converter(self.dtype) is not None:
            return _text_dtype(pd) if self.dtype == "str" else np.dtype(object)
        try:
            found = dtype_of(pd, self.dtype)
        except (TypeError, ValueError, ImportError):
            return None
        is_whole = isinstance(found, np.dtype) and found.kind in "iub"
        if is_whole and self.nullable:
            # numpy has no missing whole number; pandas has, with every digit.
            name = found.name.capitalize().replace("Uint", "UInt") if found.kind != "b" else "boolean"
            return pd.api.types.pandas_dtype(name)
        return found

    def _index(self, pd: Any) -> Any:
        """The categories; as they are recorded, where their dtype is not known here."""
        try:
            return categories_index(self.categories or (), self.categories_dtype)
        except (TypeError, ValueError, ImportError, WrongType, OutOfRange):
            return pd.Index(list(self.categories or ()))

    @cached_property
    def _codes(self) -> dict[Any, int]:
        values = self.target.categories if self.categories_dtype else self.categories or ()
        return {as_key(value): code for code, value in enumerate(values)}

    @cached_property
    def is_text(self) -> bool:
        """Whether its values are texts, which stay what they are whatever they look like."""
        return self.dtype == "str" or str(self.target) in ("str", "string") or self.target is str

    @cached_property
    def is_plain_float(self) -> bool:
        """Whether it is a column of numpy's floating numbers, any of which may be missing."""
        target = self.target
        return isinstance(target, np.dtype) and target.kind == "f" and self.nullable is not False

    def of_items(self, items: Items, where: str) -> Any:
        """The column's values, of values that JSON or a client's list gave.

        Args:
            items: one per row; None and NaN are missing.
            where: how an error names the table.

        Returns:
            What a Series takes, with the dtype of the column.

        Raises:
            WrongType, OutOfRange: a value is not one of the column.
        """
        if self.categories is not None:
            return self._categorical(self.codes(items, where))
        place = self._place(items, where)
        if self.target is None:
            return inferred(items)
        return converter_of(self.dtype, self.target)(items, self.target, place)

    def codes(self, items: Items, where: str) -> list[int]:
        """The codes of categories, -1 for a missing one; raises as `of_items`."""
        place = self._place(items, where)
        return [self._code(item, row, place) for row, item in enumerate(items)]

    def texts(self, items: Items, where: str) -> Items:
        """The values of a column of texts, None for a missing one; raises as `of_items`."""
        return texts(items, self._place(items, where))

    def _place(self, items: Items, where: str) -> str:
        """How an error names the column, after a look at whether all values are there that have to be."""
        place = f"{where}, column {self.name!r:.80}"
        if self.nullable is False:
            self._check_complete(items, place)
        return place

    def of_texts(self, texts: Sequence[str], where: str) -> Any:
        """The same of texts, as CSV has them: an empty one is a missing value; raises as `of_items`."""
        if self.categories is not None:
            by_text = {str(value): value for value in self.categories}
            return self.of_items(
                [by_text.get(text, text) if text or "" in by_text else None for text in texts], where
            )
        if self.is_text and self.nullable is False:
            return self.of_items(list(texts), where)
        place = f"{where}, column {self.name!r:.80}"
        return self.of_items(parser(self.target)(texts, place), where)

    def of_series(self, series: Any, where: str) -> Any:
        """A column that came with a dtype, in its own where that changes no value; raises as `of_items`.

        Args:
            series: a pandas Series.
            where: how an error names the table.

        Returns:
            The same Series where it fits already, else a new one with the same index.
        """
        target = self.target
        if target is None:
            return series
        if self.nullable is False:
            self._check_complete(series.isna(), f"{where}, column {self.name!r:.80}", missing=True)
        convert = object_converter(self.dtype)
        if (
            series.dtype == target
            and self.categories is None
            and (convert is None or is_of(series, self.dtype))
        ):
            return series
        pd = pandas_module()
        if self.categories is None and isinstance(target, pd.CategoricalDtype) and _is_category(series):
            return series  # nobody knows better than it does
        if self.categories is not None and _is_category(series):
            values = self._recoded(series, where)
        else:
            values = self._converted(series, where)
        return pd.Series(values, index=series.index, name=series.name, dtype=getattr(values, "dtype", None))

    def _converted(self, series: Any, where: str) -> Any:
        """The values of a Series in the dtype of the column."""
        target, dtype = self.target, series.dtype
        if isinstance(target, np.dtype) and target.kind == "O" and object_converter(self.dtype) is None:
            return series.astype(object).to_numpy()
        both_numpy = isinstance(target, np.dtype) and isinstance(dtype, np.dtype)
        if both_numpy and target.kind in "iuf" and dtype.kind in "iufb":
            return self._cast(series.to_numpy(), target, f"{where}, column {self.name!r:.80}")
        items = series.astype(object).tolist()
        if getattr(dtype, "kind", "") == "b" and getattr(target, "kind", "") in "iuf":
            items = [None if is_missing(item) else int(item) for item in items]
        return self.of_items([None if is_missing(item) else item for item in items], where)

    def _recoded(self, series: Any, where: str) -> Any:
        """A categorical Series with the recorded codes."""
        place = f"{where}, column {self.name!r:.80}"
        known = np.array([self._codes.get(as_key(value), -2) for value in series.cat.categories], np.int64)
        codes = series.cat.codes.to_numpy()
        found = np.where(codes < 0, -1, known[codes] if len(known) else -1)
        wrong = np.flatnonzero(found == -2)
        if len(wrong):
            raise self._unknown(series.iloc[int(wrong[0])], int(wrong[0]), place)
        return self._categorical(found)

    def _categorical(self, codes: Any) -> Any:
        return pandas_module().Categorical.from_codes(codes, dtype=self.target)

    def _code(self, item: Any, row: int, place: str) -> int:
        if is_missing(item):
            return -1
        found = code_of(item, self._codes, self.categories_dtype)
        if found is None:
            raise self._unknown(item, row, place)
        return found

    def _unknown(self, item: Any, row: int, place: str) -> WrongType:
        return WrongType(
            f"{place}, row {row} is {item!r:.80}, which is not among its categories {listed(self.categories or ())}"
        )

    def _cast(self, array: Any, target: np.dtype[Any], place: str) -> Any:
        if target.kind == "f":
            with np.errstate(over="ignore"):
                result = array.astype(target)
            if array.dtype.kind == "f" and bool((np.isinf(result) & np.isfinite(array)).any()):
                raise OutOfRange(f"{place} holds a number too large for {target.name}")
            return result
        if array.dtype.kind == "f":
            whole = np.isfinite(array) & (array == np.trunc(array))
            if not whole.all():
                row = int(np.flatnonzero(~whole)[0])
                raise _not_whole(array[row], row, place)
        limits = np.iinfo(target)
        if array.size and array.dtype.kind != "b":
            smallest, largest = array.min().item(), array.max().item()
            if not limits.min <= smallest <= largest <= limits.max:
                raise OutOfRange(
                    f"{place} holds a number outside of {target.name} [{limits.min}, {limits.max}]"
                )
        return array.astype(target)

    def _check_complete(self, items: Iterable[Any], place: str, *, missing: bool = False) -> None:
        for row, item in enumerate(items):
            if item if missing else is_missing(item):
                raise WrongType(
                    f"{place}, row {row} is missing; send a value, or save the model with 'nullable': True for it"
                )


def _is_category(series: Any) -> bool:
    return isinstance(series.dtype, pandas_module().CategoricalDtype)


def _not_whole(item: Any, row: int, place: str) -> WrongType:
    if is_missing(item):
        return WrongType(f"{place}, row {row} is missing; expected an integer")
    shown = item.item() if isinstance(item, np.generic) else item
    return WrongType(f"{place}, row {row} is {shown!r:.80}; expected an integer")


def _text_dtype(pd: Any) -> Any:
    """The dtype of texts: pandas' own from 3 on, before that objects."""
    return pd.StringDtype(na_value=np.nan) if int(pd.__version__.partition(".")[0]) >= 3 else str


def inferred(items: Items) -> Any:
    """A column of which nothing is known, as pandas would make it, without the loss of a digit.

    Args:
        items: one per row.
    """
    pd = pandas_module()
    kinds = set(map(type, items))
    if kinds == {type(None)}:
        return np.full(len(items), np.nan)  # as pandas reads JSON and CSV: objects fit no numeric model
    if int in kinds and kinds <= {int, type(None)} and len(kinds) == 2:
        largest = max(abs(item) for item in items if item is not None)
        if largest > EXACT:
            return pd.array(list(items), dtype="Int64" if largest < INT64_END else object)
    elif list in kinds or dict in kinds or tuple in kinds:
        array = np.empty(len(items), dtype=object)
        for row, item in enumerate(items):
            array[row] = item
        return array
    return pd.Series(list(items)).array


def listed(names: Sequence[Any]) -> str:
    """A few of many names, for a message."""
    shown = ", ".join(repr(name)[:80] for name in list(names)[:MAX_NAMED])
    return shown + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")


__all__ = ["NAMES", "Column", "inferred", "listed", "pandas_module"]
