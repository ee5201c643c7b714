"""What the framework modules of torch share: writing, reading and calling modules."""

from __future__ import annotations

import contextlib
import pickle
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from vtsserving._local_store.model import Model
from vtsserving._model.info import ModelInfo
from vtsserving._model.parameters import Parameters, parameters_of
from vtsserving._model.signature import CALL
from vtsserving._saving import pickles
from vtsserving._saving.environment import framework_import
from vtsserving._saving.framework import Written
from vtsserving.exceptions import IncompatibleEnvironment, IntegrityError

MODEL_FILE: Final = "model.pt"

_WHOLE_NUMBERS: Final = (
    "Long is what whole numbers become: send fractions (1.0 for 1), or save the model with an input_example, "
    "whose dtype counts then"
)

_HALF_BYTES: Final = 2

_TYPE: Final = re.compile(r"type|implemented for|Long|Double|Float")
"""Words of torch's errors where the dtype of an argument is the reason."""

_LAYERS: Final = "torch.nn.modules."
"""Where torch's own layers live."""


class TorchCaller:
    """A module whose methods take arrays as well as tensors and compute without gradients.

    Where no argument is a tensor, results are arrays: whoever sends arrays need not have torch.
    Arrays of float64, which is what numpy and JSON make of any fraction, become the dtype of the module's parameters,
    and so do other fractions that the module refuses; tensors stay as they are.

    Attributes:
        module: the module, in evaluation mode.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self._device = _device_of(module)
        self._floats = _floats_of(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module itself."""
        return self._call(self.module, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "module":
            raise AttributeError(name)
        method = getattr(self.module, name)
        if not callable(method):
            raise AttributeError(f"{name!r} is no method of {type(self.module).__name__}")
        return lambda *args, **kwargs: self._call(method, args, kwargs)

    def _call(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        import torch

        has_tensors = _any_tensor((args, kwargs), torch)
        with torch.inference_mode(), _explained(args, kwargs):
            result = self._compute(method, args, kwargs, torch)
        return _from_tensors(result, torch, keep=has_tensors)

    def _compute(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any], torch: Any) -> Any:
        """Call a method; again with its arrays in other dtypes if it refuses those that they have.

        A frozen or quantised module has no parameters that say which fractions it computes with, nor whether a whole
        number stands for a fraction: it is given those that torch makes by default, and then others.
        """
        tensors = self._to_tensors((args, kwargs), torch)
        try:
            return method(*tensors[0], **tensors[1])
        except RuntimeError as error:
            if not _TYPE.search(str(error)):
                raise
            tried = [_dtypes(tensors, torch)]
            for floats, whole in self._other_dtypes(torch):
                other = self._to_tensors((args, kwargs), torch, floats, whole=whole)
                if _dtypes(other, torch) in tried:
                    continue
                tried.append(_dtypes(other, torch))
                with contextlib.suppress(RuntimeError):
                    return method(*other[0], **other[1])
            raise

    def _other_dtypes(self, torch: Any) -> Iterator[tuple[Any, bool]]:
        """The dtypes of fractions to try, and whether whole numbers and bools become such."""
        if self._floats is not None:
            yield self._floats, False
            return
        for floats in (torch.get_default_dtype(), torch.float64, torch.float16):
            yield floats, False
            yield floats, True

    def _to_tensors(self, value: Any, torch: Any, floats: Any = None, *, whole: bool = False) -> Any:
        """Arrays as tensors: fractions in the dtype `floats`, and whole numbers, too, if `whole`.

        Without `floats`, only float64 becomes what the parameters are.
        """
        import numpy as np

        if isinstance(value, torch.Tensor):
            return value.to(self._device)
        if isinstance(value, np.ndarray) and (value.dtype.kind in "biufc" or value.dtype.name == "bfloat16"):
            tensor = _tensor_of(value, torch)
            if floats is None:
                return tensor.to(self._device, self._floats if tensor.dtype == torch.float64 else None)
            changes = tensor.is_floating_point() or (whole and not tensor.is_complex())
            return tensor.to(self._device, floats if changes else None)
        if isinstance(value, dict):
            return {key: self._to_tensors(item, torch, floats, whole=whole) for key, item in value.items()}
        if isinstance(value, tuple | list):
            return type(value)(self._to_tensors(item, torch, floats, whole=whole) for item in value)
        return value


def import_torch() -> Any:
    """The torch package.

    Raises:
        MissingDependency: it is not installed.
    """
    with framework_import("torch", "torch"):
        import torch
    return torch


def write_module(path: Path, module: Any, external_modules: Sequence[ModuleType]) -> Written:
    """Write a module with its weights and its code.

    Args:
        path: the model's directory.
        module: a torch.nn.Module.
        external_modules: as for `save_model`.

    Raises:
        SerializationError: it cannot be pickled.
    """
    import cloudpickle

    torch = import_torch()

    def save(file: Any) -> None:
        torch.save(module, file, pickle_module=cloudpickle)

    has_code = pickles.write_watched(path / MODEL_FILE, save, "the model", external_modules)
    is_data = not has_code and _can_be_read_as_data(path / MODEL_FILE)
    return Written(
        runs_code=not is_data,
        extra={"pickle_by_value": has_code, "weights_only": is_data},
        # In the mode in which it is served; whoever saves puts its own back.
        served=serve_module(module),
        coarse=is_coarse(module),
    )


def layers_of(file: Path) -> list[type] | None:
    """The classes that a file needs beside tensors, if they are layers of torch alone.

    Such a file is read by torch's restricted unpickler, which builds tensors and these classes and calls nothing else.

    Args:
        file: what `torch.save` wrote.

    Returns:
        The layers; None when it needs anything else, or when this torch (before 2.6) cannot say.
    """
    if not _can_tell_layers():
        return None
    from torch import nn, serialization

    try:
        names = serialization.get_unsafe_globals_in_checkpoint(file)
    except pickle.UnpicklingError:  # an operation that the restricted unpickler does not know
        return None
    layers = []
    for name in names:
        module_name, _, class_name = name.rpartition(".")
        module = sys.modules.get(module_name) if module_name.startswith(_LAYERS) else None
        found = getattr(module, class_name, None)
        if not (isinstance(found, type) and issubclass(found, nn.Module) and found.__module__ == module_name):
            return None
        layers.append(found)
    return layers


def _can_be_read_as_data(file: Path) -> bool:
    """Try it, without reading the weights: a promise that loading could not keep would lose the model."""
    layers = layers_of(file)
    if layers is None:
        return False
    try:
        _unpickle_restricted(file, layers, "meta", mmap=True)
    except Exception:  # the unpickler's errors are of many types; the file is then one that runs code
        return False
    return True


def _unpickle_restricted(file: Path, layers: list[type], device: str, **options: Any) -> Any:
    import torch

    with torch.serialization.safe_globals(layers):
        return torch.load(str(file), map_location=device, weights_only=True, **options)


def _can_tell_layers() -> bool:
    from torch import serialization

    return hasattr(serialization, "get_unsafe_globals_in_checkpoint")


def read_module(model: Model, device: str = "cpu") -> Any:
    """Read a module that `write_module` wrote.

    Args:
        model: the model; its digests were checked.
        device: where its weights go.

    Raises:
        IntegrityError: its record promises that loading it runs no code, and its file needs more.
        IncompatibleEnvironment: its record promises that, and this torch cannot keep the promise.
        PythonVersionMismatch: it carries code of another Python version.
        ModelLoadFailed: it cannot be loaded here.
    """
    torch = import_torch()
    if model.info.extra.get("weights_only"):
        return _read_data(model, device, torch)
    pickles.check_may_run(model)
    return torch.load(model.path_of(MODEL_FILE), map_location=device, weights_only=False)


def _read_data(model: Model, device: str, torch: Any) -> Any:
    """Read a module with torch's restricted unpickler; there is no other way in for one that is recorded as data."""
    if not _can_tell_layers():
        raise IncompatibleEnvironment(
            f"{model.tag} is recorded as loaded without running code, which needs torch 2.6 or newer; "
            f"{torch.__version__} is installed: pip install 'torch>=2.6'"
        )
    file = model.path_of(MODEL_FILE)
    layers = layers_of(file)
    if layers is None:
        raise IntegrityError(
            f"{model.tag} is recorded as made of torch's own layers alone, but its file needs more; nothing was loaded"
        )
    return _unpickle_restricted(file, layers, device)


def serve_module(module: Any, info: ModelInfo | None = None) -> TorchCaller:
    """What the model process calls: the module in evaluation mode, taking arrays."""
    return TorchCaller(module.eval())


def module_parameters(served: TorchCaller, method: str) -> Parameters:
    """The parameters of a module's method; those of `forward` for the module itself."""
    function = served.module.forward if method == CALL else getattr(served.module, method)
    schema = getattr(function, "schema", None)
    if schema is None:
        return parameters_of(function)
    names = tuple(one.name for one in schema.arguments[1:])
    required = tuple(one.name for one in schema.arguments[1:] if not one.has_default_value())
    return Parameters(names, takes_more=False, takes_more_positions=False, required=required)


def _device_of(module: Any) -> Any:
    first = next(module.parameters(), None)
    if first is None:
        first = next(module.buffers(), None)
    return "cpu" if first is None else first.device


def _floats_of(module: Any) -> Any:
    """The one floating dtype that the parameters have; None if they have none or several."""
    found = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}
    return found.pop() if len(found) == 1 else None


def is_coarse(module: Any) -> bool:
    """Whether a module computes with half precision somewhere, as graphics cards do for float32, too."""
    return any(
        one.is_floating_point() and (one.element_size() <= _HALF_BYTES or one.device.type != "cpu")
        for one in module.parameters()
    )


@contextlib.contextmanager
def _explained(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
    """Say what to do to who sent whole numbers where the module computes with fractions, which torch refuses.

    They are not converted: a module may need them as they are, to look something up.
    """
    try:
        yield
    except RuntimeError as error:
        whole = any(getattr(value, "dtype", None) == "int64" for value in (*args, *kwargs.values()))
        if whole and ("Long" in str(error) or "long int" in str(error)):
            raise RuntimeError(f"{error}; {_WHOLE_NUMBERS}") from error
        raise


def _tensor_of(array: Any, torch: Any) -> Any:
    """The tensor of an array, in memory of its own: arrays from the wire are read-only, which torch does not know."""
    import numpy as np

    plain = np.array(array, order="C", subok=False)
    if plain.dtype.name == "bfloat16":
        return torch.from_numpy(plain.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(plain if plain.dtype.isnative else plain.astype(plain.dtype.newbyteorder("=")))


def _dtypes(value: Any, torch: Any) -> list[Any]:
    """The dtypes of all tensors in a value."""
    if isinstance(value, torch.Tensor):
        return [value.dtype]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [dtype for item in items for dtype in _dtypes(item, torch)]


def _any_tensor(value: Any, torch: Any) -> bool:
    if isinstance(value, dict):
        return any(_any_tensor(item, torch) for item in value.values())
    if isinstance(value, tuple | list):
        return any(_any_tensor(item, torch) for item in value)
    return isinstance(value, torch.Tensor)


def _from_tensors(value: Any, torch: Any, *, keep: bool) -> Any:
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu()
        # numpy has no bfloat16; casting would change what the model says.
        return plain if keep or plain.dtype == torch.bfloat16 else plain.numpy()
    if isinstance(value, dict):
        return {key: _from_tensors(item, torch, keep=keep) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return (
            [*(_from_tensors(item, torch, keep=keep) for item in value)]
            if isinstance(value, list)
            else tuple(_from_tensors(item, torch, keep=keep) for item in value)
        )
    return value
