"""The handle on which a model's signatures are called, wherever the model runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol

from vtsserving.exceptions import InvalidArgument, MethodNotFound, RunnerNotInitialized
from vtsserving.model import Model
from vtsserving.options import ModelOptions
from vtsserving.runnable import Runnable
from vtsserving.signature import CALL, ModelSignature
from vtsserving.tag import Tag


class RunnerHandle(Protocol):
    """Where calls go: an object in this process, or a model process elsewhere."""

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method and wait for its result."""

    async def async_call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method without blocking the event loop."""


class LocalHandle:
    """Calls an object in this process.

    Attributes:
        target: the object whose methods are called.
    """

    def __init__(self, target: Any) -> None:
        self.target = target

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method."""
        return getattr(self.target, method)(*args, **kwargs)

    async def async_call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method in a thread."""
        import asyncio

        return await asyncio.to_thread(self.call, method, args, kwargs)


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

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model's method and wait for its result.

        Raises:
            RunnerNotInitialized: the runner is neither local nor part of a service that runs.
        """
        return self._runner.handle.call(self.name, args, kwargs)

    async def async_run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model's method without blocking the event loop; raises as `run`."""
        return await self._runner.handle.async_call(self.name, args, kwargs)


class Runner:
    """A handle on a model or a custom Runnable.

    Its signatures are attributes: `runner.predict.run(rows)`; `runner.run(...)` calls `__call__`.

    Attributes:
        name: the runner's name, unique in a service.
        models: the saved models that it uses.
        signatures: callable method to how it may be called.
        options: how it wants to be served.
    """

    def __init__(
        self,
        runnable_class: type[Runnable],
        *,
        name: str | None = None,
        runnable_init_params: Mapping[str, Any] | None = None,
        models: Sequence[Model] = (),
        options: ModelOptions | Mapping[str, Any] | None = None,
    ) -> None:
        """Create a handle on a custom Runnable.

        Args:
            runnable_class: a subclass of Runnable with marked methods.
            name: the runner's name; the class's in lower case by default.
            runnable_init_params: keyword arguments with which the class is constructed, where it runs.
            models: saved models that the class uses.
            options: how it wants to be served.

        Raises:
            InvalidArgument: the class has no marked method.
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
        self._set_up(name or _snake(runnable_class.__name__), models, signatures, options or {})

    @classmethod
    def of_model(
        cls, model: Model, *, name: str | None = None, options: ModelOptions | Mapping[str, Any] | None = None
    ) -> Runner:
        """Create a handle on a saved model.

        Args:
            model: the model.
            name: the runner's name; the model's by default.
            options: override the model's own, one by one.

        Raises:
            InvalidArgument: an option is impossible.
        """
        runner = cls.__new__(cls)
        runner.runnable_class = None
        runner.runnable_init_params = {}
        chosen = options.to_dict() if isinstance(options, ModelOptions) else dict(options or {})
        merged = {**model.info.options.to_dict(), **chosen}
        runner._set_up(name or model.tag.name, (model,), model.info.signatures, merged)
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

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model's `__call__`, or its `run` where it has only that, and wait for the result.

        Raises:
            MethodNotFound: the model has neither signature.
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
        if self.runnable_class is not None:
            self.bind(LocalHandle(self.runnable_class(**self.runnable_init_params)))
            return
        from vtsserving.framework import load_for_serving

        self.bind(LocalHandle(load_for_serving(self.models[0].path)))

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
        models: Sequence[Model],
        signatures: Mapping[str, ModelSignature],
        options: ModelOptions | Mapping[str, Any],
    ) -> None:
        self.name = Tag(name).name
        self.models = tuple(models)
        self.signatures = dict(signatures)
        self.options = ModelOptions.from_dict(options)
        self._handle = None
        self.methods = {method: RunnerMethod(self, method, one) for method, one in self.signatures.items()}

    def _default(self) -> RunnerMethod:
        method = self.methods.get(CALL) or self.methods.get("run")
        return method or self._no_method(CALL, MethodNotFound)

    def _no_method(self, name: str, error: type[Exception]) -> NoReturn:
        known = ", ".join(vars(self).get("signatures", {}))
        raise error(f"the runner {vars(self).get('name', '')!r} has no method {name!r}; it has {known}")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip("_")).lower()
