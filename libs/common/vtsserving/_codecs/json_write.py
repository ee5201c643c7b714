"""Results as JSON."""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np
import orjson

from vtsserving.exceptions import BadModelOutput

_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY


def to_json(value: Any) -> bytes:
    """A result as JSON.

    Args:
        value: what a method returned: arrays, DataFrames (as records), pydantic objects, lists, dicts, tuples, plain
            values.

    Returns:
        UTF-8; numbers that are not finite are null.

    Raises:
        BadModelOutput: the value holds something that JSON has no form for, bytes for example.
    """
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        cause = error.__cause__
        if isinstance(cause, BadModelOutput):
            raise cause from None
        raise BadModelOutput(f"the result has no JSON form: {error}") from error


def _plain(value: Any) -> Any:
    """An equivalent that orjson knows, for what it does not."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in "OV":
            raise BadModelOutput(f"the result holds an array of dtype {value.dtype}, which has no JSON form")
        return value.astype(np.float32) if value.dtype.name == "bfloat16" else value.tolist()
    if hasattr(value, "model_dump"):  # pydantic's
        return value.model_dump(mode="json", by_alias=True)
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if isinstance(value, pandas.DataFrame):
            return [
                dict(zip(map(str, value.columns), row, strict=True)) for row in value.itertuples(False, None)
            ]
        if isinstance(value, pandas.Series | pandas.Index):
            return value.tolist()
        if value is pandas.NaT or value is pandas.NA:
            return None
        if isinstance(value, pandas.Timestamp | pandas.Timedelta):
            return value.isoformat()
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, complex):
        raise BadModelOutput("the result holds complex numbers, which have no JSON form")
    raise BadModelOutput(f"the result holds {type(value).__name__}, which has no JSON form")
