"""Services: functions of yours behind HTTP, with models called through runners.

    svc = vtsserving.Service("iris_classifier", runners=[iris_clf_runner])

    @svc.api(input=NumpyNdarray(), output=NumpyNdarray())
    def classify(input_series: np.ndarray) -> np.ndarray:
        return iris_clf_runner.predict.run(input_series)

`vtsserving serve service.py:svc` serves it; `classify` answers at `POST /classify`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from vtsserving._aliases import stable
from vtsserving._model.tag import Tag
from vtsserving.exceptions import InvalidArgument
from vtsserving.io.base import IODescriptor
from vtsserving.io.multipart import Multipart
from vtsserving.runner.runner import Runner

RESERVED: Final = ("v1", "v2", "docs", "openapi.json", "metrics", "livez", "readyz", "healthz")
"""First path segments that belong to the gateway."""

_ROUTE: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_CONTEXT_NAMES: Final = ("ctx", "context")

_Function = TypeVar("_Function", bound=Callable[..., Any])
Hook = Callable[[], Any]


class Mount(NamedTuple):
    """A foreign application under a path."""

    path: str
    app: Any
    is_wsgi: bool


class InferenceApi:
    """One route of a service.

    Attributes:
        name: of the API; unique in its service.
        route: path that it answers, with the slash.
        function: yours; sync ones run in threads.
        input: reads the request; None: the function takes no input.
        output: writes the result.
        doc: for the documentation page.
        is_async: whether the function is a coroutine function.
        context_name: the parameter that takes the Context; None: none does.
        spreads: whether the input is passed as keyword arguments.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        input: IODescriptor | None,
        output: IODescriptor,
        name: str | None,
        doc: str | None,
        route: str | None,
    ) -> None:
        """Check the function against its descriptors.

        Raises:
            InvalidArgument: a descriptor is none, the route is not possible, or the function cannot take the input.
        """
        if not isinstance(output, IODescriptor) or not (input is None or isinstance(input, IODescriptor)):
            raise InvalidArgument("input and output are descriptors of vtsserving.io, such as NumpyNdarray()")
        self.name = name or function.__name__
        self.route = _check_route(route if route is not None else f"/{self.name}")
        self.function = function
        self.input = input
        self.output = output
        self.doc = doc or inspect.getdoc(function) or ""
        self.is_async = inspect.iscoroutinefunction(function)
        parameters = inspect.signature(function).parameters
        self.context_name = next((name for name in _CONTEXT_NAMES if name in parameters), None)
        self.spreads = isinstance(input, Multipart)
        self._check_parameters(parameters)

    def _check_parameters(self, parameters: Any) -> None:
        own = [name for name in parameters if name != self.context_name]
        if any(parameters[name].kind is inspect.Parameter.VAR_KEYWORD for name in own):
            return
        if self.spreads:
            assert isinstance(self.input, Multipart)
            if set(own) != set(self.input.inputs):
                raise InvalidArgument(
                    f"{self.name} takes {', '.join(own) or 'nothing'}, but its Multipart input has "
                    f"{', '.join(self.input.inputs)}"
                )
        elif len(own) != (self.input is not None):
            wanted = (
                "one argument, its input" if self.input is not None else "no argument, since it has no input"
            )
            raise InvalidArgument(
                f"{self.name} must take {wanted} (and ctx, if it wants), not ({', '.join(own)})"
            )

    def arguments(self, value: Any, context: Any) -> tuple[list[Any], dict[str, Any]]:
        """How the function is called for one request."""
        named = {self.context_name: context} if self.context_name else {}
        if self.input is None:
            return [], named
        return ([], {**value, **named}) if self.spreads else ([value], named)


@stable
class Service:
    """APIs, the runners that they call, and what else is served beside them.

    Attributes:
        name: of the service.
        runners: called by the APIs.
        target: where it was imported from, `module:attribute`; empty if it was not.
    """

    def __init__(self, name: str, *, runners: Sequence[Runner] = ()) -> None:
        """Create a service without APIs.

        Args:
            name: lower-case letters, digits, `.`, `_` and `-`.
            runners: called by the APIs; their models are loaded before the service is ready.

        Raises:
            InvalidTag: the name is not possible.
            InvalidArgument: a runner is none, or two have one name.
        """
        self.name = Tag(name).name
        self.target = ""
        self.runners = tuple(runners)
        names = [_check_runner(runner).name for runner in self.runners]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidArgument(
                f"two runners are named {twice[0]!r}; give one another name: to_runner(name=...)"
            )
        self.apis: dict[str, InferenceApi] = {}
        self.mounts: list[Mount] = []
        self.middlewares: list[tuple[type[Any], dict[str, Any]]] = []
        self.startup_hooks: list[Hook] = []
        self.shutdown_hooks: list[Hook] = []

    def __repr__(self) -> str:
        return f"Service({self.name!r}, apis=[{', '.join(self.apis)}])"

    @property
    def model_tags(self) -> tuple[str, ...]:
        """Models that the runners run, `name:version`, each once; what custom Runnables use runs within them."""
        saved = [runner for runner in self.runners if runner.runnable_class is None]
        return tuple(dict.fromkeys(str(model.tag) for runner in saved for model in runner.models))

    @property
    def runner_options(self) -> dict[str, dict[str, Any]]:
        """Options that runners of saved models were given, by exact tag; of several runners the first one's."""
        saved = [runner for runner in reversed(self.runners) if runner.runnable_class is None]
        return {str(runner.models[0].tag): dict(runner.overrides) for runner in saved}

    def api(
        self,
        input: IODescriptor | None,
        output: IODescriptor,
        *,
        name: str | None = None,
        doc: str | None = None,
        route: str | None = None,
    ) -> Callable[[_Function], _Function]:
        """Serve the decorated function.

        Args:
            input: reads the request body; None for a function without input.
            output: writes what the function returns.
            name: of the API; the function's by default.
            doc: for the documentation page; the function's docstring by default.
            route: path; `/` and the name by default.

        Returns:
            A decorator that returns the function itself.

        Raises:
            InvalidArgument: the name or route is taken or reserved, or the function cannot take the input.
        """

        def add(function: _Function) -> _Function:
            api = InferenceApi(function, input=input, output=output, name=name, doc=doc, route=route)
            if api.name in self.apis:
                raise InvalidArgument(f"the service has an API {api.name!r} already")
            if any(other.route == api.route for other in self.apis.values()):
                raise InvalidArgument(f"the service has an API at {api.route} already")
            self.apis[api.name] = api
            return function

        return add

    def mount_asgi_app(self, app: Any, path: str = "/") -> None:
        """Serve an ASGI application under a path; APIs and the gateway's own routes come first."""
        self.mounts.append(Mount(_check_mount(path), app, False))

    def mount_wsgi_app(self, app: Any, path: str = "/") -> None:
        """Serve a WSGI application under a path, in threads."""
        self.mounts.append(Mount(_check_mount(path), app, True))

    def add_asgi_middleware(self, middleware: type[Any], **options: Any) -> None:
        """Wrap the service's routes in a middleware class; the last one added is the outermost."""
        self.middlewares.append((middleware, options))

    def on_startup(self, hook: Hook) -> Hook:
        """Run a function, sync or async, before the service is ready; also a decorator."""
        self.startup_hooks.append(hook)
        return hook

    def on_shutdown(self, hook: Hook) -> Hook:
        """Run a function, sync or async, after the last request; also a decorator."""
        self.shutdown_hooks.append(hook)
        return hook


def _check_runner(runner: Any) -> Runner:
    if not isinstance(runner, Runner):
        raise InvalidArgument(f"runners are made with to_runner() or Runner(), not {type(runner).__name__}")
    return runner


def _check_route(route: str) -> str:
    route = route if route.startswith("/") else f"/{route}"
    if not _ROUTE.fullmatch(route) or ".." in route:
        raise InvalidArgument(f"{route!a:.80} is no route; use letters, digits, '.', '_', '~', '-' and '/'")
    if route.split("/")[1] in RESERVED:
        raise InvalidArgument(
            f"routes below /{route.split('/')[1]} belong to VtsServing; choose another with route="
        )
    return route


def _check_mount(path: str) -> str:
    return "" if path in ("", "/") else _check_route(path.rstrip("/"))
