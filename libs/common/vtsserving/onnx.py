"""ONNX models, run by onnxruntime: loading them runs no code of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtsserving._local_store.model import Model
from vtsserving._model.info import ModelInfo
from vtsserving._model.options import ModelOptions
from vtsserving._model.parameters import Parameters
from vtsserving._model.signature import CALL, ModelSignature
from vtsserving._model.tag import Tag
from vtsserving._saving import framework
from vtsserving._saving.framework import Framework, Written
from vtsserving._saving.onnx_files import MODEL_FILE, import_runtime, reason_of, write_model
from vtsserving._saving.taking import Taking
from vtsserving._saving.threads import allowed_threads
from vtsserving.exceptions import BadDtype, InvalidArgument

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vtsserving._saving.framework import SaveDetails

__all__ = ["OnnxOptions", "get", "load_model", "save_model"]

_NUMPY_NAMES: Final = {"float": "float32", "double": "float64", "string": "str"}


@dataclass(frozen=True)
class OnnxOptions(ModelOptions):
    """Options of ONNX models.

    Attributes:
        providers: onnxruntime's execution providers, best first; None: those that fit the device.
    """

    providers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InvalidArgument: one has the wrong type or is out of range.
        """
        super().__post_init__()
        if self.providers is not None:
            given: object = self.providers
            if not isinstance(given, tuple | list) or not all(isinstance(one, str) for one in given):
                raise InvalidArgument(f"providers is a list of names, not {given!r:.80}")
            object.__setattr__(self, "providers", tuple(given))


class SessionCaller:
    """A session whose `run` takes arrays in the order, or by the names, of the model's inputs.

    Attributes:
        session: onnxruntime's InferenceSession.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self._inputs = {one.name: _numpy_name(one.type) for one in session.get_inputs()}

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model.

        Args:
            args: arrays, in the order of the model's inputs.
            kwargs: arrays, by the inputs' names.

        Returns:
            The output; a tuple where the model has several.

        Raises:
            BadDtype: an array cannot be cast to the input's type without changing its kind.
        """
        if len(args) > len(self._inputs):
            raise TypeError(f"the model has {len(self._inputs)} inputs, not {len(args)}")
        given = {**dict(zip(self._inputs, args, strict=False)), **kwargs}
        feeds = {name: self._cast(name, value) for name, value in given.items()}
        outputs = self.session.run(None, feeds)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    __call__ = run
    predict = run

    def _cast(self, name: str, value: Any) -> Any:
        import numpy as np

        array = np.asarray(value)
        wanted = self._inputs.get(name)
        if wanted in (None, "object", "str") or array.dtype == wanted:
            return array
        is_list = not hasattr(value, "dtype")
        if not np.can_cast(array.dtype, np.dtype(wanted), "same_kind") and not (
            is_list and array.dtype.kind in "iuf"
        ):
            raise BadDtype(f"the input {name!r} is {wanted}; {array.dtype} cannot be cast to it")
        return array.astype(wanted)


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save an ONNX model.

    Args:
        name: `name` or `name:version`.
        model: an onnx.ModelProto, its bytes, or the path of an .onnx file; the files of tensors that it names are
            saved with it.
        details: signatures (default: `run`, not batchable), labels, metadata, custom_objects,
            external_modules, options, input_example, description, check; see
            `vtsserving._saving.framework.SaveDetails`.

    Returns:
        The saved model.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.
    """

    def write(path: Path) -> Written:
        target = write_model(model, path)
        served = SessionCaller(_session(target, None, None, None))
        return Written(runs_code=False, input_specs=_input_specs(served.session), served=served)

    return framework.save(FRAMEWORK, name, model, write, default={"run": ModelSignature()}, details=details)


def load_model(
    tag: str | Tag | Model,
    *,
    providers: Sequence[str] | None = None,
    session_options: Any = None,
    device: str | None = None,
) -> Any:
    """Load a model as a session of onnxruntime.

    Args:
        tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix.
        providers: execution providers, best first; those saved with the model by default.
        session_options: onnxruntime's SessionOptions.
        device: `cpu` or `cuda`; only read where no provider is named.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
        IntegrityError: its files are damaged; nothing was loaded then.
        IncompatibleEnvironment: the framework's version does not fit.
        ModelLoadFailed: it cannot be loaded here.
    """
    return framework.load(FRAMEWORK, tag, providers=providers, session_options=session_options, device=device)


def get(tag: str | Tag) -> Model:
    """Find a model that this module saved.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
    """
    return framework.get(FRAMEWORK, tag)


def _read(
    model: Model,
    providers: Sequence[str] | None = None,
    session_options: Any = None,
    device: str | None = None,
) -> Any:
    options = OnnxOptions.from_dict(model.info.raw_options, strict=False)
    if session_options is None:
        session_options = import_runtime().SessionOptions()
        threads = allowed_threads(options) or 0
        session_options.intra_op_num_threads = session_options.inter_op_num_threads = threads
    return _session(model.path_of(MODEL_FILE), providers or options.providers, session_options, device)


def _serve(loaded: Any, info: ModelInfo) -> Any:
    return SessionCaller(loaded)


def _session(path: Path, providers: Sequence[str] | None, session_options: Any, device: str | None) -> Any:
    onnxruntime = import_runtime()
    if providers is None:
        providers = ["CPUExecutionProvider"]
        if device is not None and device.startswith("cuda"):
            providers.insert(0, "CUDAExecutionProvider")
    try:
        return onnxruntime.InferenceSession(str(path), sess_options=session_options, providers=[*providers])
    except Exception as error:
        raise InvalidArgument(
            f"onnxruntime cannot read the model: {reason_of(error, path.parent)}"
        ) from error


def _input_specs(session: Any) -> dict[str, Any]:
    args = [
        {
            "name": one.name,
            "dtype": _numpy_name(one.type),
            # What the model names instead of numbering varies; of what it numbers, rows included, the session refuses
            # every other number.
            "shape": [size if isinstance(size, int) and size > 0 else -1 for size in one.shape],
        }
        for one in session.get_inputs()
    ]
    spec = {"args": args}
    return {"run": spec, "predict": spec, CALL: spec}


def _parameters(served: SessionCaller, method: str) -> Parameters:
    """The inputs of the graph, by which every method may be called."""
    names = tuple(one.name for one in served.session.get_inputs())
    return Parameters(names, takes_more=False, takes_more_positions=False, required=names)


def _numpy_name(onnx_type: str) -> str:
    inner = onnx_type.removeprefix("tensor(").removesuffix(")")
    return _NUMPY_NAMES.get(inner, inner) if onnx_type.startswith("tensor(") else "object"


FRAMEWORK: Final = Framework(
    module="vtsserving.onnx",
    name="onnx",
    distributions=("onnxruntime",),
    read=_read,
    serve=_serve,
    options=OnnxOptions,
    takes_device=True,
    taking=Taking(tables=False),
    parameters=_parameters,
    packages=("onnxruntime",),
)
