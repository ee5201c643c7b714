"""Calls of a Service's functions: what they take and return stands in the gateway's OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from vtsserving.client.call import Answer, Call, Conversation
from vtsserving.client.models import read_json
from vtsserving.exceptions import BadInput, BadModelOutput, InvalidArgument, MethodNotFound, NotAGateway
from vtsserving.io.base import Body, IODescriptor, parse_content_type
from vtsserving.io.numpy_ndarray import NPY
from vtsserving.io.pandas_frames import PARQUET
from vtsserving.io.specs import INPUT, OUTPUT, from_spec

PREFERRED: Final = NPY
"""Arrays go both ways in numpy's own form, which keeps dtypes and is cheaper than JSON."""


class Function(NamedTuple):
    """One function of a service.

    Attributes:
        name: as the service has it.
        route: path that it answers.
        input: writes what it takes; None: it takes nothing.
        output: reads what it returns.
    """

    name: str
    route: str
    input: IODescriptor | None
    output: IODescriptor


Functions = dict[str, Function]


def find_functions() -> Conversation[Functions]:
    """The functions of the service that the gateway serves, by name."""
    answer = yield Call("GET", "/openapi.json?models=false")
    document = read_json(answer)
    try:
        return _functions_of(document["paths"])
    except (KeyError, TypeError, AttributeError, InvalidArgument) as error:
        raise NotAGateway(f"the gateway's OpenAPI document cannot be read: {error!r}") from error


def call_function(
    function: Function, args: Sequence[Any], kwargs: Mapping[str, Any], *, idempotent: bool
) -> Conversation[Any]:
    """Call a function of a service.

    Args:
        function: what to call.
        args: one value, its input; none where it takes none or has several named ones.
        kwargs: its inputs by name, where it has several.
        idempotent: whether the gateway may get the request twice.

    Returns:
        What the function returned, as far as its output descriptor keeps it.

    Raises:
        InvalidArgument: the function does not take these arguments, or they cannot be written as its input.
    """
    wanted = PARQUET if function.output.media_types[0] == PARQUET else PREFERRED
    headers = {"accept": f"{wanted}, */*"}
    body = b""
    if function.input is not None:
        body, headers["content-type"] = _written(function, args, kwargs)
    elif args or kwargs:
        raise InvalidArgument(f"{function.name} takes no input")
    answer = yield Call("POST", function.route, body, headers, idempotent)
    return _read(function, answer)


def missing(name: str, functions: Functions) -> MethodNotFound:
    """The error for a function that the service does not have."""
    known = f"it has {', '.join(sorted(functions))}" if functions else "it serves no Service"
    return MethodNotFound(
        f"the gateway has no function {name!r}: {known}. A model's method is called with its tag and an input: "
        f"{name}('iris_clf:latest', rows)"
    )


def _written(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[bytes, str]:
    assert function.input is not None
    inputs = getattr(function.input, "inputs", None)
    if inputs is not None and not args:
        value: Any = dict(kwargs)
        if not set(getattr(function.input, "required", inputs)) <= set(value) <= set(inputs):
            raise InvalidArgument(f"{function.name} takes {', '.join(inputs)} as keyword arguments")
    elif len(args) == 1 and not kwargs:
        value = args[0]
    else:
        wanted = f"{', '.join(inputs)} as keyword arguments" if inputs else "one argument, its input"
        raise InvalidArgument(f"{function.name} takes {wanted}")
    try:
        content = function.input.write_as(value, f"{PREFERRED}, */*")
    except BadModelOutput as error:
        raise InvalidArgument(f"{function.name} does not take this: {error.message}") from error
    return content.data, content.media_type


def _read(function: Function, answer: Answer) -> Any:
    media_type, boundary = parse_content_type(answer.headers.get("content-type", ""))
    if not answer.body and not media_type:
        return None
    try:
        return function.output.read(Body(answer.body, media_type, "", boundary))
    except BadInput as error:
        raise NotAGateway(f"what {function.name} returned cannot be read: {error.message}") from error


def _functions_of(paths: Mapping[str, Any]) -> Functions:
    found = {}
    for route, item in paths.items():
        operation = item.get("post", {})
        if OUTPUT not in operation:
            continue
        name = operation["operationId"].removeprefix(f"{operation['tags'][0]}_")
        given = operation.get(INPUT)
        taken = None if given is None else from_spec(given)
        found[name] = Function(name, route, taken, from_spec(operation[OUTPUT]))
    return found
