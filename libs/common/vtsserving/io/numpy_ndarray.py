"""Arrays as JSON, in numpy's own binary form, or as msgpack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from vtsserving._codecs.json_arrays import SMALL_BYTES, ArraySpec, infer, plain_array, to_array
from vtsserving._codecs.json_strict import MAX_CONTAINERS, read
from vtsserving._codecs.json_write import to_json
from vtsserving._codecs.npy import MAGIC, read_npy, write_npy
from vtsserving._wire.values import decode_value, encode_value
from vtsserving.exceptions import (
    BadDtype,
    BadFrame,
    BadInput,
    BadModelOutput,
    BadShape,
    BadTensor,
    InvalidArgument,
    MissingDependency,
    UnsupportedValue,
)
from vtsserving.io.base import Body, Content, IODescriptor, preferred, require
from vtsserving.io.exact_cast import check_whole_numbers, exact_cast, name_of, rounds_whole_numbers

NPY: Final = "application/x-npy"
MSGPACK: Final = "application/msgpack"

MAX_SHOWN: Final = 64
"""Most numbers of an example that nobody gave."""

MAX_SAMPLE: Final = 1_024
"""Most numbers of a sample that the documentation shows."""

_KINDS: Final = "biufU"
_MANY_DIGITS: Final = re.compile(rb"[0-9]{16}")
"""Whole numbers with fewer digits are exact in float64."""


class NumpyNdarray(IODescriptor):
    """One array: nested lists in JSON, an .npy file without pickled objects, or msgpack.

    Args:
        dtype: what the function gets. Numbers are cast to it where it holds them: those outside of it are refused in
            each form, and so are whole numbers that it can only round. Text is never cut to a width.
        enforce_dtype: refuse other dtypes of .npy and msgpack bodies and of results, instead of casting them.
        shape: sizes, -1 for any.
        enforce_shape: refuse other shapes, instead of reshaping where that is possible.
    """

    media_types = ("application/json", NPY, MSGPACK)

    def __init__(
        self,
        dtype: Any = None,
        enforce_dtype: bool = False,
        shape: Sequence[int] | None = None,
        enforce_shape: bool = False,
    ) -> None:
        if enforce_dtype and dtype is None:
            raise InvalidArgument("enforce_dtype needs a dtype")
        if enforce_shape and shape is None:
            raise InvalidArgument("enforce_shape needs a shape")
        self._dtype: np.dtype[Any] | None = None if dtype is None else _without_width(np.dtype(dtype))
        self._enforce_dtype = enforce_dtype
        self._shape = None if shape is None else tuple(int(size) for size in shape)
        self._enforce_shape = enforce_shape
        self._is_plain = self._dtype is None or self._dtype == np.float64
        self._example: Any = None

    @classmethod
    def from_sample(
        cls, sample: Any, *, enforce_dtype: bool = True, enforce_shape: bool = True
    ) -> NumpyNdarray:
        """A descriptor of arrays like a sample: its dtype, and its shape with any number of rows.

        Raises:
            InvalidArgument: the sample holds something else than numbers, booleans or text.
        """
        array = np.asarray(sample)
        if _without_width(array).kind in "OVc":
            raise InvalidArgument(
                f"the sample has dtype {array.dtype}; it must hold numbers, booleans or text"
            )
        shape = (-1, *array.shape[1:]) if array.ndim else ()
        made = cls(_without_width(array), enforce_dtype, shape, enforce_shape)
        shown = array if array.size <= MAX_SAMPLE else array[:1]
        made._example = shown.tolist() if shown.size <= MAX_SAMPLE else None
        return made

    def read(self, body: Body) -> Any:
        """See IODescriptor.read."""
        require(body.data, "an array such as [[1.0, 2.0]]")
        # Not what the client said: no JSON begins like this, and many clients do not know the type of .npy files.
        if body.media_type == NPY or body.data.startswith(MAGIC):
            return self._shaped(self._cast(read_npy(body.data)))
        if body.media_type == MSGPACK:
            return self._shaped(self._unpacked(body.data))
        # More lists than bytes cannot be: only long bodies are searched for them.
        if self._is_plain and (len(body.data) <= MAX_CONTAINERS or body.data.count(b"[") <= MAX_CONTAINERS):
            plain = plain_array(body.data, self._dtype)
            if plain is not None and not _needs_a_closer_look(body.data, plain):
                return self._shaped(plain)
        return self._shaped(self._array(read(body.data, unsigned=self._dtype == np.uint64)))

    def _array(self, value: Any) -> np.ndarray[Any, Any]:
        """The array of nested lists, which have no dtype of their own."""
        if self._dtype is None:
            array = _inferred(value)
        elif self._dtype.kind not in _KINDS:
            raise BadDtype(f"this input has dtype {self._dtype}, which lists have no form for")
        else:
            rank = np.asarray(value, dtype=object).ndim if isinstance(value, list) else 0
            array = to_array(value, ArraySpec("input", self._dtype, (-1,) * rank), "input")
        if rounds_whole_numbers(array):
            check_whole_numbers(value, array.dtype, "input")
        return array

    def _unpacked(self, data: bytes) -> np.ndarray[Any, Any]:
        """The array of a msgpack body, which holds one or nested lists, in the dtype that the function gets."""
        try:
            value = decode_value(data)
        except BadTensor as error:
            raise BadShape(error.message) from error
        except (BadFrame, MissingDependency) as error:
            raise BadInput(f"the body is not an array in msgpack: {error.message}") from error
        if not isinstance(value, np.ndarray):
            return self._array(value)
        if value.dtype.kind not in _KINDS and not _is_text(value):
            raise BadDtype(f"the array has dtype {value.dtype}; it must hold numbers, booleans or text")
        return self._cast(value)

    def _cast(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """An array in the dtype that the function gets."""
        if self._dtype is None or _without_width(array) == self._dtype:
            return array
        if self._enforce_dtype:
            raise BadDtype(f"expected dtype {name_of(self._dtype)}, got {name_of(array.dtype)}")
        return exact_cast(array, self._dtype, "input")

    def _shaped(self, array: Any) -> Any:
        if self._shape is None or _fits(array.shape, self._shape):
            return array
        if self._enforce_shape:
            raise BadShape(f"expected shape {list(self._shape)}, got {list(array.shape)}")
        try:
            return array.reshape(self._shape)
        except ValueError:
            raise BadShape(
                f"an array of shape {list(array.shape)} does not fit {list(self._shape)}"
            ) from None

    def write(self, value: Any) -> Content:
        """See IODescriptor.write; JSON."""
        return Content(to_json(self._result(value)), "application/json")

    def write_as(self, value: Any, accept: str) -> Content:
        """See IODescriptor.write_as."""
        wanted = preferred(accept, self.media_types) if NPY in accept or MSGPACK in accept else ""
        result = self._result(value) if wanted else None
        if result is not None and wanted == NPY:
            # Texts of Python have the form of numpy's in .npy.
            return Content(write_npy(result.astype(np.str_) if result.dtype.kind == "O" else result), NPY)
        if result is not None and wanted == MSGPACK:
            return Content(_packed(result), MSGPACK)
        return self.write(value)

    def _result(self, value: Any) -> np.ndarray[Any, Any]:
        array = np.asarray(value)
        if array.dtype.kind == "T":
            array = array.astype(object)
        if self._enforce_dtype and self._dtype is not None and _without_width(array) != self._dtype:
            raise BadModelOutput(f"the result has dtype {name_of(array.dtype)}, not {name_of(self._dtype)}")
        if self._enforce_shape and self._shape is not None and not _fits(array.shape, self._shape):
            raise BadModelOutput(f"the result has shape {list(array.shape)}, not {list(self._shape)}")
        if array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
        if array.dtype.kind not in f"{_KINDS}mMS" and not _is_text(array):
            raise BadModelOutput(
                f"the result has dtype {array.dtype}; it must hold numbers, booleans, text, bytes or times"
            )
        return array

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        kinds = [self._kind] if self._dtype is not None else ["number", "boolean", "string"]
        kinds += ["null"] * ("number" in kinds)  # a missing value is NaN
        sample = self._sample()
        return {**self._schema(kinds), "examples": [sample]} if sample is not None else self._schema(kinds)

    def result_schema(self) -> dict[str, Any]:
        """See IODescriptor.result_schema; numbers that are not finite are null."""
        if self._dtype is None or not self._enforce_dtype:
            return self._schema(["number", "boolean", "string", "null"])
        return self._schema([self._kind, "null"] if self._kind == "number" else [self._kind])

    def _schema(self, kinds: list[str]) -> dict[str, Any]:
        # Other shapes are refused only where that was asked for.
        if self._shape is None or not self._enforce_shape:
            described = "" if self._shape is None else f" It is brought into the shape {list(self._shape)}."
            return {
                "type": ["array", *kinds],
                "items": {},
                "description": f"An array as nested lists.{described}",
            }
        items: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
        for size in reversed(self._shape):
            items = {
                "type": "array",
                "items": items,
                **({"minItems": size, "maxItems": size} if size >= 0 else {}),
            }
        return items

    @property
    def _kind(self) -> str:
        assert self._dtype is not None
        kinds = {"b": "boolean", "i": "integer", "u": "integer", "U": "string"}
        return kinds.get(self._dtype.kind, "number")

    def _sample(self) -> Any:
        """An input for the documentation; None where too little is known of it, or it would be long."""
        if self._example is not None:
            return self._example
        if self._shape is None or self._shape.count(-1) > 1:
            return None
        zeros = np.zeros([1 if size < 0 else size for size in self._shape], self._dtype)
        return zeros.tolist() if zeros.size <= MAX_SHOWN else None

    def content_schema(self, *, result: bool = False) -> dict[str, Any]:
        """See IODescriptor.content_schema."""
        schema = self.result_schema() if result else self.schema()
        binary = {"schema": {"type": "string", "format": "binary", "description": "An .npy file."}}
        packed = {
            "schema": {"type": "string", "format": "binary", "description": "An array or nested lists."}
        }
        return {"application/json": {"schema": schema}, NPY: binary, MSGPACK: packed}


def _without_width(array: Any) -> np.dtype[Any]:
    """The dtype of an array, or a dtype; text has no width: that is the longest of one array, not of the next."""
    dtype: np.dtype[Any] = getattr(array, "dtype", array)
    is_text = dtype.kind in "UT" or (dtype.kind == "O" and array is not dtype and _is_text(array))
    return np.dtype("U") if is_text else dtype


def _is_text(array: np.ndarray[Any, Any]) -> bool:
    """Whether an array of objects holds texts alone."""
    return array.dtype.kind == "O" and array.size > 0 and all(isinstance(item, str) for item in array.flat)


def _needs_a_closer_look(data: bytes, array: np.ndarray[Any, Any]) -> bool:
    """Whether whole numbers may have been rounded; a short text is searched faster than its array is."""
    if len(data) < SMALL_BYTES and not _MANY_DIGITS.search(data):
        return False
    return rounds_whole_numbers(array)


def _inferred(value: Any) -> np.ndarray[Any, Any]:
    """The array of nested lists whose dtype nobody says; texts are objects.

    Raises:
        BadInput: of its many kinds; it is no array.
    """
    found = infer(value, "input")
    array = np.asarray(found)
    if array is not found and array.dtype.kind not in _KINDS:
        raise BadInput("the body is no array; send nested lists such as [[1.0, 2.0]]")
    return array


def _packed(array: np.ndarray[Any, Any]) -> bytes:
    try:
        return encode_value(array, "the result")
    except UnsupportedValue as error:
        raise BadModelOutput(error.message) from error


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(b in (-1, a) for a, b in zip(shape, wanted, strict=True))
