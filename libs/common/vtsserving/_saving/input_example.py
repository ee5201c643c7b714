"""What an input example tells: specs of inputs and outputs, and calls for warm-up.

A spec is `{"args": [{"name", "dtype", "shape"}, ...]}`; a dimension of -1 varies. An argument that is no array has
dtype `object` and no shape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from vtsserving._local_store.model import Model
from vtsserving._model.contract import MethodContract
from vtsserving._model.signature import ModelSignature
from vtsserving.exceptions import InvalidSignature, SerializationError, VtsServingException

EXAMPLE_FILE: Final = "input_example.msgpack"
MAX_EXAMPLE_BYTES: Final = 16 * 2**20
MAX_SHOWN_BYTES: Final = 2_048
"""Largest example, as JSON, that the record of a model itself holds, for documentation."""
MAX_WARMUP_VALUES: Final = 2**22


class WarmupCall(NamedTuple):
    """One call that a model process makes before it says that it is ready.

    Attributes:
        method: the signature's name.
        args: positional arguments.
    """

    method: str
    args: tuple[Any, ...]


class Example:
    """The input example of a model that is being saved: what its methods take, as a model process will get it."""

    def __init__(self, example: Any, directory: Path) -> None:
        """Store it.

        Args:
            example: one argument, or a tuple of several.
            directory: the model's, where the example's file is written.

        Raises:
            SerializationError: it cannot be stored.
        """
        self._given = example if isinstance(example, tuple) else (example,)
        self._is_list = isinstance(example, list)
        self._encoded = _encoded(self._given)
        (directory / EXAMPLE_FILE).write_bytes(self._encoded)

    def args(self) -> tuple[Any, ...]:
        """The arguments of one call, new ones each time: a model may write to them."""
        from vtsserving._wire.values import decode_value

        return tuple(owned(decode_value(self._encoded)))

    def check_axes(self, signatures: Mapping[str, ModelSignature]) -> None:
        """Check that each signature's batch dimension is one of the example.

        Raises:
            InvalidSignature: it is not.
        """
        for method, signature in signatures.items():
            axis = signature.batch_dim[0]
            _check_axis(method, signature, axis, [_spec(arg, "", axis) for arg in self._given])

    def describe(
        self,
        contracts: Mapping[str, MethodContract],
        signatures: Mapping[str, ModelSignature],
        results: Mapping[str, Any],
        known: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What it tells about a model, for the manifest's `extra`.

        Args:
            contracts: of the methods.
            signatures: the methods.
            results: what each of them returned for the example.
            known: input specs that the framework knows; they win over what a list of numbers suggests.

        Returns:
            `input_specs`, `output_specs` and `input_example`; the last is left out where it is long.

        Raises:
            InvalidSignature: a result has no such dimension as the signature's batch_dim.
        """
        inputs, outputs = input_specs(signatures, known), {}
        for method, signature in signatures.items():
            axis_in, axis_out = signature.batch_dim
            if method not in inputs or not self._is_list:
                contract = contracts[method]
                inputs[method] = {
                    "args": [
                        {"name": name, "dtype": "object"}
                        if _stays_list(contract, name, arg)
                        else _spec(arg, name, axis_in)
                        for name, arg in _named(contract, self._given)
                    ]
                }
            outputs[method] = _spec(results[method], "", axis_out)
            _check_axis(method, signature, axis_out, [outputs[method]])
        shown = _shown(self._given, signatures)
        return {"input_specs": inputs, "output_specs": outputs, **({"input_example": shown} if shown else {})}


def input_specs(signatures: Mapping[str, ModelSignature], known: Mapping[str, Any] | None) -> dict[str, Any]:
    """The input specs that a framework knows, of the methods that are served."""
    return {method: dict(spec) for method, spec in (known or {}).items() if method in signatures}


def owned(value: Any) -> Any:
    """A value as if its receiver had made it: its arrays may be written to."""
    import numpy as np

    if type(value) is np.ndarray:
        return value.copy()
    if type(value) in (list, tuple):
        return type(value)(owned(item) for item in value)
    if type(value) is dict:
        return {key: owned(item) for key, item in value.items()}
    return value


def example_arguments(example: Any) -> tuple[Any, ...]:
    """The arguments of one call: an example that is a tuple holds several."""
    return example if isinstance(example, tuple) else (example,)


def warmup_calls(model: Model) -> list[WarmupCall]:
    """The calls that prepare a model: with its input example, else with zeros of the recorded shapes.

    Args:
        model: its digests were checked.

    Returns:
        At most one call for each signature; none for a method about whose input nothing is known.
    """
    path = model.path_of(EXAMPLE_FILE)
    if model.manifest.entry(EXAMPLE_FILE) is not None:
        from vtsserving._wire.values import decode_value

        args = tuple(decode_value(path.read_bytes()))
        return [WarmupCall(method, args) for method in model.info.signatures]
    calls = []
    for method, spec in model.info.input_specs.items():
        zeros = [_zeros(arg) for arg in spec.get("args", ())]
        if method in model.info.signatures and zeros and all(array is not None for array in zeros):
            calls.append(WarmupCall(method, tuple(zeros)))
    return calls


def _shown(args: tuple[Any, ...], signatures: Mapping[str, ModelSignature]) -> list[Any]:
    """The example as documentation shows it: JSON values, one row of a batch; empty where there is no short form."""
    from vtsserving._codecs.json_write import to_json

    axes = {signature.batch_dim[0] for signature in signatures.values() if signature.batchable}
    try:
        rows = [arg[:1] if axes == {0} and hasattr(arg, "__len__") else arg for arg in args]
        text = to_json(rows)
    except (VtsServingException, TypeError, KeyError, ValueError):
        return []
    return list(json.loads(text)) if len(text) <= MAX_SHOWN_BYTES else []


def _encoded(args: tuple[Any, ...]) -> bytes:
    from vtsserving._wire.values import encode_value

    try:
        encoded = encode_value(list(args), "input_example")
    except VtsServingException as error:
        raise SerializationError(f"the input example cannot be stored: {error.message}") from error
    if len(encoded) > MAX_EXAMPLE_BYTES:
        raise SerializationError(
            f"the input example has {len(encoded)} bytes; at most {MAX_EXAMPLE_BYTES} are stored"
        )
    return encoded


def _check_axis(method: str, signature: ModelSignature, axis: int, specs: list[dict[str, Any]]) -> None:
    for spec in specs:
        shape = spec.get("shape")
        if signature.batchable and shape is not None and axis >= len(shape):
            raise InvalidSignature(
                f"the signature {method!r} has batch_dim {signature.batch_dim}, but with the input example an "
                f"array has only {len(shape)} dimensions"
            )


def _named(contract: MethodContract, args: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """The arguments with the names that the method gives them."""
    names = [*contract.names, *(f"arg{at}" for at in range(len(contract.names), len(args)))]
    return list(zip(names, args, strict=False))


def _stays_list(contract: MethodContract, name: str, value: Any) -> bool:
    """Whether a list is handed to the method as it is, so that nothing of it can be recorded as an array."""
    described = contract.arguments.get(name)
    return (
        isinstance(value, list)
        and contract.lists == "lists"
        and not (described and described.type == "tensor")
    )


def _spec(value: Any, name: str, axis: int) -> dict[str, Any]:
    named = {"name": name} if name else {}
    if isinstance(value, str | bytes | dict) or type(value).__module__.startswith("pandas"):
        return {**named, "dtype": "object"}
    dtype, shape = _dtype_and_shape(value)
    if dtype is None:
        return {**named, "dtype": "object"}
    return {**named, "dtype": dtype, "shape": [-1 if at == axis else size for at, size in enumerate(shape)]}


def _dtype_and_shape(value: Any) -> tuple[str | None, tuple[int, ...]]:
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "shape"):
        return str(value.dtype).removeprefix("torch."), tuple(value.shape)
    import numpy as np

    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None, ()
    if array.dtype.kind == "U":
        return "str", array.shape
    return (None, ()) if array.dtype.kind not in "biufc" else (array.dtype.name, array.shape)


def _zeros(spec: Mapping[str, Any]) -> Any:
    import numpy as np

    shape = [1 if size == -1 else size for size in spec.get("shape", ())]
    count = 1
    for size in shape:
        count *= size
    if "shape" not in spec or count > MAX_WARMUP_VALUES:
        return None
    try:
        return np.zeros(shape, dtype=spec["dtype"])
    except TypeError:
        return None
