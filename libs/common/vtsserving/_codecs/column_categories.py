"""The categories of a column: values that JSON has, or texts of those that it has not, such as intervals and times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtsserving._codecs.column_arrow import converter_of, dtype_of
from vtsserving._codecs.column_items import as_key
from vtsserving._codecs.column_objects import object_converter
from vtsserving.exceptions import OutOfRange, WrongType


def categories_index(values: Sequence[Any], dtype: str) -> Any:
    """The pandas Index of categories.

    Args:
        values: in their order, as a contract has them, or as they are.
        dtype: of the categories, as pandas or a contract names it; empty: what pandas makes of the values.

    Raises:
        WrongType, OutOfRange: a value does not fit the dtype. TypeError, ValueError: there is no such dtype here.
    """
    import pandas as pd

    return pd.Index(_converted(values, dtype) if dtype else list(values))


def is_usual(dtype: Any) -> bool:
    """Whether categories of a dtype are values that JSON has, and of the dtype that pandas makes of these."""
    kind = getattr(dtype, "kind", "O")
    return str(dtype) in ("int64", "float64") if kind in "iuf" else kind == "b" or str(dtype) == "str"


def code_of(item: Any, codes: dict[Any, int], dtype: str) -> int | None:
    """The code of a value, as JSON and CSV have it; None: it is not among the categories.

    Args:
        item: not missing.
        codes: by category.
        dtype: as for `categories_index`.
    """
    try:
        found = codes.get(as_key(item))
        if found is None and dtype:
            found = codes.get(as_key(categories_index([item], dtype)[0]))
    except (TypeError, ValueError, WrongType, OutOfRange):
        return None
    return found


def _converted(values: Sequence[Any], dtype: str) -> Any:
    import pandas as pd

    target = None if object_converter(dtype) else dtype_of(pd, dtype)
    return converter_of(dtype, target)(list(values), target, "categories")
