"""What an input example tells: specs of inputs and outputs, and calls for warm-up.

A spec is `{"args": [{"name", "dtype", "shape"}, ...]}`; a dimension of -1 varies. An argument that is no array has
dtype `object` and no shape; of a list that is handed on, `list_of` says what its items are: `str`, or other `scalars`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from vtsserving._local_store.model import Model
from vtsserving._model.argument import NOT_DESCRIBED
from vtsserving._model.contract import MethodContract
from vtsserving._saving.shown_example import has_json, shown_example
from vtsserving.exceptions import InvalidSignature, SerializationError, VtsServingException

EXAMPLE_FILE: Final = "input_example.msgpack"
MAX_EXAMPLE_BYTES: Final = 16 * 2**20
MAX_WARMUP_VALUES: Final = 2**22


_SCALARS: Final = frozenset((str, int, float, bool, type(None)))


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
        from vtsserving._contract.owned import owned
        from vtsserving._wire.values import decode_value

        return tuple(owned(decode_value(self._encoded)))

    def check_axes(self, contracts: Mapping[str, MethodContract]) -> None:
        """Check that the axes of rows are ones that the example has.

        Args:
            contracts: of the methods.

        Raises:
            InvalidSignature: one is not; the message has the path of the key.
        """
        for method, contract in contracts.items():
            for at, (name, value) in enumerate(_named(contract, self._given)):
                axis = _axis_of_rows(contract, name, value, at)
                shape = None if axis is None else _spec(value, "", axis).get("shape")
                if contract.batchable and axis is not None and shape is not None and axis >= len(shape):
                    is_own = name in contract.arguments and contract.arguments[name].axis is not None
                    key = f".arguments[{name!r}].axis is {axis}" if is_own else f".batch_dim is {axis}"
                    raise InvalidSignature(
                        f"signatures[{method!r}]{key}, but in the input example {name!r} has only {len(shape)} "
                        "dimensions"
                    )

    def describe(
        self,
        contracts: Mapping[str, MethodContract],
        results: Mapping[str, Any],
        answers: Callable[[str, tuple[Any, ...]], bool],
        known: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What it tells about a model, for the manifest's `extra`.

        Args:
            contracts: of the methods.
            results: what each of them returned for the example.
            answers: whether a method answers other arguments; it may write to them.
            known: input specs that the framework knows; they win over what a list of numbers suggests.

        Returns:
            `input_specs`, `output_specs` and `input_example`; the last is left out where JSON has no short form of it.

        Raises:
            InvalidSignature: a result has no such dimension as the signature's batch_dim.
        """
        inputs, outputs = input_specs(contracts, known), {}
        for method, contract in contracts.items():
            if method not in inputs or not self._is_list:
                inputs[method] = {
                    "args": [
                        _argument_spec(contract, name, value, at)
                        for at, (name, value) in enumerate(_named(contract, self._given))
                    ]
                }
                _keep_texts(inputs[method]["args"], (known or {}).get(method))
            outputs[method] = _result_spec(contract, method, results[method])
        axes = {
            method: {
                at: axis
                for at, (name, value) in enumerate(_named(contract, self._given))
                if (axis := _axis_of_rows(contract, name, value, at)) is not None
            }
            for method, contract in contracts.items()
        }
        shown = shown_example(self._given, contracts, inputs, axes, answers) if has_json(results) else []
        return {"input_specs": inputs, "output_specs": outputs, **({"input_example": shown} if shown else {})}


def _keep_texts(found: list[dict[str, Any]], known: Mapping[str, Any] | None) -> None:
    """Leave texts what the framework says of them where an example shows no array in their place."""
    for at, spec in enumerate((known or {}).get("args", ())[: len(found)]):
        if spec.get("dtype") == "str" and "shape" not in spec and "shape" not in found[at]:
            found[at]["dtype"] = "str"


def input_specs(methods: Mapping[str, Any], known: Mapping[str, Any] | None) -> dict[str, Any]:
    """The input specs that a framework knows, of the methods that are served."""
    return {method: dict(spec) for method, spec in (known or {}).items() if method in methods}


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


def _axis_of_rows(contract: MethodContract, name: str, value: Any, at: int) -> int | None:
    """The axis of an argument's rows, as `CallRule.axis_of` decides it; None: it is a parameter."""
    described = contract.arguments.get(name, NOT_DESCRIBED)
    if described.kind == "parameter":
        return None
    if described.kind == "rows" or described.axis is not None:
        return contract.batch_dim[0] if described.axis is None else described.axis
    if at > 0 and (contract.undescribed == "parameter" or not getattr(value, "ndim", 0)):
        return None
    is_list = isinstance(value, list) and contract.lists == "lists"
    return None if is_list and contract.batch_dim[0] else contract.batch_dim[0]


def _argument_spec(contract: MethodContract, name: str, value: Any, at: int) -> dict[str, Any]:
    if isinstance(value, list) and contract.keeps_list(name, at):
        kinds = set(map(type, value)) if contract.lists == "lists" else set()
        items = "str" if kinds == {str} else "scalars" if kinds and kinds <= _SCALARS else ""
        return {"name": name, "dtype": "object", **({"list_of": items} if items else {})}
    axis = _axis_of_rows(contract, name, value, at)
    return _spec(value, name, contract.batch_dim[0] if axis is None else axis)


def _result_spec(contract: MethodContract, method: str, result: Any) -> dict[str, Any]:
    form, axis = contract.result, contract.batch_dim[1]
    if form is not None and contract.result_source == "user":
        is_leaf = form.items is None and form.named is None
        return _spec(result, "", axis if not is_leaf else -1 if form.axis is None else form.axis)
    if _is_of_parts(contract, result):
        return {"dtype": "object"}
    spec = _spec(result, "", axis)
    if contract.batchable and axis >= len(spec.get("shape", range(axis + 1))):
        raise InvalidSignature(
            f"signatures[{method!r}].batch_dim is {contract.batch_dim}, but with the input example the result has only "
            f"{len(spec['shape'])} dimensions"
        )
    return spec


def _is_of_parts(contract: MethodContract, result: Any) -> bool:
    """Whether a result is several tensors, of which one dtype and shape say nothing."""
    if isinstance(result, tuple) or contract.result is None:
        is_list = isinstance(result, list) and any(getattr(item, "ndim", 0) for item in result)
        return isinstance(result, tuple) or is_list
    return contract.result.items is not None


def _named(contract: MethodContract, args: tuple[Any, ...]) -> list[tuple[str, Any]]:
    """The arguments with the names that the method gives them."""
    names = [*contract.names, *(f"arg{at}" for at in range(len(contract.names), len(args)))]
    return list(zip(names, args, strict=False))


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
