"""Calls of models' methods, and what there is to call: msgpack values both ways, so that dtypes survive."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from vtsserving._model.tag import Tag
from vtsserving.client.call import Answer, Call, Conversation
from vtsserving.exceptions import InvalidTag, NotAGateway

MSGPACK: Final = "application/msgpack"
JSON: Final = "application/json"
_HEADERS: Final = {"content-type": MSGPACK, "accept": MSGPACK}


def call_method(model: Any, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Conversation[Any]:
    """Call a model's method.

    Args:
        model: its tag, as text or Tag.
        method: empty for `__call__` or the only one.
        args: whatever the wire carries: arrays, tensors, DataFrames, lists, plain values.
        kwargs: likewise.

    Returns:
        What the method returned; arrays with their dtypes.

    Raises:
        InvalidTag: `model` cannot be a tag.
        UnsupportedValue: an argument cannot be sent.
    """
    from vtsserving._wire.values import encode_value

    path = _path(model) + (f"/{quote(method, safe='')}" if method else "")
    body = encode_value({"args": list(args), "kwargs": dict(kwargs)}, "the call")
    answer = yield Call("POST", path, body, _HEADERS)
    return read_result(answer)


def list_models() -> Conversation[list[dict[str, Any]]]:
    """What the gateway knows of all models, newest first."""
    answer = yield Call("GET", "/v1/models")
    found = read_json(answer)
    if not isinstance(found, dict) or not isinstance(found.get("models"), list):
        raise NotAGateway("the answer lists no models; is it a gateway?")
    return list(found["models"])


def describe_model(model: Any) -> Conversation[dict[str, Any]]:
    """What the gateway knows of one model."""
    answer = yield Call("GET", _path(model))
    return dict(read_json(answer))


def ready() -> Conversation[None]:
    """Ask, until the deadline, whether the gateway would take calls."""
    yield Call("GET", "/readyz", is_patient=True)


def read_result(answer: Answer) -> Any:
    """The value of a model's answer; an array of its own, which may be written to."""
    import numpy as np

    from vtsserving._wire.values import decode_value

    if answer.media_type != MSGPACK:
        return read_json(answer)
    value = decode_value(answer.body)
    return value.copy() if type(value) is np.ndarray else value


def read_json(answer: Answer) -> Any:
    """The JSON of an answer.

    Raises:
        NotAGateway: it is none.
    """
    try:
        return json.loads(answer.body)
    except ValueError:
        raise NotAGateway(
            f"the answer is {answer.media_type or 'nothing'} and not what a gateway says; is it the right address?"
        ) from None


def _path(model: Any) -> str:
    tag = model if isinstance(model, Tag) else Tag.parse(model) if isinstance(model, str) else None
    if tag is None:
        raise InvalidTag(
            f"a model is named by its tag, such as 'iris_clf:latest', not by {type(model).__name__}"
        )
    return f"/v1/models/{quote(str(tag), safe=':')}"
