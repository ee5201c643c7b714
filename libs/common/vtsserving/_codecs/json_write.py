"""Results as JSON: one text for each value, whatever it is in and whichever way it goes.

docs/values.md lists the forms. Numbers are as short as their own dtype allows, so that 0.1 of float32 is `0.1` in an
array, a list and a column alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson

from vtsserving._codecs import json_forms
from vtsserving._codecs.json_forms import Unwritable
from vtsserving._wire import sparse
from vtsserving.exceptions import BadModelOutput, ResultTooLarge

_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY
_TIMES: Final = orjson.OPT_PASSTHROUGH_DATETIME
_NUMBERS: Final = "biuf"
_BAD_KEY: Final = "Dict key"
"""The beginning of the writer's complaint about the key of a dict, which has no class of its own."""


def to_json(value: Any) -> bytes:
    """A result as JSON.

    Args:
        value: what a method returned: arrays, tables (as records), pydantic objects, lists, dicts, tuples, plain
            values; see docs/values.md.

    Returns:
        UTF-8; numbers that are not finite are null.

    Raises:
        BadModelOutput: the value holds something that JSON has no form for, complex numbers for example.
        ResultTooLarge: a generator in it does not end.
    """
    if type(value) is np.ndarray and value.dtype.kind in _NUMBERS:
        try:  # the usual result, in one step
            return orjson.dumps(value, option=_OPTIONS)
        except TypeError:
            pass  # it is laid out otherwise
    try:
        return orjson.dumps(value, default=_form_of, option=_TIMES)
    except orjson.JSONEncodeError as error:
        if not str(error).startswith(_BAD_KEY):
            raise _refusal(error) from error.__cause__
    try:
        return orjson.dumps(
            _with_text_keys(value), default=lambda other: _with_text_keys(_form_of(other)), option=_TIMES
        )
    except orjson.JSONEncodeError as error:
        raise _refusal(error) from error.__cause__


def _refusal(error: orjson.JSONEncodeError) -> BadModelOutput | ResultTooLarge:
    cause = error.__cause__
    if isinstance(cause, BadModelOutput | ResultTooLarge):
        return cause
    if isinstance(cause, Unwritable):
        return BadModelOutput(f"the result holds {cause} no JSON form")
    return BadModelOutput(f"the result has no JSON form: {error}")


def _form_of(value: Any) -> Any:
    """An equivalent that orjson knows, for what it does not."""
    is_plain = type(value) is np.ndarray or isinstance(value, np.generic)
    if is_plain and value.dtype.kind in _NUMBERS:
        return orjson.Fragment(orjson.dumps(_plain_order(value), option=_OPTIONS))
    return json_forms.plain(value)


def _plain_order(value: Any) -> Any:
    """An array or scalar of numbers as orjson reads it: row by row, in this machine's byte order."""
    if isinstance(value, np.generic):
        return value
    native = value.dtype.newbyteorder("=")
    if native.itemsize > np.dtype(np.float64).itemsize:
        native = np.dtype(np.float64)
    return (
        np.ascontiguousarray(value, native).reshape(value.shape) if value.ndim else value.astype(native)[()]
    )


def _with_text_keys(value: Any) -> Any:
    """A value with texts for the keys of its dicts; what only `_form_of` knows is left to it.

    Raises:
        BadModelOutput: two keys have one text.
    """
    if isinstance(value, Mapping) and not sparse.is_sparse(value):
        texts = {json_forms.key_text(key): _with_text_keys(item) for key, item in value.items()}
        if len(texts) != len(value):
            raise BadModelOutput("the result holds a dict with two keys that are the same as texts")
        return texts
    if isinstance(value, list | tuple):
        return [_with_text_keys(item) for item in value]
    return value
