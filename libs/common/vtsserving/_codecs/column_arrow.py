"""Columns of pandas that are kept as Arrow: their dtypes by name, and their values of those of JSON and CSV."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np

from vtsserving._codecs.column_items import Convert, Items, converter, is_missing
from vtsserving._codecs.column_objects import object_converter
from vtsserving.exceptions import WrongType

SUFFIX: Final = "[pyarrow]"
MAX_NESTING: Final = 16

_DECIMAL: Final = re.compile(r"decimal(128|256)\((\d{1,2}), (-?\d{1,2})\)")
_FIXED: Final = re.compile(r"fixed_size_binary\[(\d{1,4})\]")
_LIST: Final = re.compile(r"(large_)?list<[^:<>]{1,100}: (.*)>")
_DICTIONARY: Final = re.compile(r"dictionary<values=(.*), indices=(\w+), ordered=([01])>")


def name_of(dtype: Any) -> str:
    """The name of a dtype by which `dtype_of` finds it."""
    text = str(dtype)
    # pandas calls a dtype of its own so, too.
    return f"utf8{SUFFIX}" if type(dtype).__name__ == "ArrowDtype" and text == f"string{SUFFIX}" else text


def dtype_of(pd: Any, name: str) -> Any:
    """The dtype of a name, as pandas or a contract names it.

    Args:
        pd: the module pandas.
        name: of any dtype.

    Raises:
        TypeError, ValueError, ImportError: there is no such dtype here.
    """
    try:
        return pd.api.types.pandas_dtype(name)
    except (TypeError, NotImplementedError):
        if not name.endswith(SUFFIX):
            raise
    import pyarrow

    return pd.ArrowDtype(_type_of(pyarrow, name.removesuffix(SUFFIX), 0))


def _type_of(pa: Any, text: str, depth: int) -> Any:
    """The type that pyarrow prints so, of those that it does not find by name itself."""
    if depth > MAX_NESTING:
        raise ValueError(f"the type is nested deeper than {MAX_NESTING} levels")
    if match := _DECIMAL.fullmatch(text):
        return getattr(pa, f"decimal{match.group(1)}")(int(match.group(2)), int(match.group(3)))
    if match := _FIXED.fullmatch(text):
        return pa.binary(int(match.group(1)))
    if match := _LIST.fullmatch(text):
        return getattr(pa, f"{match.group(1) or ''}list_")(_type_of(pa, match.group(2), depth + 1))
    if match := _DICTIONARY.fullmatch(text):
        values, indices = (_type_of(pa, match.group(at), depth + 1) for at in (1, 2))
        return pa.dictionary(indices, values, ordered=match.group(3) == "1")
    if match := re.fullmatch(r"timestamp\[(\w+)(?:, tz=(\S+))?\]", text):
        return pa.timestamp(match.group(1), match.group(2))
    return pa.type_for_alias({"halffloat": "float16", "double": "float64"}.get(text, text))


def converter_of(name: str, dtype: Any) -> Convert:
    """The maker of the values of a column, `(items, dtype, where)`; its errors are WrongType and OutOfRange.

    Args:
        name: of the dtype, as a contract has it.
        dtype: of the column in this process.
    """
    is_arrow = type(dtype).__name__ == "ArrowDtype"
    return object_converter(name) or (_arrow_values if is_arrow else converter(dtype))


def _arrow_values(items: Items, dtype: Any, where: str) -> Any:
    import pandas as pd

    found = _plain(items, dtype.pyarrow_dtype, where)
    try:
        return pd.array(found, dtype=dtype)
    except Exception as error:  # pyarrow and pandas raise of many kinds
        text = " ".join(str(error).split())[:160]
        raise WrongType(f"{where} does not fit the dtype {dtype}: {text}") from None


def _plain(items: Items, kind: Any, where: str) -> list[Any]:
    """The values of a column as Python or pandas has them; None where one is missing."""
    import pyarrow

    if pyarrow.types.is_dictionary(kind):
        return _plain(items, kind.value_type, where)
    gaps = [is_missing(item) for item in items]
    name, dtype, fill = _read_as(pyarrow.types, kind)
    if not name and dtype is None:
        return [None if gap else item for gap, item in zip(gaps, items, strict=True)]
    filled = [fill if gap else item for gap, item in zip(gaps, items, strict=True)]
    values = converter_of(name, dtype)(filled, dtype, where)
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [None if gap else value for gap, value in zip(gaps, listed, strict=True)]


def _read_as(types: Any, kind: Any) -> tuple[str, Any, Any]:
    """The name or the dtype by which values of a type of Arrow are read, and what stands for a missing one."""
    import pandas as pd

    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        dtype = np.dtype(kind.to_pandas_dtype())
        return "", dtype, False if dtype.kind == "b" else dtype.type(0).item()
    if types.is_timestamp(kind):
        zoned = pd.DatetimeTZDtype(kind.unit, kind.tz) if kind.tz else np.dtype(f"M8[{kind.unit}]")
        return "", zoned, None
    if types.is_duration(kind):
        return "", np.dtype(f"m8[{kind.unit}]"), None
    named = (
        ("date", types.is_date),
        ("time", types.is_time),
        ("decimal", types.is_decimal),
        ("bytes", lambda one: "binary" in str(one)),
    )
    is_text = "string" in str(kind) and not kind.num_fields
    return next((name for name, fits in named if fits(kind)), ""), str if is_text else None, None
