"""Arrays as JSON or in numpy's own binary form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from vtsserving._codecs.json_arrays import ArraySpec, infer, plain_array, to_array
from vtsserving._codecs.json_strict import MAX_CONTAINERS, read
from vtsserving._codecs.json_write import to_json
from vtsserving._codecs.npy import MAGIC, read_npy, write_npy
from vtsserving.exceptions import BadDtype, BadInput, BadModelOutput, BadShape, InvalidArgument
from vtsserving.io.base import Body, Content, IODescriptor, preferred, require

NPY: Final = "application/x-npy"


class NumpyNdarray(IODescriptor):
    """One array: nested lists in JSON, or an .npy file without pickled objects.

    Args:
        dtype: what the function gets; JSON numbers are cast to it.
        enforce_dtype: refuse other dtypes of .npy bodies and of results, instead of casting them where nothing is lost.
        shape: sizes, -1 for any.
        enforce_shape: refuse other shapes, instead of reshaping where that is possible.
    """

    media_types = ("application/json", NPY)

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
        self._dtype: np.dtype[Any] | None = None if dtype is None else np.dtype(dtype)
        self._enforce_dtype = enforce_dtype
        self._shape = None if shape is None else tuple(int(size) for size in shape)
        self._enforce_shape = enforce_shape
        self._is_plain = self._dtype is None or self._dtype == np.float64
        self._example: Any = None

    @classmethod
    def from_sample(
        cls, sample: Any, *, enforce_dtype: bool = True, enforce_shape: bool = True
    ) -> NumpyNdarray:
        """A descriptor of arrays like a sample: its dtype, and its shape with any number of rows."""
        array = np.asarray(sample)
        shape = (-1, *array.shape[1:]) if array.ndim else ()
        made = cls(array.dtype, enforce_dtype, shape, enforce_shape)
        made._example = array.tolist()
        return made

    def read(self, body: Body) -> Any:
        """See IODescriptor.read."""
        require(body.data, "an array such as [[1.0, 2.0]]")
        # Not what the client said: no JSON begins like this, and many clients do not know the type of .npy files.
        if body.media_type == NPY or body.data.startswith(MAGIC):
            return self._checked(read_npy(body.data), binary=True)
        # More lists than bytes cannot be: only long bodies are searched for them.
        if self._is_plain and (len(body.data) <= MAX_CONTAINERS or body.data.count(b"[") <= MAX_CONTAINERS):
            plain = plain_array(body.data, self._dtype)
            if plain is not None:
                return self._shaped(plain)
        value = read(body.data, unsigned=self._dtype == np.uint64)
        if self._dtype is None:
            array = infer(value, "input")
            if not isinstance(array, np.ndarray):
                array = np.asarray(array)
                if array.dtype.kind not in "biufU":
                    raise BadInput("the body is no array; send nested lists such as [[1.0, 2.0]]")
        else:
            rank = np.asarray(value, dtype=object).ndim if isinstance(value, list) else 0
            array = to_array(value, ArraySpec("input", self._dtype, (-1,) * rank), "input")
        return self._checked(array, binary=False)

    def _checked(self, array: Any, *, binary: bool) -> Any:
        if binary and self._dtype is not None and array.dtype != self._dtype:
            if self._enforce_dtype or not np.can_cast(array.dtype, self._dtype, "same_kind"):
                raise BadDtype(f"expected dtype {self._dtype}, got {array.dtype}")
            array = array.astype(self._dtype)
        return self._shaped(array)

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
        if NPY in accept and preferred(accept, self.media_types) == NPY:
            array = self._result(value)
            return Content(write_npy(array.astype(np.str_) if array.dtype.kind == "O" else array), NPY)
        return self.write(value)

    def _result(self, value: Any) -> np.ndarray[Any, Any]:
        array = np.asarray(value)
        if self._enforce_dtype and self._dtype is not None and array.dtype != self._dtype:
            raise BadModelOutput(f"the result has dtype {array.dtype}, not {self._dtype}")
        if self._enforce_shape and self._shape is not None and not _fits(array.shape, self._shape):
            raise BadModelOutput(f"the result has shape {list(array.shape)}, not {list(self._shape)}")
        if array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
        is_text = array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat)
        if array.dtype.kind not in "biufUmMS" and not is_text:
            raise BadModelOutput(
                f"the result has dtype {array.dtype}; it must hold numbers, booleans, text, bytes or times"
            )
        return array

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        kinds = [self._kind] if self._dtype is not None else ["number", "boolean", "string"]
        return {**self._schema(kinds), "examples": [self._sample()]}

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
        """An input for the documentation."""
        if self._example is not None:
            return self._example
        shape = (
            (1, 2) if self._shape is None else [max(size, 1) if size < 0 else size for size in self._shape]
        )
        return np.zeros(shape, self._dtype).tolist()

    def content_schema(self, *, result: bool = False) -> dict[str, Any]:
        """See IODescriptor.content_schema."""
        schema = self.result_schema() if result else self.schema()
        binary = {"schema": {"type": "string", "format": "binary", "description": "An .npy file."}}
        return {"application/json": {"schema": schema}, NPY: binary}


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(b in (-1, a) for a, b in zip(shape, wanted, strict=True))
