"""The arguments of a method's calls, checked against what is known of it: the same errors wherever a call is made."""

from __future__ import annotations

import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vtsserving._codecs.columns import Column, has_pandas
from vtsserving._codecs.csv_text import TextTable
from vtsserving._codecs.foreign_tables import FRAMES, as_pandas
from vtsserving._codecs.json_arrays import ArraySpec, infer, to_array
from vtsserving._codecs.series import SeriesRecord
from vtsserving._codecs.table import Table
from vtsserving._codecs.table_forms import is_call, read_table
from vtsserving._contract.casting import cast, one_column
from vtsserving._contract.plain_values import plain
from vtsserving._contract.typed_items import listed_column, typed_items
from vtsserving._model.argument import NOT_DESCRIBED, Argument
from vtsserving._model.contract import MethodContract
from vtsserving._wire import arrow_data, tables, tensors
from vtsserving.exceptions import BadInput, UnknownArgument, WrongType


class Arguments:
    """What a method takes: positions, names, arrays' dtypes and shapes, tables' columns.

    Attributes:
        specs: of the positional arguments, in order; None where an argument is not a recorded array.
        named: name to spec.
        contract: of the method.
        other_names: names under which arguments are recorded, to those that the method gives them. Frameworks call
            their data `X`, whatever the method does.
    """

    __slots__ = (
        *("_known", "_list_of", "_required", "_tables", "_texts"),
        *("contract", "named", "other_names", "specs"),
    )

    def __init__(
        self, contract: MethodContract, recorded: Mapping[str, Any], table: type[Table] = Table
    ) -> None:
        """Read the recorded specs; what cannot be read counts as not recorded.

        Args:
            contract: of the method.
            recorded: `{"args": [{"name", "dtype", "shape"}, ...]}`, of `input_specs`; texts without a shape are one
                text, a list of them, or what else the framework takes in their place. `list_of` is of an example that
                was a list.
            table: reads tables; SentTable where arguments are only sent.
        """
        self.contract = contract
        positional = recorded.get("args", ())
        self._texts = frozenset(
            at for at, raw in enumerate(positional) if raw.get("dtype") == "str" and "shape" not in raw
        )
        self._list_of = str(positional[0].get("list_of") or "") if positional else ""
        found = [ArraySpec.parse(raw) for raw in positional]
        names = contract.names[: len(found)]
        self.other_names = {
            spec.name: name
            for spec, name in zip(found, names, strict=False)
            if spec is not None and spec.name not in ("", *contract.names)
        }
        self.specs = [
            spec and spec._replace(name=self.other_names.get(spec.name, spec.name)) for spec in found
        ]
        self.named: dict[str, ArraySpec] = {spec.name: spec for spec in self.specs if spec and spec.name}
        for name, raw in (recorded.get("kwargs") or {}).items():
            spec = ArraySpec.parse(raw)
            if spec is not None:
                self.named[name] = spec
        self._required = [
            (name, contract.names.index(name) if name in contract.names else sys.maxsize)
            for name in contract.required
        ]
        for name, argument in contract.arguments.items():
            self._describe(name, argument)
        self._known = {
            name: (SeriesRecord if argument.type == "series" else table).of(
                argument.columns, ignores_extra=argument.extra_columns == "ignore"
            )
            for name, argument in contract.arguments.items()
            if argument.type == "table" or argument.columns
        }
        self._tables = {
            name: table
            for name, table in self._known.items()
            if contract.arguments[name].type in ("table", "series") or self._spec_of(name) is None
        }

    def _spec_of(self, name: str) -> ArraySpec | None:
        return self.spec(self.position(name)) or self.named.get(name)

    def table(self, index: int, name: str = "") -> Table | None:
        """The record of an argument that is a table and nothing else; None: it is something else, too.

        Args:
            index: its position; -1 if it has none.
            name: its name, where it has no position.
        """
        return self._tables.get(self._name(index, name)) if self._tables else None

    def is_typed(self, index: int) -> bool:
        """Whether a positional argument is texts or bytes."""
        return bool(self.kind_of_items(index))

    def kind_of_items(self, index: int, name: str = "") -> str:
        """The kind of which an argument is one or a list, "texts" or "bytes"; empty: it is something else."""
        said = self._described(index, name).type
        return said if said in ("texts", "bytes") else "texts" if not said and index in self._texts else ""

    def _items(self, value: Any, where: str, index: int, name: str) -> Any:
        """An argument of texts or bytes as the method takes it; any other one as it came."""
        kind = self.kind_of_items(index, name)
        if not kind:
            return value
        described = self._described(index, name)
        # Beside the first argument a list is a parameter, and a column rows, unless the contract says what it is.
        keeps = index != 0 and described.kind is None and described.axis is None
        return typed_items(value, kind, where, takes_others=not described.type, keeps_columns=keeps)

    def known_columns(self, index: int, name: str = "") -> Table | None:
        """The same of an argument that may be a table, or an array as well."""
        return self._known.get(self._name(index, name)) if self._known else None

    def _name(self, index: int, name: str) -> str:
        names = self.contract.names
        return names[index] if 0 <= index < len(names) else name

    @property
    def wants_unsigned(self) -> bool:
        """Whether an argument has whole numbers beyond those of int64."""
        specs = (*self.specs, *self.named.values())
        return any(spec is not None and spec.dtype == np.uint64 for spec in specs) or any(
            table.wants_unsigned for table in self._known.values()
        )

    def is_table(self, body: Mapping[Any, Any]) -> bool:
        """Whether an object is the table that is, or may be, the first argument, instead of a call.

        Raises:
            BadInput: it fits both; the message names them.
        """
        table = self.known_columns(0)
        return table is not None and not is_call(body, table)

    def _describe(self, name: str, argument: Argument) -> None:
        """Let a dtype or a shape of the contract, whose author knows best, take the place of a recorded one."""
        at = self.position(name)
        known = self.spec(at) if at >= 0 else self.named.get(name)
        shape = argument.shape if argument.shape is not None else known.shape if known else None
        if not (argument.dtype or argument.shape is not None) or shape is None:
            return
        if argument.dtype:
            spec = ArraySpec.parse({"dtype": argument.dtype, "shape": shape})
        else:
            spec = known and known._replace(shape=shape)
        if spec is None:
            return
        # Nothing that was only described is missing where it is left out: it may have a default.
        self.named[name] = spec = spec._replace(name=known.name if known else "")
        if at >= 0:
            self.specs += [None] * (at + 1 - len(self.specs))
            self.specs[at] = spec

    @property
    def takes_lists(self) -> bool:
        """Whether a list without a recorded dtype stays the list that it is, whichever argument it is."""
        return self.contract.lists == "lists"

    @property
    def _is_of_0_1(self) -> bool:
        return self.contract.lists == "arrays_if_uniform"

    def spec(self, index: int) -> ArraySpec | None:
        """Of a positional argument."""
        return self.specs[index] if 0 <= index < len(self.specs) else None

    def conform(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call as the method takes them.

        Args:
            args: arrays, tensors, tables, lists and plain values.
            kwargs: likewise.

        Returns:
            Arrays in the recorded dtypes where that changes no value, lists as arrays where the method takes these,
            tables with their columns in the recorded order; everything else as it came.

        Raises:
            BadInput: of its many kinds, each with its code and the argument's name.
        """
        self.check_names(args, kwargs)
        found = [self._one(value, self.spec(i), self.where(i, len(args)), i) for i, value in enumerate(args)]
        return found, {
            name: self._one(value, self.named.get(name), name[:80], self.position(name), name)
            for name, value in kwargs.items()
        }

    def _one(self, value: Any, spec: ArraySpec | None, where: str, index: int, name: str = "") -> Any:
        value = plain(value)
        value = self._items(value, where, index, name)
        if self._list_of and not index and self.known_columns(0) is None and not self._described(0).type:
            value = listed_column(value, where, is_text=self._list_of == "str")
        is_series = isinstance(self.table(index, name), SeriesRecord)
        if type(value) is tuple and is_series:
            value = list(value)
        if (is_series or (spec is not None and len(spec.shape) == 1)) and arrow_data.class_of(value):
            value = as_pandas(value)
        if isinstance(value, TextTable):
            return self._from_texts(value, spec, where, index, name)
        if tables.is_table(value):
            table = self.known_columns(index, name)
            if table is None:
                return value if spec is None else one_column(value, spec, where)
            return table.of_frame(value, where)
        if isinstance(value, list):
            is_known = self.table(index, name) is not None or _is_plain(value)
            return self.from_list(value, spec, where, index, name) if is_known else value
        known = self.known_columns(index, name)
        if known is not None and isinstance(value, dict):
            return read_table(value, known, where)
        if known is not None and arrow_data.class_of(value) in FRAMES:
            return known.of_frame(as_pandas(value), where)
        table = self.table(index, name)
        if table is not None and isinstance(value, np.ndarray) and has_pandas():
            return table.of_array(value, where)
        if table is not None and isinstance(value, tuple | str | bytes | int | float | np.generic):
            raise WrongType(
                f"{where} is a {type(value).__name__}, not a table; send records, [{{...}}], or rows, [[...]]"
            )
        if spec is None or tensors.is_torch(value) or type(value) is tensors.HeldTensor:
            return value
        if isinstance(value, np.ndarray | np.generic):
            return cast(np.asarray(value), spec, where)
        is_plain = value is None or isinstance(value, int | float | str | dict)
        return to_array(value, spec, where, takes_bools=True) if is_plain else value

    def _from_texts(self, value: TextTable, spec: ArraySpec | None, where: str, index: int, name: str) -> Any:
        """The frame of a CSV; the array, where that is what the method takes."""
        table = self.known_columns(index, name)
        if table is None and spec is not None:
            dtype = "str" if spec.dtype.kind == "U" else spec.dtype.name
            table = Table([Column(name, dtype) for name in value.names])
            return self._from_frame(table.of_texts(value, where), spec, where)
        frame = (table or Table(())).of_texts(value, where)
        if spec is None or (table is not None and table.columns):
            return frame
        return self._from_frame(frame, spec, where)

    @staticmethod
    def _from_frame(frame: Any, spec: ArraySpec, where: str) -> Any:
        found = one_column(frame, spec, where)
        return cast(frame.to_numpy(), spec, where) if found is frame else found

    def from_list(self, value: Any, spec: ArraySpec | None, where: str, index: int, name: str = "") -> Any:
        """What a list, or another JSON value, becomes; raises as `conform`.

        Args:
            value: the argument.
            spec: what is recorded of it.
            where: how errors name it.
            index: its position; -1 if it has none.
            name: its name, where it was given by name.
        """
        described = self._described(index, name)
        value = self._items(value, where, index, name)
        if described.type == "bytes":
            return value
        table = self.table(index, name)
        if table is None and (
            isinstance(value, dict) or (value and isinstance(value, list) and isinstance(value[0], dict))
        ):
            table = self.known_columns(index, name)
        # Without pandas here, rows are the arrays that they were in 0.1; other forms of a table say what is missing.
        if table is not None and value is not None and not (_is_rows(value) and not has_pandas()):
            return read_table(value, table, where)
        if spec is not None:
            return to_array(value, spec, where, takes_bools=True)
        if self.contract.keeps_list(self._name(index, name), index):
            return value
        found = infer(value, where, is_padded=self._is_of_0_1)
        own = ArraySpec.parse({"dtype": described.dtype, "shape": getattr(found, "shape", None)})
        return found if own is None else cast(found, own, where)

    def check_names(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse arguments that are missing, there twice, or unknown.

        Raises:
            BadInput: names the argument, and those that there are.
        """
        names, contract = self.contract.names, self.contract
        for spec in self.specs[: len(args)]:
            if spec is not None and spec.name in kwargs:
                raise BadInput(f'the argument {spec.name!r} is there twice, in "args" and in "kwargs"')
        for name in self.missing_inputs(len(args), kwargs):
            raise BadInput(f'the argument {name!r} is missing; send it as rows or in "args"')
        if len(args) > len(names) and names and not contract.takes_more_positions:
            raise UnknownArgument(f'"args" has {len(args)} arguments; the method takes {", ".join(names)}')
        for name in self._missing(len(args), kwargs):
            raise BadInput(f"the argument {name!r} is missing; the method takes {', '.join(names)}")
        if not kwargs:
            return
        for name in names[: len(args)]:
            if name in kwargs:
                raise BadInput(f'the argument {name!r} is there twice, in "args" and in "kwargs"')
        if contract.takes_more or not (names or contract.keywords):
            return
        for name in kwargs:
            if name not in names and name not in contract.keywords:
                known = ", ".join((*names, *contract.keywords))
                raise UnknownArgument(f"no argument {name[:80]!r}; the method takes {known}")

    def missing_inputs(self, count: int, named: Container[str]) -> Iterator[str]:
        """The recorded arguments that a call leaves out, although the method has no default for them.

        Args:
            count: of its positional arguments.
            named: the names of its others.
        """
        contract = self.contract
        recorded = [spec.name for spec in self.specs[count:] if spec is not None and spec.name]
        is_empty = not count and all(name not in named for name in contract.names)
        for name in recorded:
            has_default = name in contract.names and name not in contract.required
            if name not in named and (not has_default or is_empty):
                yield name

    def _missing(self, count: int, kwargs: Mapping[str, Any]) -> Iterator[str]:
        """The required parameters that a call of so many positional arguments leaves out."""
        for name, at in self._required:
            if at >= count and name not in kwargs:
                yield name

    @property
    def needs_several(self) -> bool:
        """Whether a call of one positional argument leaves something out."""
        return any(True for _ in self._missing(1, {}))

    def where(self, index: int, count: int) -> str:
        """How errors name a positional argument."""
        spec = self.spec(index)
        if spec is not None and spec.name:
            return spec.name
        return "input" if count == 1 else f"args[{index}]"

    def position(self, name: str) -> int:
        """Of a named argument; -1 if it has none."""
        return self.contract.names.index(name) if name in self.contract.names else -1

    def _described(self, index: int, name: str = "") -> Argument:
        return self.contract.arguments.get(self._name(index, name)) or NOT_DESCRIBED


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and not (value and isinstance(value[0], dict))


def _is_plain(value: list[Any]) -> bool:
    """Whether a list holds what JSON could hold; only the first items are looked at."""
    while value and isinstance(value[0], list):
        value = value[0]
    return not value or value[0] is None or isinstance(value[0], int | float | str | dict)
