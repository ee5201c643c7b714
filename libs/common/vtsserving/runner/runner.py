"""The handle on which a model's signatures are called, wherever the model runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from vtsserving._aliases import stable
from vtsserving._model.contract import MethodContract
from vtsserving._model.info import ModelInfo
from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import CALL, ModelSignature
from vtsserving._model.tag import Tag
from vtsserving.exceptions import InvalidArgument, MethodNotFound, RunnerNotInitialized
from vtsserving.runner.runnable import Runnable


class RunnerHandle(Protocol):
    """Where calls go: an object in this process, or a model process elsewhere."""

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method and wait for its result."""

    async def async_call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method without blocking the event loop."""


class SavedModel(Protocol):
    """A saved model as a runner uses it: a `vtsserving.Model`."""

    @property
    def tag(self) -> Tag:
        """Name and exact version."""

    @property
    def path(self) -> Path:
        """The directory with its files."""

    @property
    def digest(self) -> str:
        """`sha256:` and the digest of its manifest."""

    @property
    def info(self) -> ModelInfo:
        """Everything that is recorded about it."""


@stable
class RunnerMethod:
    """One signature of a runner.

    Attributes:
        name: the method's name.
        signature: how it may be called.
    """

    def __init__(self, runner: Runner, name: str, signature: ModelSignature) -> None:
        self._runner = runner
        self.name = name
        self.signature = signature

    def __repr__(self) -> str:
        return f"RunnerMethod({self._runner.name}.{self.name})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As `run`."""
        return self.run(*args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model's method and wait for its result.

        Raises:
            RunnerNotInitialized: the runner is neither local nor part of a service that runs.
        """
        return self._runner.handle.call(self.name, args, kwargs)

    async def async_run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model's method without blocking the event loop; raises as `run`."""
        return await self._runner.handle.async_call(self.name, args, kwargs)


@stable
class Runner:
    """A handle on a model or a custom Runnable.

    Its signatures are attributes: `runner.predict.run(rows)`; `runner.run(...)` calls `__call__`, or the only one.

    Attributes:
        name: the runner's name, unique in a service.
        models: the saved models that it uses.
        signatures: callable method to how it may be called.
        options: how it wants to be served.
        overrides: those of the options that were given to this runner; the others are the model's own.
    """

    def __init__(
        self,
        runnable_class: type[Runnable],
        *,
        name: str | None = None,
        runnable_init_params: Mapping[str, Any] | None = None,
        models: Sequence[SavedModel] | None = None,
        max_batch_size: int | None = None,
        max_latency_ms: float | None = None,
        method_configs: Mapping[str, Mapping[str, Any]] | None = None,
        options: ModelOptions | Mapping[str, Any] | None = None,
    ) -> None:
        """Create a handle on a custom Runnable.

        Args:
            runnable_class: a subclass of Runnable with marked methods.
            name: the runner's name; the class's in lower case by default.
            runnable_init_params: keyword arguments with which the class is constructed, where it runs.
            models: saved models that the class uses; they are there where it runs.
            max_batch_size: most rows in one call.
            max_latency_ms: a call that is not answered within this time is refused as overload, milliseconds.
            method_configs: method to limits of its own, such as `{"predict": {"max_batch_size": 8}}`.
            options: more on how it wants to be served; see ModelOptions.

        Raises:
            InvalidArgument: the class has no marked method, or an option is impossible.
        """
        if not isinstance(runnable_class, type) or not issubclass(runnable_class, Runnable):
            raise InvalidArgument(
                "Runner() takes a subclass of vtsserving.Runnable; saved models have to_runner()"
            )
        signatures = runnable_class.signatures()
        if not signatures:
            raise InvalidArgument(f"{runnable_class.__name__} has no method marked with @Runnable.method")
        self.runnable_class: type[Runnable] | None = runnable_class
        self.runnable_init_params = dict(runnable_init_params or {})
        chosen = chosen_options(options, max_batch_size, max_latency_ms, method_configs)
        base = runnable_class.default_options()
        self._set_up(name or _snake(runnable_class.__name__), models or (), signatures, base, chosen)

    @classmethod
    def of_model(
        cls,
        model: SavedModel,
        *,
        name: str | None = None,
        max_batch_size: int | None = None,
        max_latency_ms: float | None = None,
        method_configs: Mapping[str, Mapping[str, Any]] | None = None,
        options: ModelOptions | Mapping[str, Any] | None = None,
    ) -> Runner:
        """Create a handle on a saved model; arguments as those of the class, the options override the model's own.

        Raises:
            InvalidArgument: an option is impossible.
        """
        runner = cls.__new__(cls)
        runner.runnable_class = None
        runner.runnable_init_params = {}
        chosen = chosen_options(options, max_batch_size, max_latency_ms, method_configs)
        info = model.info
        runner._set_up(name or model.tag.name, (model,), info.signatures, info.options.to_dict(), chosen)
        return runner

    def __repr__(self) -> str:
        return f"Runner({self.name!r}, methods=[{', '.join(self.signatures)}])"

    def __getattr__(self, name: str) -> RunnerMethod:
        # Reached only for what is no attribute; `vars` because a half-built runner has no `methods` either.
        methods: dict[str, RunnerMethod] = vars(self).get("methods", {})
        if name in methods:
            return methods[name]
        self._no_method(name, AttributeError)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.methods]

    @property
    def contracts(self) -> Mapping[str, MethodContract]:
        """Callable method to its contract."""
        if self.runnable_class is not None:
            return self.runnable_class.contracts()
        return self.models[0].info.contracts

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model's `__call__`, or its only method, and wait for the result.

        Raises:
            MethodNotFound: the model has several methods, and none is `__call__`.
            RunnerNotInitialized: the runner is neither local nor part of a service that runs.
        """
        return self._default().run(*args, **kwargs)

    async def async_run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the same method as `run` does, without blocking the event loop; raises as `run`."""
        return await self._default().async_run(*args, **kwargs)

    def init_local(self) -> None:
        """Load the model into this process, for development and tests.

        Raises:
            VtsServingException: the model cannot be loaded here.
        """
        from vtsserving.runner.local import LocalHandle

        if self.runnable_class is not None:
            target: Any = self.runnable_class(**self.runnable_init_params)
            specs: Mapping[str, Any] = {}
        else:
            from vtsserving._saving.framework import load_for_serving

            target = load_for_serving(self.models[0].path)
            specs = self.models[0].info.input_specs
        self.bind(LocalHandle(target, self.contracts, self.options, specs))

    def bind(self, handle: RunnerHandle) -> None:
        """Send calls somewhere else from now on; services use it to reach model processes.

        Args:
            handle: where calls go.
        """
        self._handle: RunnerHandle | None = handle

    @property
    def handle(self) -> RunnerHandle:
        """Where calls go.

        Raises:
            RunnerNotInitialized: nowhere yet.
        """
        if self._handle is None:
            raise RunnerNotInitialized(
                f"the runner {self.name!r} is not initialized: call init_local() for development and tests, or use "
                "it in a service"
            )
        return self._handle

    def _set_up(
        self,
        name: str,
        models: Sequence[SavedModel],
        signatures: Mapping[str, ModelSignature],
        base: Mapping[str, Any],
        chosen: Mapping[str, Any],
    ) -> None:
        self.name = Tag(name).name
        self.models = tuple(models)
        self.signatures = dict(signatures)
        self.overrides = dict(chosen)
        self.options = ModelOptions.from_dict({**base, **chosen})
        self.options.check_methods(signatures)
        self._handle = None
        self.methods = {method: RunnerMethod(self, method, one) for method, one in self.signatures.items()}
        if "run" in self.methods and CALL not in self.methods:
            # A method that is called `run`, as onnx has it, can be called like every other: `runner.run.run(rows)`.
            vars(self)["run"] = self.methods["run"]

    def _default(self) -> RunnerMethod:
        only = next(iter(self.methods.values())) if len(self.methods) == 1 else self.methods.get("run")
        return self.methods.get(CALL) or only or self._no_method(CALL, MethodNotFound)

    def _no_method(self, name: str, error: type[Exception]) -> NoReturn:
        known = ", ".join(vars(self).get("signatures", {}))
        raise error(f"the runner {vars(self).get('name', '')!r} has no method {name!r}; it has {known}")


def chosen_options(
    options: ModelOptions | Mapping[str, Any] | None,
    max_batch_size: int | None,
    max_latency_ms: float | None,
    method_configs: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """The options that a runner was given, in whatever way; an argument of its own wins over `options`."""
    chosen = options.to_dict() if isinstance(options, ModelOptions) else dict(options or {})
    own = {
        "max_batch_size": max_batch_size,
        "max_latency_ms": max_latency_ms,
        "method_configs": method_configs,
    }
    return {**chosen, **{name: value for name, value in own.items() if value is not None}}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip("_")).lower()
