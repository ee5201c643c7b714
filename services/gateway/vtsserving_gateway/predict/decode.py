"""Body to values, validated and cast against the recorded input spec, and packed for the bus.

The usual body is a few rows of plain numbers, which `plain_array` reads in two calls. Whatever is unusual about it
leads to the strict path, which costs more and finds the exact error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vtsserving._catalog.catalog import CatalogEntry, Method
from vtsserving._codecs.columns import has_pandas
from vtsserving._codecs.json_arrays import Array, ArraySpec, plain_array
from vtsserving._codecs.json_records import PlainRecords
from vtsserving._codecs.json_strict import Body, read
from vtsserving._codecs.table import Table
from vtsserving._wire.limits import MAX_ROWS
from vtsserving._wire.rows import Packed, pack_call
from vtsserving._wire.table_records import Records
from vtsserving.exceptions import MethodNotFound, UnknownField, WrongType


class Target:
    """One method of one model, with everything that decoding its calls needs."""

    __slots__ = (
        "_dtype",
        "_first",
        "_head",
        "_is_table",
        "_records",
        "_siblings",
        "_tail",
        "_takes_plain",
        "arguments",
        "entry",
        "is_default",
        "method",
    )

    def __init__(self, entry: CatalogEntry, method: Method, *, is_default: bool = True) -> None:
        """Read the recorded specs; what cannot be read counts as not recorded.

        Args:
            entry: the model.
            method: of the model.
            is_default: whether calls that name no method may mean this one.
        """
        self.entry = entry
        self.method = method
        self.is_default = is_default
        self._siblings: dict[str, Target] = {}
        self.arguments = entry.arguments(method.name)
        specs = self.arguments.specs
        first = specs[0] if len(specs) == 1 else None
        self._first = first
        table = self.arguments.table(0)
        self._is_table = table is not None
        self._records: PlainRecords | None = None
        is_list = first is None and bool(self.arguments.specs or self.arguments.takes_lists)
        is_other = self._is_table or self.arguments.is_typed(0)
        self._takes_plain = not (is_list or is_other or self.arguments.needs_several)
        self._dtype = first.dtype if first is not None and first.dtype.kind == "f" else None
        is_rows = first is not None and first.shape[:1] == (-1,) and -1 not in first.shape[1:]
        self._tail = first.shape[1:] if first is not None and is_rows else None
        self._head = b""
        if first is not None and is_rows and self._dtype is not None and method.rule.first_axis == 0:
            self._head = pack_call((np.empty((1, *first.shape[1:]), first.dtype),), {}, method.rule).head
        if table is not None and not self.arguments.needs_several and has_pandas():
            self._take_rows(table)

    def _take_rows(self, table: Table) -> None:
        """Have rows of plain numbers read as those of an array, where the table is nothing else."""
        if table.dtype is None:
            return
        records = table.of_rows([[0.0] * len(table.columns)], "input")
        if type(records) is Records and records.numbers is not None:
            self._head = pack_call((records,), {}, self.method.rule).head
            self._dtype, self._tail = table.dtype, (len(table.columns),)
            self._takes_plain = bool(self._head)
            if self._head and table.dtype.itemsize >= 8:
                self._records = PlainRecords(records.names, table.dtype)

    def named(self, method: str | None) -> Target:
        """The method of the same model that a call names; None: it names none.

        Raises:
            MethodNotFound: the model has no such method, or several, of which none is meant without a name.
        """
        if method is None or method == self.method.name:
            if not self.is_default and method is None:
                raise MethodNotFound(
                    f"{self.entry.tag} has several methods; name one in the request's parameters, as "
                    f'{{"method": "{self.method.name}"}}; it has {", ".join(sorted(self.entry.signatures))}'
                )
            return self
        found = self._siblings.get(method)
        if found is None:
            found = self._siblings[method] = Target(self.entry, self.entry.method(method))
        return found

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
            return pack_call((array,), {}, self.method.rule)
        args, kwargs = self._call(body)
        return pack_call(args, kwargs, self.method.rule)

    def _plain_numbers(self, body: Body) -> Array | None:
        """The array of a body that is nothing but numbers and brackets; None where that needs a closer look."""
        if not self._takes_plain:
            return None
        array = plain_array(body, self._dtype)
        if array is None:
            return None if self._records is None else self._records.read(body)
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
        args, kwargs = ([value], {}) if is_argument else self._split(value)
        return self.pack(args, kwargs)

    def pack(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Packed:
        """Pack a call whose arguments are values; raises as `decode`."""
        return self.entry.pack(self.method, args, kwargs)

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
        recorded = self.arguments.specs
        specs = [spec for spec in recorded if spec is not None and spec.name]
        return specs if specs and len(specs) == len(recorded) else None

    def _call(self, body: Body) -> tuple[list[Any], dict[str, Any]]:
        """Arguments and keyword arguments, the strict way."""
        arguments = self.arguments
        args, kwargs = self._split(read(body, unsigned=arguments.wants_unsigned))
        arguments.check_names(args, kwargs)
        decoded = [
            arguments.from_list(value, arguments.spec(i), arguments.where(i, len(args)), i)
            for i, value in enumerate(args)
        ]
        return decoded, {
            name: arguments.from_list(
                value, arguments.named.get(name), name[:80], arguments.position(name), name
            )
            for name, value in kwargs.items()
        }

    def _split(self, value: Any) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments of a body: a call, or a table alone."""
        if isinstance(value, dict) and self.arguments.is_table(value):
            return [value], {}
        return split_call(value)


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
