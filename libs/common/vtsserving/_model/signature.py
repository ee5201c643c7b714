"""Which of a model's methods can be called, and along which dimensions their calls may be joined."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vtsserving._aliases import stable
from vtsserving.exceptions import InvalidSignature

CALL: Final = "__call__"
"""The signature that `runner.run` calls."""

MAX_DIM: Final = 31
"""Highest batch dimension; numpy's arrays have at most 64, text of the wire at most 32."""

MAX_SIGNATURES: Final = 64
_BATCH_DIMS: Final = 2


@stable
@dataclass(frozen=True, slots=True)
class ModelSignature:
    """How one method of a model may be called.

    Attributes:
        batchable: whether several calls may be joined into one.
        batch_dim: the dimensions along which (inputs are joined, outputs are split).
    """

    batchable: bool = False
    batch_dim: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Check the fields; `batch_dim` may also be given as one number for both.

        Raises:
            InvalidSignature: a field has the wrong type or an impossible value.
        """
        if not isinstance(self.batchable, bool):
            raise InvalidSignature(f"batchable is True or False, not {self.batchable!r}")
        object.__setattr__(self, "batch_dim", _dimensions(self.batch_dim))

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ModelSignature:
        """Read a signature as users write it.

        Args:
            raw: `batchable` and `batch_dim`, both optional.

        Raises:
            InvalidSignature: a key is unknown or a value is impossible.
        """
        if isinstance(raw, ModelSignature):
            return raw
        if not isinstance(raw, Mapping):
            raise InvalidSignature(f"a signature is a dict like {{'batchable': True}}, not {raw!r:.80}")
        unknown = sorted(str(key) for key in raw if key not in ("batchable", "batch_dim"))
        if unknown:
            raise InvalidSignature(f"unknown signature option {unknown[0]!r}; known are batchable, batch_dim")
        return cls(raw.get("batchable", False), raw.get("batch_dim", (0, 0)))

    def to_dict(self) -> dict[str, Any]:
        """The signature as model.yaml has it; `batch_dim` only where it is not the default."""
        shown: dict[str, Any] = {"batchable": self.batchable}
        if self.batch_dim != (0, 0):
            first, second = self.batch_dim
            shown["batch_dim"] = first if first == second else [first, second]
        return shown


def read_signatures(raw: Mapping[str, Any]) -> dict[str, ModelSignature]:
    """Read a model's signatures, by method name.

    Args:
        raw: method name to signature, as users write it or as model.yaml has it.

    Returns:
        New objects, in the same order.

    Raises:
        InvalidSignature: a name cannot be a public method, or a signature is impossible.
    """
    if not isinstance(raw, Mapping):
        raise InvalidSignature(
            f"signatures is a dict from method name to signature, not {type(raw).__name__}"
        )
    if len(raw) > MAX_SIGNATURES:
        raise InvalidSignature(f"a model has at most {MAX_SIGNATURES} signatures, not {len(raw)}")
    return {check_method_name(name): ModelSignature.from_dict(value) for name, value in raw.items()}


def check_method_name(name: str) -> str:
    """Check that a name is `__call__` or a public method name.

    Raises:
        InvalidSignature: it is private, a dunder, or no Python name.
    """
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier() or keyword.iskeyword(name):
        raise InvalidSignature(f"{name!a:.80} is not the name of a method")
    if name != CALL and name.startswith("_"):
        raise InvalidSignature(f"{name!r} is private; only public methods and '__call__' can be served")
    return name


def method_of(model: Any, name: str) -> Any:
    """The callable of a signature; a function is called itself, since its `__call__` does not show its parameters."""
    return model if name == CALL else getattr(model, name)


def _dimensions(raw: object) -> tuple[int, int]:
    pair = (raw, raw) if isinstance(raw, int) else raw
    if not isinstance(pair, tuple | list) or len(pair) != _BATCH_DIMS:
        raise InvalidSignature(f"batch_dim is a number or (input, output), not {raw!r:.80}")
    for dim in pair:
        if not isinstance(dim, int) or isinstance(dim, bool) or not 0 <= dim <= MAX_DIM:
            raise InvalidSignature(f"a batch dimension is a number from 0 to {MAX_DIM}, not {dim!r:.80}")
    return pair[0], pair[1]
