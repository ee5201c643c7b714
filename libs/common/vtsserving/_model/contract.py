"""The contract of a method: what is a row, what is a parameter, what comes back; docs/contract.md is the prose version.

    {"batchable": true, "batch_dim": 0, "deterministic": true,
     "arguments": {"X": {"kind": "rows", "axis": 0, "type": "tensor", "dtype": "float64", "shape": [-1, 4]},
                   "weights": {"kind": "parameter"}},
     "result": {"axis": 0, "type": "tensor"}}

Users write it among a method's signature; `save_model` completes it and records it in the manifest's `extra`, since
model.yaml has the keys of the specification and no others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from vtsserving._model.parameters import Parameters
from vtsserving._model.result_form import ResultForm, read_result
from vtsserving._model.signature import MAX_DIM, ModelSignature
from vtsserving.exceptions import InvalidSignature

if TYPE_CHECKING:
    from vtsserving._wire.call_rule import CallRule, Undescribed

Lists = Literal["arrays", "lists", "arrays_if_uniform"]
"""What a caller's list becomes: an array, the list that it is, or, in models of 0.1, an array if it can be."""

Kind = Literal["rows", "parameter"]

KINDS: Final = ("rows", "parameter")
TYPES: Final = ("tensor", "table", "texts", "bytes", "any")
EXTRA_COLUMNS: Final = ("error", "ignore")
DECLARED: Final = ("arguments", "parameters", "result", "deterministic")
"""The keys of a signature that only the contract knows."""

_ARGUMENT: Final = ("kind", "axis", "type", "dtype", "shape", "columns", "extra_columns")
_COLUMN: Final = ("name", "dtype", "nullable", "categories")


@dataclass(frozen=True, slots=True)
class Argument:
    """What one argument of a method is; None and empty: not said.

    Attributes:
        kind: rows, which are joined with those of other callers, or a parameter, equal for all who share a batch.
        axis: along which its rows lie; the method's batch_dim where it is not said.
        type: `tensor`, `table`, `texts`, `bytes` or `any`.
        dtype: of a tensor.
        shape: of a tensor; -1 varies.
        columns: of a table, in order: name, dtype, nullable, categories.
        extra_columns: what happens to columns that a table has beside these: `error` or `ignore`.
    """

    kind: Kind | None = None
    axis: int | None = None
    type: str = ""
    dtype: str = ""
    shape: tuple[int, ...] | None = None
    columns: tuple[Mapping[str, Any], ...] = ()
    extra_columns: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As it is recorded: what is said of it."""
        shown = {name: getattr(self, name) for name in _ARGUMENT}
        shown["shape"] = None if self.shape is None else list(self.shape)
        shown["columns"] = [dict(column) for column in self.columns]
        return {name: value for name, value in shown.items() if value not in (None, "", [])}


@dataclass(frozen=True, slots=True)
class MethodContract:
    """How one method is called, and what it gives.

    Attributes:
        batchable: whether calls may be merged.
        unchecked: whether its author says so and asks for no trial.
        batch_dim: axes of rows in arguments and results, where these do not say their own.
        deterministic: whether equal calls give equal answers; `tolerant`: up to rounding. None: not said.
        names: the method's positional parameters, in order; empty where they are not known.
        keywords: parameters that are taken by name only.
        takes_more: whether it takes named arguments that are not among its parameters.
        arguments: parameter name to what it is.
        undescribed: what the arguments are that are not in `arguments`.
        lists: what a caller's list becomes.
        result: what it gives; None: that shows when it is called.
        result_source: who said so: `user`, `framework` or `example`.
        merged: whether a trial at save left the calls mergeable.
    """

    batchable: bool = False
    unchecked: bool = False
    batch_dim: tuple[int, int] = (0, 0)
    deterministic: bool | str | None = None
    names: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    takes_more: bool = True
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    undescribed: Undescribed = "by_type"
    lists: Lists = "lists"
    result: ResultForm | None = None
    result_source: str = ""
    merged: bool = True

    @classmethod
    def of_0_1(cls, signature: ModelSignature) -> MethodContract:
        """The contract of a model that 0.1 saved, which recorded none: it is served by the rule of 0.1."""
        return cls(
            signature.batchable,
            batch_dim=signature.batch_dim,
            undescribed="every_array_and_list",
            lists="arrays_if_uniform",
        )

    @classmethod
    def declared(cls, method: str, raw: Mapping[str, Any] | ModelSignature) -> MethodContract:
        """The contract that a user wrote, with nothing added to it.

        Args:
            method: the name, for errors.
            raw: the signature as users write it.

        Raises:
            InvalidSignature: a key is unknown or a value impossible; the message has the path of the key.
        """
        signature = plain_signature(raw)
        if isinstance(raw, ModelSignature):
            raw = {}
        path = f"signatures[{method!r}]"
        arguments = _arguments(raw, path)
        deterministic = raw.get("deterministic")
        if deterministic not in (None, True, False, "tolerant"):
            raise InvalidSignature(
                f"{path}.deterministic is True, False or 'tolerant', not {deterministic!r:.60}"
            )
        result = raw.get("result")
        return cls(
            signature.batchable,
            raw.get("batchable") == UNCHECKED,
            signature.batch_dim,
            deterministic,
            arguments=arguments,
            result=None if result is None else read_result(result, f"{path}.result", signature.batch_dim[1]),
            result_source="user" if result is not None else "",
        )

    @property
    def rule(self) -> CallRule:
        """How its calls are packed."""
        from vtsserving._wire.call_rule import (
            PARAMETER,
            CallRule,
        )  # with numpy, which listing models does without

        if not self.batchable or not self.merged:
            return CallRule(None, self.names)
        kinds = {
            name: PARAMETER
            if one.kind == "parameter"
            else self.batch_dim[0]
            if one.axis is None
            else one.axis
            for name, one in self.arguments.items()
            if one.kind is not None
        }
        return CallRule(self.batch_dim[0], self.names, kinds, self.undescribed)

    @property
    def is_described(self) -> bool:
        """Whether its author said more than the specification's two keys."""
        return (
            bool(self.arguments)
            or self.result is not None
            or self.deterministic is not None
            or self.unchecked
        )

    @property
    def signature_for_0_1(self) -> ModelSignature:
        """The signature in model.yaml: not batchable where 0.1, which reads nothing else, would merge calls wrongly."""
        axis_in, axis_out = self.batch_dim
        is_plain = (
            self.merged
            and all(
                one.kind != "parameter" and one.axis in (None, axis_in) for one in self.arguments.values()
            )
            and (self.result is None or self.result.is_plain(axis_out))
        )
        return ModelSignature(self.batchable and is_plain, self.batch_dim)

    @property
    def can_be_cut(self) -> bool | None:
        """Whether a request may be computed in parts of its rows; None: that shows when it is called."""
        return None if self.result is None else self.result.follows_rows

    def completed(self, method: str, parameters: Parameters) -> MethodContract:
        """The same, knowing the method's parameters.

        Args:
            method: the name, for errors.
            parameters: of the method.

        Raises:
            InvalidSignature: an argument is described that the method does not have.
        """
        known = (*parameters.names, *parameters.keywords)
        for name in self.arguments:
            if name not in known and not parameters.takes_more:
                raise InvalidSignature(
                    f"signatures[{method!r}].arguments[{name!r}]: the method has no such argument; it takes "
                    f"{', '.join(known) or 'none'}"
                )
        return replace(
            self,
            names=parameters.names,
            keywords=parameters.keywords,
            takes_more=parameters.takes_more,
        )

    def to_dict(self) -> dict[str, Any]:
        """As it is recorded; `from_dict` reads it."""
        shown: dict[str, Any] = {
            "batchable": UNCHECKED if self.unchecked else self.batchable,
            "batch_dim": list(self.batch_dim),
            "positional": list(self.names),
            "keywords": list(self.keywords),
            "takes_more": self.takes_more,
            "undescribed": self.undescribed,
            "lists": self.lists,
        }
        if not self.merged:
            shown["merged"] = False
        if self.deterministic is not None:
            shown["deterministic"] = self.deterministic
        if self.arguments:
            shown["arguments"] = {name: one.to_dict() for name, one in self.arguments.items()}
        if self.result is not None:
            shown["result"] = self.result.to_raw()
            shown["result_source"] = self.result_source
        return shown

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> MethodContract:
        """Read a recorded contract.

        Raises:
            InvalidSignature: it is damaged.
        """
        known = {key: raw[key] for key in ("batchable", "batch_dim", *DECLARED) if key in raw}
        base = cls.declared("", known)
        return replace(
            base,
            names=tuple(map(str, raw.get("positional", ()))),
            keywords=tuple(map(str, raw.get("keywords", ()))),
            takes_more=bool(raw.get("takes_more", True)),
            undescribed=cast("Undescribed", _one_of(raw.get("undescribed", "by_type"), UNDESCRIBED)),
            lists=cast(Lists, _one_of(raw.get("lists", "lists"), LISTS)),
            result_source=str(raw.get("result_source", "")),
            merged=bool(raw.get("merged", True)),
        )


UNCHECKED: Final = "unchecked"
"""In place of True: calls may be merged, and nobody needs to try it."""

UNDESCRIBED: Final = ("by_type", "parameter", "every_array_and_list")
LISTS: Final = ("arrays", "lists", "arrays_if_uniform")


def plain_signature(raw: Any) -> ModelSignature:
    """The part of a signature that the specification knows.

    Raises:
        InvalidSignature: a key is unknown or a value impossible.
    """
    if isinstance(raw, ModelSignature):
        return raw
    if not isinstance(raw, Mapping):
        return ModelSignature.from_dict(raw)
    plain = {key: value for key, value in raw.items() if key not in DECLARED}
    if plain.get("batchable") == UNCHECKED:
        plain["batchable"] = True
    return ModelSignature.from_dict(plain)


def _one_of(value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise InvalidSignature(f"{value!r:.60} is none of {', '.join(known)}")
    return str(value)


def _arguments(raw: Mapping[str, Any], path: str) -> dict[str, Argument]:
    described = raw.get("arguments") or {}
    if not isinstance(described, Mapping):
        raise InvalidSignature(f"{path}.arguments is a dict from argument name to what it is")
    found = {
        _name(name, f"{path}.arguments"): _argument(one, f"{path}.arguments[{name!r}]")
        for name, one in described.items()
    }
    parameters = raw.get("parameters") or ()
    if isinstance(parameters, str) or not isinstance(parameters, Sequence):
        raise InvalidSignature(f"{path}.parameters is a list of argument names")
    for name in parameters:
        known = found.get(_name(name, f"{path}.parameters"), Argument())
        if known.kind == "rows":
            raise InvalidSignature(
                f"{path}.parameters names {name!r}, which {path}.arguments declares to be rows"
            )
        found[name] = replace(known, kind="parameter")
    return found


def _name(name: Any, path: str) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidSignature(f"{path} has {name!r:.60}, which is not the name of an argument")
    return name


def _argument(raw: Any, path: str) -> Argument:
    if not isinstance(raw, Mapping):
        raise InvalidSignature(f"{path} is a dict like {{'kind': 'rows'}}, not {raw!r:.60}")
    for key in raw:
        if key not in _ARGUMENT:
            raise InvalidSignature(
                f"{path} has the unknown key {key!r:.60}; known are {', '.join(_ARGUMENT)}"
            )
    for key, known in (("kind", KINDS), ("type", TYPES), ("extra_columns", EXTRA_COLUMNS)):
        if raw.get(key) not in (None, *known):
            raise InvalidSignature(f"{path}.{key} is {' or '.join(known)}, not {raw[key]!r:.60}")
    axis = raw.get("axis")
    if axis is not None and not _is_axis(axis):
        raise InvalidSignature(f"{path}.axis is a number from 0 to {MAX_DIM}, not {axis!r:.60}")
    if axis is not None and raw.get("kind") == "parameter":
        raise InvalidSignature(f"{path}.axis does not fit a parameter, which has no rows")
    if raw.get("type") == "table" and axis:
        raise InvalidSignature(f"{path}.axis is {axis}, but the rows of a table lie along axis 0")
    return Argument(
        raw.get("kind"),
        axis,
        raw.get("type") or "",
        str(raw.get("dtype") or ""),
        _shape(raw.get("shape"), path, axis),
        _columns(raw.get("columns"), path),
        raw.get("extra_columns") or "",
    )


def _is_axis(axis: Any) -> bool:
    return type(axis) is int and 0 <= axis <= MAX_DIM


def _shape(raw: Any, path: str, axis: int | None) -> tuple[int, ...] | None:
    if raw is None:
        return None
    if isinstance(raw, str) or not isinstance(raw, Sequence):
        raise InvalidSignature(f"{path}.shape is a list of sizes, -1 where one varies")
    sizes = tuple(-1 if size is None else size for size in raw)
    if any(type(size) is not int or size < -1 for size in sizes):
        raise InvalidSignature(f"{path}.shape is a list of sizes, -1 where one varies, not {raw!r:.60}")
    if axis is not None and axis >= len(sizes):
        raise InvalidSignature(f"{path}.axis is {axis}, but its shape has {len(sizes)} dimensions")
    return sizes


def _columns(raw: Any, path: str) -> tuple[Mapping[str, Any], ...]:
    if raw is None:
        return ()
    if isinstance(raw, str) or not isinstance(raw, Sequence):
        raise InvalidSignature(f"{path}.columns is a list of column names or of dicts with a name")
    columns = [column if isinstance(column, Mapping) else {"name": column} for column in raw]
    for at, column in enumerate(columns):
        unknown = [key for key in column if key not in _COLUMN]
        if unknown or "name" not in column:
            raise InvalidSignature(
                f"{path}.columns[{at}] is a name, or a dict of {', '.join(_COLUMN)} with at least a name"
            )
    return tuple(dict(column) for column in columns)
