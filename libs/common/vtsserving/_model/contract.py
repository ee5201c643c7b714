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

from vtsserving._model.argument import NOT_DESCRIBED, Argument, nearest, read_arguments
from vtsserving._model.parameters import Parameters
from vtsserving._model.result_form import ResultForm, read_result
from vtsserving._model.signature import ModelSignature
from vtsserving.exceptions import InvalidSignature

if TYPE_CHECKING:
    from vtsserving._wire.call_rule import CallRule, Undescribed

Lists = Literal["arrays", "lists", "arrays_if_uniform"]
"""What a caller's list becomes: an array, the list that it is, or, in models of 0.1, an array if it can be."""

UNCHECKED: Final = "unchecked"
"""In place of True: calls may be merged, and nobody needs to try it."""

TOLERANT: Final = "tolerant"
UNDESCRIBED: Final = ("by_type", "parameter", "every_array_and_list")
LISTS: Final = ("arrays", "lists", "arrays_if_uniform")
SOURCES: Final = ("user", "framework", "example")

PLAIN: Final = ("batchable", "batch_dim")
"""The keys of a signature that the specification has."""
DECLARED: Final = ("arguments", "parameters", "result", "deterministic")
"""Those that only the contract has."""
RECORDED: Final = (
    *("positional", "keywords", "required", "takes_more", "takes_more_positions"),
    *("undescribed", "lists", "merged", "result_source", "example_arguments"),
)
"""What a record has beside these; it has no `parameters`, since `arguments` says the same."""


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
        required: those of both that every call must have.
        takes_more: whether it takes named arguments that are not among its parameters.
        takes_more_positions: whether it takes positional arguments beyond its parameters.
        arguments: parameter name to what it is.
        undescribed: what the arguments are that are not in `arguments`.
        lists: what a caller's list becomes.
        result: what it gives; None: that shows when it is called.
        result_source: who said so: `user`, `framework` or `example`.
        example_arguments: positional arguments of the example that showed it.
        merged: whether a trial at save left the calls mergeable.
    """

    batchable: bool = False
    unchecked: bool = False
    batch_dim: tuple[int, int] = (0, 0)
    deterministic: bool | str | None = None
    names: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    takes_more: bool = True
    takes_more_positions: bool = True
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    undescribed: Undescribed = "by_type"
    lists: Lists = "lists"
    result: ResultForm | None = None
    result_source: str = ""
    example_arguments: int = 1
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
    def declared(
        cls, method: str, raw: Mapping[str, Any] | ModelSignature, *, recorded: bool = False
    ) -> MethodContract:
        """The contract that a user wrote, with nothing added to it.

        Args:
            method: the name, for errors.
            raw: the signature as users write it.
            recorded: whether it comes from a record.

        Raises:
            InvalidSignature: a key is unknown or a value impossible; the message has the path of the key.
        """
        path = f"signatures[{method!r}]"
        signature = plain_signature(raw, path)
        if isinstance(raw, ModelSignature):
            return cls(signature.batchable, batch_dim=signature.batch_dim)
        result = raw.get("result")
        axis_in, axis_out = signature.batch_dim
        return cls(
            signature.batchable,
            _is_unchecked(raw.get("batchable")),
            signature.batch_dim,
            _deterministic(raw.get("deterministic"), path),
            arguments=read_arguments(raw, path, axis_in, recorded=recorded),
            result=None if result is None else read_result(result, f"{path}.result", axis_out),
            result_source="user" if result is not None else "",
        )

    @property
    def rule_axis(self) -> int | None:
        """The axis of rows where an argument does not say its own; None: calls are never merged."""
        return self.batch_dim[0] if self.batchable and self.merged else None

    @property
    def rule(self) -> CallRule:
        """How its calls are packed."""
        from vtsserving._wire.call_rule import (
            PARAMETER,
            CallRule,
        )  # with numpy, which listing models does without

        if self.rule_axis is None:
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
        return CallRule(self.rule_axis, self.names, kinds, self.undescribed)

    def keeps_list(self, name: str, at: int) -> bool:
        """Whether a caller's list of an argument stays the list that it is.

        The frameworks whose methods take arrays take one of data; what is a parameter beside it is handed on.

        Args:
            name: of the argument.
            at: its position; -1 if it has none.
        """
        described = self.arguments.get(name, NOT_DESCRIBED)
        if described.type == "tensor" or self.lists == "arrays_if_uniform":
            return False
        is_said = described.kind == "rows" or described.axis is not None or bool(described.dtype)
        return self.lists == "lists" or (self.undescribed == "parameter" and at != 0 and not is_said)

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

    def completed(self, method: str, parameters: Parameters) -> MethodContract:
        """The same, knowing the method's parameters.

        Args:
            method: the name, for errors.
            parameters: of the method.

        Raises:
            InvalidSignature: an argument is described that the method does not have.
        """
        known = (*parameters.names, *parameters.keywords)
        for name, argument in self.arguments.items():
            if name not in known and not parameters.takes_more:
                is_short = argument == Argument("parameter")
                where = f".parameters names {name!r}" if is_short else f".arguments[{name!r}]"
                raise InvalidSignature(
                    f"signatures[{method!r}]{where}: the method has no such argument{nearest(name, known)}; it takes "
                    f"{', '.join(known) or 'none that has a name'}"
                )
        return replace(
            self,
            names=parameters.names,
            keywords=parameters.keywords,
            required=parameters.required,
            takes_more=parameters.takes_more,
            takes_more_positions=parameters.takes_more_positions,
        )

    def to_dict(self) -> dict[str, Any]:
        """As it is recorded; `from_dict` reads it."""
        shown: dict[str, Any] = {
            "batchable": UNCHECKED if self.unchecked else self.batchable,
            "batch_dim": list(self.batch_dim),
            "positional": list(self.names),
            "keywords": list(self.keywords),
            "required": list(self.required),
            "takes_more": self.takes_more,
            "takes_more_positions": self.takes_more_positions,
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
            if self.example_arguments != 1:
                shown["example_arguments"] = self.example_arguments
        return shown

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> MethodContract:
        """Read a recorded contract.

        Raises:
            InvalidSignature: it is damaged.
        """
        known = {key: raw[key] for key in (*PLAIN, *DECLARED) if key in raw}
        base = cls.declared("", known, recorded=True)
        return replace(
            base,
            names=tuple(map(str, raw.get("positional", ()))),
            keywords=tuple(map(str, raw.get("keywords", ()))),
            required=tuple(map(str, raw.get("required", ()))),
            takes_more=bool(raw.get("takes_more", True)),
            takes_more_positions=bool(raw.get("takes_more_positions", True)),
            undescribed=cast("Undescribed", _one_of(raw.get("undescribed", "by_type"), UNDESCRIBED)),
            lists=cast(Lists, _one_of(raw.get("lists", "lists"), LISTS)),
            result_source=str(raw.get("result_source", "")),
            example_arguments=int(raw.get("example_arguments", 1)),
            merged=bool(raw.get("merged", True)),
        )


def plain_signature(raw: Any, path: str = "the signature") -> ModelSignature:
    """The part of a signature that the specification knows.

    Args:
        raw: the signature as users write it.
        path: of it, for errors.

    Raises:
        InvalidSignature: a key is unknown or a value impossible; the message has the path of the key.
    """
    if isinstance(raw, ModelSignature):
        return raw
    if not isinstance(raw, Mapping):
        raise InvalidSignature(f"{path} is a dict like {{'batchable': True}}, not {raw!r:.80}")
    for key in raw:
        if key not in PLAIN and key not in DECLARED:
            raise InvalidSignature(
                f"{path} has the unknown key {key!r:.60}{nearest(key, (*PLAIN, *DECLARED))}; "
                f"known are {', '.join((*PLAIN, *DECLARED))}"
            )
    plain = {key: raw[key] for key in PLAIN if key in raw}
    if _is_unchecked(plain.get("batchable")):
        plain["batchable"] = True
    try:
        return ModelSignature.from_dict(plain)
    except InvalidSignature as error:
        raise InvalidSignature(f"{path}: {error.message}") from None


def _is_unchecked(batchable: Any) -> bool:
    return isinstance(batchable, str) and batchable == UNCHECKED


def _deterministic(raw: Any, path: str) -> bool | str | None:
    if raw is None or isinstance(raw, bool) or (isinstance(raw, str) and raw == TOLERANT):
        return raw
    raise InvalidSignature(f"{path}.deterministic is True, False or {TOLERANT!r}, not {raw!r:.60}")


def _one_of(value: Any, known: Sequence[str]) -> str:
    if value not in known:
        raise InvalidSignature(f"{value!r:.60} is none of {', '.join(known)}")
    return str(value)
