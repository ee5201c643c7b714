"""What both clients share: their settings, and how a name and its arguments become a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from vtsserving.client import models
from vtsserving.client.call import Conversation
from vtsserving.client.http import chosen_token, chosen_url
from vtsserving.exceptions import InvalidArgument

if TYPE_CHECKING:
    from vtsserving.client.functions import Functions

DEFAULT_TIMEOUT_S: Final = 30.0
DEFAULT_RETRIES: Final = 6


class Settings:
    """What a client was told when it was made.

    Attributes:
        url: of the gateway, without a slash at its end.
        timeout_s: of a call, with all its repetitions.
        retries: most repetitions of a call.
    """

    def __init__(self, url: str | None, token: str | None, timeout: float, retries: int) -> None:
        if retries < 0:
            raise InvalidArgument(f"retries is 0 or more, not {retries}")
        self.url = chosen_url(url)
        self.token = chosen_token(token)
        self.timeout_s = check_timeout(timeout)
        self.retries = retries

    def __repr__(self) -> str:
        return f"Settings({self.url!r})"


class Conversations:
    """Starts conversations; remembers the service's functions between them."""

    def __init__(self) -> None:
        self._functions: Functions | None = None

    def named(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Conversation[Any]:
        """Call whatever has this name.

        A function of a service takes one argument, or only named ones. So a call with more than that can only mean a
        model's method, with the model's tag first.

        Raises:
            MethodNotFound: the gateway's service has no such function.
        """
        if len(args) > 1 or (args and kwargs):
            return models.call_method(args[0], name, args[1:], kwargs)
        return self.function(name, args, kwargs, idempotent=False)

    def function(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, idempotent: bool
    ) -> Conversation[Any]:
        """Call a function of the service.

        Raises:
            MethodNotFound: there is none of this name.
        """
        from vtsserving.client import functions

        if self._functions is None or name not in self._functions:
            self._functions = yield from functions.find_functions()
        if name not in self._functions:
            raise functions.missing(name, self._functions)
        return (
            yield from functions.call_function(self._functions[name], args, kwargs, idempotent=idempotent)
        )


class GatewayModel:
    """A model behind the gateway; its methods are attributes: `client.model("iris_clf:latest").predict(rows)`.

    Calling it calls its `__call__`, or its only method. With an AsyncClient, calls are awaited.
    """

    def __init__(self, client: Any, tag: Any) -> None:
        self._client = client
        self._tag = tag

    def __repr__(self) -> str:
        return f"RemoteModel({str(self._tag)!r})"

    def __call__(self, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Call the model's `__call__`, or its only method."""
        return self._client.call_model(self._tag, "", args, kwargs, timeout=timeout)

    def __getattr__(self, method: str) -> Any:
        check_public(method, self)

        def call(*args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
            return self._client.call_model(self._tag, method, args, kwargs, timeout=timeout)

        return call

    def describe(self) -> Any:
        """What the gateway knows of it: exact version, signatures, specs, runners, statistics."""
        return self._client.describe_model(self._tag)


RemoteModel = GatewayModel  # its name in 0.1


def check_public(name: str, owner: object) -> None:
    """Refuse names with an underscore in front: they are Python's or ours, never a method's."""
    if name.startswith("_"):
        raise AttributeError(f"{type(owner).__name__!r} object has no attribute {name!r}")


def check_timeout(timeout: float) -> float:
    """Refuse what is no number of seconds.

    Raises:
        InvalidArgument: it is not.
    """
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout < 1e9:
        raise InvalidArgument(f"timeout is a positive number of seconds, not {timeout!r}")
    return float(timeout)
