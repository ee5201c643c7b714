"""Serving options that are saved with a model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from vtsserving._aliases import stable
from vtsserving.exceptions import InvalidArgument

MAX_TIME_S: Final = 86_400.0
MAX_COUNT: Final = 1_000_000
MAX_GPU: Final = 9_999

PER_METHOD: Final = ("max_batch_size", "max_wait_ms", "max_latency_ms", "timeout_s")
"""Options that methods of one model may have of their own."""

_Options = TypeVar("_Options", bound="ModelOptions")


@stable
@dataclass(frozen=True)
class ModelOptions:
    """How a model wants to be served. Framework modules add their own fields in subclasses.

    Attributes:
        max_batch_size: most rows in one call; None: no limit of its own.
        max_wait_ms: longest that a batch waits for more rows, milliseconds.
        max_latency_ms: a call that is not answered within this time is refused as overload, milliseconds; None: only
            its deadline counts. It never delays a batch.
        timeout_s: a call that takes longer counts as hung, seconds; None: never.
        threads: threads that the model's libraries may use; None: their own default.
        replicas: model processes per runner.
        device: `cpu`, `cuda`, `cuda:0` or the number of a GPU; or a list of them, one for each replica.
        pad_to: numbers of rows that the model prefers, because it was compiled for them: a batch is filled up to the
            next one, and the surplus is cut from the answer; None: batches are computed as they are.
        method_configs: method to the options of PER_METHOD that are others for it, such as
            `{"predict": {"max_batch_size": 8}}`.
    """

    max_batch_size: int | None = 64
    max_wait_ms: float = 0.0
    max_latency_ms: float | None = None
    timeout_s: float | None = 60.0
    threads: int | None = 1
    replicas: int = 1
    device: str | tuple[str, ...] | None = None
    pad_to: tuple[int, ...] | None = None
    method_configs: Mapping[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InvalidArgument: one has the wrong type or is out of range.
        """
        _check_count("max_batch_size", self.max_batch_size, optional=True)
        _check_count("threads", self.threads, optional=True)
        _check_count("replicas", self.replicas, optional=False)
        _check_time("max_wait_ms", self.max_wait_ms, at_least=0.0, most=MAX_TIME_S * 1_000)
        if self.max_latency_ms is not None:
            _check_time("max_latency_ms", self.max_latency_ms, at_least=0.001, most=MAX_TIME_S * 1_000)
        if self.timeout_s is not None:
            _check_time("timeout_s", self.timeout_s, at_least=0.001, most=MAX_TIME_S)
        object.__setattr__(self, "device", _device(self.device))
        object.__setattr__(self, "pad_to", _sizes(self.pad_to))
        object.__setattr__(self, "method_configs", _method_configs(self.method_configs))

    @classmethod
    def from_dict(
        cls: type[_Options], raw: Mapping[str, Any] | ModelOptions, *, strict: bool = True
    ) -> _Options:
        """Read options as users write them or as model.yaml has them.

        Args:
            raw: option name to value; what is missing has its default.
            strict: whether an unknown name is an error; else it is left out (a newer version wrote it).

        Raises:
            InvalidArgument: a name is unknown, or a value is impossible.
        """
        if isinstance(raw, cls):
            return raw
        if isinstance(raw, ModelOptions):
            raw = raw.to_dict()
        elif not isinstance(raw, Mapping):
            raise InvalidArgument(f"options is a dict or {cls.__name__}, not {type(raw).__name__}")
        if not raw:
            return cls()
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(str(name) for name in raw if name not in known)
        if unknown and strict:
            raise InvalidArgument(f"unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}")
        return cls(**{name: value for name, value in raw.items() if name in known})

    def of_method(self, name: str) -> ModelOptions:
        """The options that count for one method."""
        own = (self.method_configs or {}).get(name)
        return self if own is None else dataclasses.replace(self, method_configs=None, **own)

    def check_methods(self, methods: Iterable[str]) -> None:
        """Check that `method_configs` names methods that there are.

        Raises:
            InvalidArgument: it names another one.
        """
        known = sorted(methods)
        for name in self.method_configs or {}:
            if name not in known:
                raise InvalidArgument(f"method_configs names {name!r}; the methods are {', '.join(known)}")

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, as model.yaml has it."""
        changed: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                changed[field.name] = _plain(value)
        return changed


def _plain(value: Any) -> Any:
    """An option's value as YAML and JSON have it."""
    if isinstance(value, tuple):
        return list(value)
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, Mapping) else value


def _method_configs(raw: object) -> dict[str, dict[str, Any]] | None:
    if raw is None or raw == {}:
        return None
    if not isinstance(raw, Mapping) or not all(isinstance(own, Mapping) for own in raw.values()):
        raise InvalidArgument(
            f"method_configs is a dict like {{'predict': {{'max_batch_size': 8}}}}, not {raw!r:.80}"
        )
    for name, own in raw.items():
        unknown = sorted(str(key) for key in own if key not in PER_METHOD)
        if unknown:
            raise InvalidArgument(
                f"method_configs[{name!r}] has {unknown[0]!r:.80}; a method has {', '.join(PER_METHOD)}"
            )
        ModelOptions(**own)
    return {str(name): dict(own) for name, own in raw.items() if own} or None


def _check_count(name: str, value: object, *, optional: bool) -> None:
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_COUNT:
        raise InvalidArgument(f"{name} is a number from 1 to {MAX_COUNT:,}, not {value!r:.80}")


def _check_time(name: str, value: object, *, at_least: float, most: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not at_least <= value <= most:  # type: ignore[arg-type,operator]
        raise InvalidArgument(f"{name} is a number from {at_least:g} to {most:g}, not {value!r:.80}")


def _sizes(raw: object) -> tuple[int, ...] | None:
    if raw is None:
        return None
    if not isinstance(raw, list | tuple) or not raw:
        raise InvalidArgument(f"pad_to is a list of numbers of rows, such as [1, 8, 32], not {raw!r:.80}")
    for size in raw:
        _check_count("each of pad_to", size, optional=False)
    return tuple(sorted(set(raw)))


def _device(raw: object) -> str | tuple[str, ...] | None:
    if isinstance(raw, list | tuple) and raw:
        return tuple(_device_name(item) for item in raw)
    return None if raw is None else _device_name(raw)


def _device_name(raw: object) -> str:
    if isinstance(raw, str) and raw:
        return f"cuda:{raw}" if raw.isdecimal() and raw.isascii() else raw
    if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw <= MAX_GPU:
        return f"cuda:{raw}"
    raise InvalidArgument(
        f"device is a name like 'cpu' or 'cuda:0', the number of a GPU, or a list of them, not {raw!r:.80}"
    )
