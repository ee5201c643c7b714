"""The client for ordinary code: each call waits for its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from vtsserving._aliases import stable
from vtsserving.client import http, models
from vtsserving.client.attempts import Deadline, policy
from vtsserving.client.call import Answer, Call, CallFailure, Conversation, checked
from vtsserving.client.conversations import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    Conversations,
    GatewayModel,
    Settings,
    check_public,
    check_timeout,
)

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")


@stable
class Client:
    """Calls models and Services over HTTP, with the values and errors that a local runner has.

        with vtsserving.Client("http://127.0.0.1:3000") as client:
            client.predict("iris_clf:latest", rows)     # any method of a model: its tag first
            client.classify(rows)                       # any function of the Service

    Connections are kept and shared; one client may serve many threads. A call is repeated where that is safe: when
    nothing was sent, and, for models, when the gateway says that it is busy or a connection breaks.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: of the gateway; VTSSERVING_URL or http://127.0.0.1:3000 by default.
            token: where the gateway wants one; VTSSERVING_TOKEN or VTSSERVING_STORE_TOKEN by default.
            timeout: seconds that a call may take, repetitions included.
            retries: how often a call is repeated at most.

        Raises:
            ConfigurationError: the address is malformed.
        """
        self._settings = Settings(url, token, timeout, retries)
        self._conversations = Conversations()
        self._opened: httpx2.Client | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Client({self._settings.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        check_public(name, self)
        return partial(self.call, name)

    @property
    def url(self) -> str:
        """Of the gateway."""
        return self._settings.url

    def predict(self, model: Any, /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Call a model's `predict`.

        Args:
            model: its tag, such as "iris_clf:latest".
            args: its arguments: arrays, DataFrames, tensors, lists, plain values.
            timeout: seconds; the client's by default.
            kwargs: its keyword arguments.

        Returns:
            What it returned; arrays keep their dtypes.

        Raises:
            VtsServingException: of all kinds, the same as from a local runner; GatewayUnavailable and
                DeadlineExceeded where no answer came.
        """
        return self.call("predict", model, *args, timeout=timeout, **kwargs)

    def call(self, name: str, /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Call by name what `client.name(...)` calls; for names that the client has itself."""
        return self._run(self._conversations.named(name, args, kwargs), timeout)

    def call_model(
        self,
        model: Any,
        method: str = "",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """Call a model's method with arguments of any number and name; without `method`, `__call__` or its only one."""
        return self._run(models.call_method(model, method, args, kwargs or {}), timeout)

    def call_function(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        idempotent: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Call a Service's function; `idempotent`: it may run twice, so the call may be repeated like a prediction."""
        talk = self._conversations.function(name, args, kwargs or {}, idempotent=idempotent)
        return self._run(talk, timeout)

    def model(self, model: Any) -> GatewayModel:
        """A handle on a model, with its methods as attributes."""
        return GatewayModel(self, model)

    def models(self) -> list[dict[str, Any]]:
        """What the gateway knows of all models, newest first."""
        return self._run(models.list_models(), None)

    def describe_model(self, model: Any) -> dict[str, Any]:
        """What the gateway knows of one model: exact version, signatures, specs, runners, statistics."""
        return self._run(models.describe_model(model), None)

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Return as soon as calls are taken and the models that are served from the start are loaded.

        Args:
            timeout: seconds.

        Raises:
            Unavailable: they are not in time; the message says why.
        """
        self._run(models.ready(), timeout)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _run(self, talk: Conversation[T], timeout: float | None) -> T:
        deadline = Deadline(self._settings.timeout_s if timeout is None else check_timeout(timeout))
        try:
            call = next(talk)
            while True:
                call = talk.send(self._answered(call, deadline))
        except StopIteration as end:
            result: T = end.value
            return result
        except CallFailure as failure:
            raise failure.error from failure.__cause__

    def _answered(self, call: Call, deadline: Deadline) -> Answer:
        import tenacity

        attempts = tenacity.Retrying(**policy(call, deadline, self._settings.retries))
        return attempts(self._once, call, deadline)

    def _once(self, call: Call, deadline: Deadline) -> Answer:
        with http.failures(call, deadline, self.url):
            response = self._http.request(**http.request_options(call, deadline))
        return checked(call, http.answer_of(response), self.url)

    @property
    def _http(self) -> httpx2.Client:
        with self._lock:
            if self._opened is None:
                import httpx2

                self._opened = httpx2.Client(**http.client_options(self.url, self._settings.token))
            return self._opened
