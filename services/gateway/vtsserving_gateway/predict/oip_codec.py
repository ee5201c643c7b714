"""The Open Inference Protocol, version 2: `/v2/models/{model}[/versions/{version}]/infer`."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from vtsserving._codecs.json_strict import Body, read
from vtsserving._contract.arguments import Arguments
from vtsserving._inference.request import Outcome
from vtsserving._model.tag import is_valid_part
from vtsserving._wire.rows import Packed
from vtsserving.exceptions import (
    BadInput,
    BadModelOutput,
    EmptyBody,
    ModelNotFound,
    NotFound,
    TooLarge,
    UnknownArgument,
    UnsupportedMediaType,
    VtsServingException,
)
from vtsserving_gateway.http.json_text import sendable
from vtsserving_gateway.http.respond import ResponseContent
from vtsserving_gateway.predict.decode import Target
from vtsserving_gateway.predict.oip_table import frame_of, is_table, read_column
from vtsserving_gateway.predict.oip_tensors import (
    datatype_of,
    read_tensor,
    to_outputs,
    write_binary,
    write_json,
)
from vtsserving_gateway.predict.results import numpy_value
from vtsserving_gateway.predict.routes import Route, known_tag, unquoted

NO_SHARED_MEMORY: Final = (
    "shared memory of client and server is not supported here; send tensors within requests, as binary data"
)
PREFIX: Final = b"/v2/models/"
PREFERRED_METHOD: Final = "predict"
"""What an inference calls where a model has several methods; else its only one."""

HEADER_LENGTH: Final = b"inference-header-content-length"

_TYPES: Final = frozenset(
    (b"", b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded")
)
_ZLIB_OR_GZIP: Final = 47
_JSON: Final = b"content-type: application/json\r\n"
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY


def parse_infer(url: bytes) -> Route:
    """Read the URL of an inference; a query is ignored.

    Raises:
        ModelNotFound: what stands for the model or version cannot be one.
        NotFound: the URL has other parts.
    """
    path = url.partition(b"?")[0].partition(b"#")[0]
    parts = [unquoted(part) for part in path.removeprefix(PREFIX).split(b"/")]
    if parts[1:] == ["infer"]:
        return route_of(parts[0])
    if len(parts) == 4 and parts[1] == "versions" and parts[3] == "infer":
        return route_of(parts[0], parts[2])
    raise NotFound("no such route; an inference is POST /v2/models/{model}[/versions/{version}]/infer")


def _check_memory(parameters: Mapping[str, Any], kind: str, name: Any) -> None:
    """Refuse a tensor that is not in the request; `parameters` are the tensor's."""
    region = parameters.get("shared_memory_region")
    if region is not None:
        raise BadInput(
            f"the {kind} {str(name)[:80]!r} is in the region {str(region)[:80]!r}: {NO_SHARED_MEMORY}"
        )


def route_of(model: str, version: str = "") -> Route:
    """The route of a model and version as they stand in a URL; ModelNotFound if there can be none."""
    if version and not is_valid_part(version.lower()):
        raise ModelNotFound(f"no such version: {version[:80]!a}")
    if version and ":" in model:
        raise ModelNotFound(f"no such model: {model[:80]!a}")
    ordinal = version if version.isascii() and version.isdigit() else ""
    return Route(known_tag(f"{model}:{version}" if version else model), "", PREFERRED_METHOD, ordinal)


class OipCodec:
    """One inference."""

    def __init__(self, headers: Mapping[bytes, bytes], max_body_bytes: int) -> None:
        """Check what the headers say; UnsupportedMediaType for another content type or compression."""
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind not in _TYPES:
            raise UnsupportedMediaType("send application/json or application/octet-stream")
        self._encoding = headers.get(b"content-encoding", b"").strip().lower()
        if self._encoding not in (b"", b"identity", b"gzip", b"deflate"):
            raise UnsupportedMediaType("bodies may be compressed with gzip or deflate")
        self._json_bytes = headers.get(HEADER_LENGTH)
        self._max_body_bytes = max_body_bytes
        self.timeout_s: float | None = None
        self._id: str | None = None
        self._wanted: dict[str, bool] | None = None
        self._binary_by_default = False
        self.target: Target | None = None

    # --- in ------------------------------------------------------------------------------------------------------

    def decode(self, target: Target, body: Body) -> Packed:
        """See Dialect."""
        data = self._inflated(body)
        if not data:
            raise EmptyBody("the body is empty; send an inference request")
        size = self._json_size(len(data))
        request = read(data if size == len(data) else data[:size], unsigned=True)
        if not isinstance(request, dict):
            raise BadInput("an inference request is a JSON object")
        parameters = self._read_options(request)
        target = self.target = target.named(_of_type(parameters, "method", str))
        raw = request.get("inputs")
        if not isinstance(raw, list) or not raw:
            raise BadInput('an inference request has "inputs", at least one')
        if is_table(target, raw, parameters.get("content_type")):
            columns = self._read_inputs(raw, memoryview(data)[size:], read_column)
            return target.pack([frame_of(columns)], {})
        inputs = self._read_inputs(raw, memoryview(data)[size:], read_tensor)
        return target.pack(*_arguments(target, inputs))

    def _inflated(self, body: Body) -> Body:
        if self._encoding in (b"", b"identity"):
            return body
        inflate = zlib.decompressobj(_ZLIB_OR_GZIP)
        try:
            data = inflate.decompress(body, self._max_body_bytes + 1)
        except zlib.error as error:
            raise BadInput(f"the body is no {self._encoding.decode()}: {error}") from error
        if len(data) > self._max_body_bytes:
            raise TooLarge(f"the body inflates to more than {self._max_body_bytes} bytes")
        if not inflate.eof:
            raise BadInput("the compressed body is cut short")
        return data

    def _json_size(self, size: int) -> int:
        if self._json_bytes is None:
            return size
        if not self._json_bytes.isdigit() or len(self._json_bytes) > 12 or int(self._json_bytes) > size:
            raise BadInput(f"Inference-Header-Content-Length is a number of at most {size} bytes")
        return int(self._json_bytes)

    def _read_options(self, request: dict[str, Any]) -> dict[str, Any]:
        """Keep what the request asks for beside its inputs; returns its parameters."""
        self._id = _of_type(request, "id", str)
        parameters = _of_type(request, "parameters", dict) or {}
        timeout_us = parameters.get("timeout")
        if timeout_us is not None:
            if type(timeout_us) is not int or timeout_us < 0:
                raise BadInput('the parameter "timeout" is a number of microseconds')
            self.timeout_s = timeout_us / 1e6 or None
        self._binary_by_default = parameters.get("binary_data_output") is True
        outputs = _of_type(request, "outputs", list)
        if outputs:
            self._wanted = dict(self._read_output(raw) for raw in outputs)
        return parameters

    def _read_output(self, raw: Any) -> tuple[str, bool]:
        if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
            raise BadInput("each output is an object with a name")
        parameters = _of_type(raw, "parameters", dict) or {}
        _check_memory(parameters, "output", raw["name"])
        if parameters.get("classification"):
            raise BadInput("classification is not supported")
        binary = parameters.get("binary_data", self._binary_by_default)
        return raw["name"], binary is True

    def _read_inputs(
        self, raw: list[Any], data: memoryview, read_one: Callable[[Any, memoryview | None], tuple[str, Any]]
    ) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        position = 0
        for item in raw:
            parameters = (_of_type(item, "parameters", dict) or {}) if isinstance(item, dict) else {}
            _check_memory(parameters, "input", item.get("name") if parameters else None)
            size = parameters.get("binary_data_size")
            part = None
            if size is not None:
                if type(size) is not int or not 0 <= size <= len(data) - position:
                    raise BadInput(
                        f"binary_data_size {size!r:.20} does not fit the {len(data)} bytes of binary data"
                    )
                part = data[position : position + size]
                position += size
            name, value = read_one(item, part)
            if name in inputs:
                raise BadInput(f"the input {name[:80]!r} is there twice")
            inputs[name] = value
        if position != len(data):
            raise BadInput(f"the inputs have {position} bytes of binary data, the body {len(data)}")
        return inputs

    # --- out -----------------------------------------------------------------------------------------------------

    def answer(self, outcome: Outcome, route: Route) -> ResponseContent:
        """See Dialect."""
        assert self.target is not None
        outputs = to_outputs(numpy_value(outcome), self.target.output_names)
        wanted = self._wanted or dict.fromkeys(outputs, self._binary_by_default)
        described: list[dict[str, Any]] = []
        binary: list[bytes] = []
        for name, is_binary in wanted.items():
            if name not in outputs:
                raise BadInput(f"no output {name[:80]!r}; there is {', '.join(outputs)}")
            array, is_json = outputs[name]
            entry: dict[str, Any] = {"name": name, "shape": list(array.shape)}
            parameters: dict[str, Any] = {"content_type": "json"} if is_json else {}
            if is_binary:
                entry["datatype"] = datatype_of(array.dtype)
                binary.append(write_binary(array))
                parameters["binary_data_size"] = len(binary[-1])
            if parameters:
                entry["parameters"] = parameters
            if not is_binary:
                entry["datatype"], entry["data"] = write_json(array)
            described.append(entry)
        head = {"model_name": outcome.entry.name, "model_version": route.ordinal or outcome.entry.version}
        if self._id is not None:
            head["id"] = self._id
        try:
            body = orjson.dumps({**head, "outputs": described}, option=_OPTIONS)
        except orjson.JSONEncodeError as error:
            raise BadModelOutput(f"the result has no JSON form: {error}") from error
        if not binary:
            return ResponseContent(_JSON, body)
        headers = b"content-type: application/octet-stream\r\n%b: %d\r\n" % (HEADER_LENGTH, len(body))
        return ResponseContent(headers, b"".join((body, *binary)))


def _arguments(target: Target, inputs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The inputs in the positions that their names have among the method's arguments, and those that have none."""
    arguments = target.arguments
    for recorded, own in arguments.other_names.items():
        if recorded in inputs and own not in inputs:
            inputs[own] = inputs.pop(recorded)
    specs = target.inputs
    names = _names(target)
    # Nothing else may be known than that the only input is the first argument.
    is_first = not names or (specs is None and len(inputs) == 1 and not set(inputs) <= set(names))
    inputs = {name: _as_method_has_it(arguments, name, value, is_first) for name, value in inputs.items()}
    if is_first:
        return list(inputs.values()), {}
    known = (*names, *arguments.contract.keywords)
    takes_more = specs is None and arguments.contract.takes_more
    for name in inputs:
        if name not in known and not takes_more:
            raise UnknownArgument(f"no input {name[:80]!r}; the method takes {', '.join(known)}")
    for name in arguments.missing_inputs(0, inputs) if specs is not None else ():
        raise BadInput(f"the input {name!r} is missing; the method takes {', '.join(names)}")
    args: list[Any] = []
    for name in names:
        if name not in inputs:
            break
        args.append(inputs.pop(name))
    return args, inputs


def _names(target: Target) -> tuple[str, ...]:
    """The positional arguments by name; those that are recorded alone where the method's own are not known."""
    own = target.arguments.contract.names
    recorded = tuple(spec.name for spec in target.inputs or ())
    return own if set(recorded) <= set(own) else recorded


def _as_method_has_it(arguments: Arguments, name: str, value: Any, is_first: bool) -> Any:
    """Texts as the list that a Python function takes; a parameter beside arrays as the list that JSON has."""
    contract, at = arguments.contract, 0 if is_first else arguments.position(name)
    if arguments.takes_lists:
        # A column of texts or bytes may have a second axis of one, which is not a list in a list.
        is_list = value.dtype.kind in "UO" and not arguments.kind_of_items(at, name)
    else:
        is_known = at >= 0 or name in contract.keywords
        is_list = is_known and arguments.spec(at) is None and contract.keeps_list(name, at)
    return value.tolist() if is_list and value.ndim else value


def _of_type(raw: dict[str, Any], key: str, kind: type) -> Any:
    value = raw.get(key)
    if value is not None and type(value) is not kind:
        raise BadInput(
            f"{key!r} is {'an object' if kind is dict else 'a list' if kind is list else 'a string'}"
        )
    return value


class OipApi:
    """Inferences of the protocol."""

    def __init__(self, max_body_bytes: int) -> None:
        """Refuse bodies that inflate to more than `max_body_bytes`."""
        self._max_body_bytes = max_body_bytes

    def route(self, url: bytes) -> Route:
        """See Api."""
        return parse_infer(url)

    def codec(self, headers: Mapping[bytes, bytes]) -> OipCodec:
        """See Api."""
        return OipCodec(headers, self._max_body_bytes)

    def error(self, error: VtsServingException, request_id: str) -> tuple[int, bytes]:
        """See Api."""
        return status_of(error), error_body(error)


def status_of(error: VtsServingException) -> int:
    """The protocol's clients know 400 and not 422."""
    return 400 if error.status == 422 else error.status


def error_body(error: VtsServingException) -> bytes:
    """The protocol's shape of errors."""
    return orjson.dumps({"error": sendable(error.message)})
