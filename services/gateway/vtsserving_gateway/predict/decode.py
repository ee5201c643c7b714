"""Body to values, validated and cast against the recorded input spec, and packed for the bus.

The usual body is a few rows of plain numbers, which `plain_array` reads in two calls. Whatever is unusual about it
leads to the strict path, which costs more and finds the exact error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vtsserving._catalog.catalog import CatalogEntry, Method
from vtsserving._codecs.json_arrays import Array, ArraySpec, infer, plain_array, to_array
from vtsserving._codecs.json_strict import Body, read
from vtsserving._wire import tables
from vtsserving._wire.limits import MAX_ROWS
from vtsserving._wire.rows import Packed, pack_call
from vtsserving.exceptions import BadInput, UnknownField, WrongType
from vtsserving_gateway.predict.casting import cast


class Target:
    """One method of one model, with everything that decoding its calls needs."""

    __slots__ = ("_args", "_dtype", "_first", "_head", "_kwargs", "_tail", "entry", "method")

    def __init__(self, entry: CatalogEntry, method: Method) -> None:
        """Read the recorded specs; what cannot be read counts as not recorded."""
        self.entry = entry
        self.method = method
        recorded = entry.input_specs.get(method.name) or {}
        self._args = [ArraySpec.parse(raw) for raw in recorded.get("args", ())]
        named = {spec.name: spec for spec in self._args if spec is not None and spec.name}
        for name, raw in (recorded.get("kwargs") or {}).items():
            spec = ArraySpec.parse(raw)
            if spec is not None:
                named[name] = spec
        self._kwargs: dict[str, ArraySpec] = named
        first = self._args[0] if len(self._args) == 1 else None
        self._first = first
        self._dtype = first.dtype if first is not None and first.dtype.kind == "f" else None
        is_rows = first is not None and first.shape[:1] == (-1,) and -1 not in first.shape[1:]
        self._tail = first.shape[1:] if first is not None and is_rows else None
        self._head = b""
        if first is not None and is_rows and self._dtype is not None and method.axis == 0:
            self._head = pack_call((np.empty((1, *first.shape[1:]), first.dtype),), {}, 0).head

    def decode(self, body: Body) -> Packed:
        """Read the JSON body of one call.

        Args:
            body: rows, `[[...]]`, or `{"args": [...], "kwargs": {...}}`; UTF-8.

        Returns:
            The call, packed for the bus.

        Raises:
            BadInput: of its many kinds, each with its code.
        """
        array = self._plain_numbers(body)
        if array is not None:
            if self._head and len(array) < MAX_ROWS:
                return Packed(self._head, len(array), array.tobytes())
            return pack_call((array,), {}, self.method.axis)
        args, kwargs = self._call(body)
        return pack_call(args, kwargs, self.method.axis)

    def _plain_numbers(self, body: Body) -> Array | None:
        """The array of a body that is nothing but numbers and brackets; None where that needs a closer look."""
        if self._args and self._first is None:
            return None
        array = plain_array(body, self._dtype)
        if array is None:
            return None
        if self._tail is not None:
            if array.shape[1:] != self._tail:
                return None
            if self._dtype is not None:
                return array
        return self._cast(array)

    def _cast(self, array: Array) -> Array | None:
        """An array of plain numbers in the spec's dtype and shape, or None where that needs a closer look."""
        spec = self._first
        if spec is None:
            return array
        if self._tail is None and (
            len(spec.shape) != array.ndim
            or any(a not in (-1, b) for a, b in zip(spec.shape, array.shape, strict=True))
        ):
            return None
        if spec.dtype.kind == "f":
            return array
        if spec.dtype.kind not in "iu" or array.dtype.kind != "i":
            return None
        limits = np.iinfo(spec.dtype)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            return None
        return array.astype(spec.dtype)

    def decode_value(self, value: Any) -> Packed:
        """Pack a call that came as a value instead of JSON.

        Args:
            value: an array, list, DataFrame or other argument, or a dict of `args` and `kwargs`.

        Raises:
            BadInput: of its many kinds, each with its code.
        """
        is_argument = not (isinstance(value, dict | int | float | str | bytes) or value is None)
        args, kwargs = ([value], {}) if is_argument else split_call(value)
        self._check_names(args, kwargs)
        decoded = [
            _convert_value(item, self._spec(i), self._where(i, len(args))) for i, item in enumerate(args)
        ]
        named = {
            name: _convert_value(item, self._kwargs.get(name), name[:80]) for name, item in kwargs.items()
        }
        return pack_call(decoded, named, self.method.axis)

    def pack(self, args: Sequence[Any]) -> Packed:
        """Pack positional arguments that were checked already."""
        return pack_call(args, {}, self.method.axis)

    @property
    def output_names(self) -> list[str]:
        """The recorded names of the outputs; may be empty."""
        return [spec.name for spec in self.outputs]

    @property
    def outputs(self) -> list[ArraySpec]:
        """The recorded outputs; empty where they are not recorded."""
        recorded = self.entry.output_specs.get(self.method.name) or {}
        spec = ArraySpec.parse(recorded)
        return [] if spec is None else [spec if spec.name else spec._replace(name="output")]

    @property
    def inputs(self) -> list[ArraySpec] | None:
        """The recorded arguments, in their order; None where not all are recorded."""
        specs = [spec for spec in self._args if spec is not None and spec.name]
        return specs if specs and len(specs) == len(self._args) else None

    def _spec(self, index: int) -> ArraySpec | None:
        return self._args[index] if index < len(self._args) else None

    def _check_names(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        for spec in self._args[: len(args)]:
            if spec is not None and spec.name in kwargs:
                raise BadInput(f'the argument {spec.name!r} is there twice, in "args" and in "kwargs"')
        for spec in self._args[len(args) :]:
            if spec is not None and spec.name not in kwargs:
                raise BadInput(f'the argument {spec.name!r} is missing; send it as rows or in "args"')

    def _call(self, body: Body) -> tuple[list[Any], dict[str, Any]]:
        """Arguments and keyword arguments, the strict way."""
        args, kwargs = split_call(read(body, unsigned=self._wants_unsigned()))
        self._check_names(args, kwargs)
        decoded = [_convert(value, self._spec(i), self._where(i, len(args))) for i, value in enumerate(args)]
        return decoded, {
            name: _convert(value, self._kwargs.get(name), name[:80]) for name, value in kwargs.items()
        }

    def _wants_unsigned(self) -> bool:
        return any(
            spec is not None and spec.dtype == np.uint64 for spec in (*self._args, *self._kwargs.values())
        )

    def _where(self, index: int, count: int) -> str:
        spec = self._spec(index)
        if spec is not None and spec.name:
            return spec.name
        return "input" if count == 1 else f"args[{index}]"


def _convert(value: Any, spec: ArraySpec | None, where: str) -> Any:
    return infer(value, where) if spec is None else to_array(value, spec, where)


def _convert_value(value: Any, spec: ArraySpec | None, where: str) -> Any:
    """Like _convert, for what needs no interpretation: arrays keep their dtype, tables and others are passed on."""
    if isinstance(value, list):
        return _convert(value, spec, where) if _is_plain(value) else value
    if spec is None or tables.is_table(value):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return cast(np.asarray(value), spec, where)
    return to_array(value, spec, where)


def _is_plain(value: list[Any]) -> bool:
    """Whether a list holds what JSON could hold; only the first items are looked at."""
    while value and isinstance(value[0], list):
        value = value[0]
    return not value or value[0] is None or isinstance(value[0], int | float | str | dict)


def split_call(value: Any) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of a parsed body.

    Args:
        value: what JSON gave.

    Raises:
        WrongType: it is neither rows nor an object of args and kwargs.
        UnknownField: the object has other fields.
    """
    if isinstance(value, list):
        return [value], {}
    if not isinstance(value, dict):
        raise WrongType('the body is either rows, [[...]], or {"args": [...], "kwargs": {...}}')
    extra = sorted(str(key) for key in value if key not in ("args", "kwargs"))
    if extra:
        raise UnknownField(f'unknown field {extra[0][:80]!a}; a call is {{"args": [...], "kwargs": {{...}}}}')
    args, kwargs = value.get("args", []), value.get("kwargs", {})
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise WrongType('"args" is a list and "kwargs" an object')
    if not all(isinstance(name, str) for name in kwargs):
        raise WrongType('the names in "kwargs" are strings')
    return args, kwargs
