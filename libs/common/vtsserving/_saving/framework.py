"""What every framework module shares: saving, loading, and the checks around both.

A framework module is one file with a `FRAMEWORK` and three functions, `save_model`, `load_model` and `get`. What the
model process calls is what `serve` makes of the loaded object: the object itself, or one whose methods take arrays.
"""

from __future__ import annotations

import dataclasses
import importlib
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypedDict

from vtsserving._local_store.files import storage_errors
from vtsserving._local_store.model import Model
from vtsserving._local_store.resolver import current_resolver
from vtsserving._local_store.store import LocalStore
from vtsserving._model.contract import MethodContract, plain_signature
from vtsserving._model.contract_record import write_contracts
from vtsserving._model.draft import Draft
from vtsserving._model.info import ModelContext, ModelInfo
from vtsserving._model.manifest_files import hash_files
from vtsserving._model.metadata import plain_labels, plain_metadata
from vtsserving._model.options import ModelOptions
from vtsserving._model.parameters import Parameters
from vtsserving._model.signature import ModelSignature, read_signatures
from vtsserving._model.tag import Tag, check_not_hidden
from vtsserving._saving import checker
from vtsserving._saving.custom_objects import write_custom_objects
from vtsserving._saving.description import check_description
from vtsserving._saving.environment import check_environment, installed_versions
from vtsserving._saving.input_example import Example, input_specs
from vtsserving._saving.taking import ARRAYS, Taking
from vtsserving._saving.threads import allowed_threads, limit_threads
from vtsserving._saving.trial import GivenModel, answers, ask, checked_flag, imports_of, run_trial
from vtsserving._saving.unchanged import unchanged
from vtsserving.exceptions import (
    InvalidSignature,
    ModelLoadFailed,
    ModelNotFound,
    VtsServingException,
)
from vtsserving.version import __version__

MODULES: Final = (
    "catboost",
    "lightgbm",
    "onnx",
    "picklable_model",
    "pytorch",
    "pytorch_lightning",
    "sklearn",
    "torchscript",
    "transformers",
    "xgboost",
)
"""The framework modules of this package; only these are imported because a model.yaml names them."""

INTERNAL: Final = ("packed_runnable",)
"""Modules of this package that save what is no user's model."""


class SaveDetails(TypedDict, total=False):
    """What every `save_model` takes beside the name and the model; all of it is optional.

    Attributes:
        signatures: method name to `{"batchable": bool, "batch_dim": int or (input, output)}`.
        labels: text to text, for finding models.
        metadata: text to plain values, numpy values and dates; for people.
        custom_objects: text to any Python objects, saved with cloudpickle beside the model.
        external_modules: modules whose code is saved with the model because the server does not have them.
        options: how the model wants to be served; a dict or the framework's ModelOptions.
        input_example: one argument of the signatures, or a tuple of several; its types and shapes are recorded, and
            it is used for warm-up and documentation.
        description: text about the model, for people.
        check: whether the saved model is loaded by another process, on the CPU and without credentials, and its answers
            to the example compared with those of the given object. None: for models below 2 GiB, for 60 s at most;
            True: always; False: never.
    """

    signatures: Mapping[str, Mapping[str, Any] | ModelSignature] | None
    labels: Mapping[str, str] | None
    metadata: Mapping[str, Any] | None
    custom_objects: Mapping[str, Any] | None
    external_modules: Sequence[ModuleType] | None
    options: Mapping[str, Any] | ModelOptions | None
    input_example: Any
    description: str | None
    check: bool | None


@dataclass(frozen=True)
class Framework:
    """How one framework's models are written and read.

    Attributes:
        module: the framework module's name, as model.yaml has it.
        name: short name, as model.yaml's context has it.
        distributions: the packages whose versions are recorded and checked, as pip knows them.
        read: loads the model object from a model's files; keyword arguments are the module's load options.
        serve: makes of the loaded object what the model process calls; None: it is called itself.
        options: the class of the model's options.
        takes_device: whether `read` has a keyword argument `device`.
        taking: what its methods take.
        parameters: of a method of the served object, where Python cannot say; (object, method name).
        packages: what it is imported as.
    """

    module: str
    name: str
    distributions: tuple[str, ...]
    read: Callable[..., Any]
    serve: Callable[[Any, ModelInfo], Any] | None = None
    options: type[ModelOptions] = ModelOptions
    takes_device: bool = False
    taking: Taking = ARRAYS
    parameters: Callable[[Any, str], Parameters] | None = None
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """What a framework module says about the files that it wrote.

    Attributes:
        runs_code: whether loading them runs code that the model's author wrote.
        input_specs: method to spec, where the framework knows it.
        extra: more for the manifest; JSON values.
        served: what the model process will call, where that is not the model.
        columns: names of the columns that a table has, where the framework knows them.
        categories: of the categorical columns of that table, in their order, where the framework knows them.
        categorical: the names of these columns, where it knows them, too.
        coarse: whether it computes with half precision.
    """

    runs_code: bool
    input_specs: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] | None = None
    served: Any = None
    columns: Sequence[str] = ()
    categories: Sequence[Sequence[Any]] = ()
    categorical: Sequence[str] = ()
    coarse: bool = False


USUAL_METHODS: Final = ("predict", "predict_proba", "transform", "forecast")
"""Methods that models are mostly served by, for the error that says which there are."""


def save(
    framework: Framework,
    name: str | Tag,
    model: Any,
    write: Callable[[Path], Written],
    *,
    default: Mapping[str, ModelSignature],
    details: SaveDetails,
) -> Model:
    """Save a model: check the arguments, let the framework write its files, try them, let the store make it a model.

    Args:
        framework: the module's own.
        name: `name` or `name:version`.
        model: the object that has the signatures' methods.
        write: writes the framework's files into a directory.
        default: the signatures where the caller gives none.
        details: the keyword arguments of `save_model`.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.
    """
    from vtsserving._saving.contract import contracts_of, with_example  # with numpy

    known = _known_details(framework, details)
    tag = Tag.parse(name)
    check_not_hidden(tag)
    described = known.get("signatures") or default
    signatures = read_signatures(_plain(described))
    if framework.serve is None:
        check_methods(model, signatures)
    options = framework.options.from_dict(known.get("options") or {})
    options.check_methods(signatures)
    labels, metadata = plain_labels(known.get("labels")), plain_metadata(known.get("metadata"))
    description = check_description(known.get("description"))
    check = checked_flag(known.get("check"))
    imports = imports_of(framework.module, framework.packages)
    if check is not False:
        checker.prepare(imports)
    store = LocalStore()
    with store.staging() as staged, unchanged(model):
        with storage_errors(f"cannot save {tag}"):
            written = write(staged)
        served = model if written.served is None else written.served
        check_methods(served, signatures)
        extra = {
            **(written.extra or {}),
            **write_custom_objects(staged, known.get("custom_objects"), known.get("external_modules") or ()),
            **({"description": description} if description else {}),
            "runs_code": written.runs_code,
        }
        contracts = contracts_of(described, framework.taking, framework.parameters, served, written.columns)
        example = _example(staged, known.get("input_example"), contracts)
        # Not before a model is saved: numpy takes its time.
        from vtsserving._saving.table_columns import with_categories, with_tables

        if example is not None and framework.taking.tables:
            contracts = with_tables(contracts, example.args(), written.categories, written.input_specs)
        elif framework.taking.tables and len(written.categorical) == len(written.categories):
            contracts = with_categories(
                contracts, dict(zip(written.categorical, written.categories, strict=True))
            )
        given = ask(served, example, signatures, coarse=written.coarse, strict=check is not False)
        contracts = with_example(contracts, given)
        extra.update(_described(given, contracts, signatures, written))
        extra.update(write_contracts(contracts))
        recorded = {name: contracts[name].signature_for_0_1 for name in signatures}
        draft = Draft(tag, framework.module, context(framework), labels, options, metadata, recorded, extra)
        with storage_errors(f"cannot save {tag}"):
            files = hash_files(staged)
        checked = run_trial(staged, draft, files, given, check, imports)
        return store.save(staged, dataclasses.replace(draft, extra={**extra, **checked}), files)


def _example(staged: Path, raw: Any, contracts: Mapping[str, MethodContract]) -> Example | None:
    if raw is None:
        return None
    example = Example(raw, staged)
    example.check_axes(contracts)
    return example


def _described(
    given: GivenModel,
    contracts: Mapping[str, MethodContract],
    signatures: Mapping[str, ModelSignature],
    written: Written,
) -> dict[str, Any]:
    """The specs of inputs and outputs, for the manifest's `extra`."""
    if given.example is not None:
        return given.example.describe(
            contracts,
            given.results,
            lambda method, args: answers(given.served, method, args),
            written.input_specs,
        )
    specs = input_specs(signatures, written.input_specs)
    return {"input_specs": specs} if specs else {}


def load(framework: Framework, tag: str | Tag | Model, **options: Any) -> Any:
    """Load a model object into this process.

    Args:
        framework: the module's own.
        tag: what `get` accepts, or a model.
        options: the module's load options.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
        IntegrityError: its files do not match their digests; nothing was loaded then.
        IncompatibleEnvironment: Python or the framework does not fit.
        ModelLoadFailed: its own code or files cannot be loaded.
    """
    model = get(framework, tag)
    model.verify()
    return _read(framework, model, **options)


def get(framework: Framework, tag: str | Tag | Model) -> Model:
    """Find a model that this framework module saved.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it; the message names both.
    """
    model = tag if isinstance(tag, Model) else current_resolver().get(tag)
    if model.info.module != framework.module:
        raise ModelNotFound(
            f"{model.tag} was saved with {model.info.module}, not with {framework.module}; "
            f"use {model.info.module}.get or vtsserving.models.get"
        )
    return model


def load_model(model: Model, **options: Any) -> Any:
    """Load a model object with the framework module that its model.yaml names; errors as those of `load`."""
    return load(framework_of(model.info), model, **options)


def load_for_serving(path: Path, *, verified: bool = False, device: str | None = None) -> Any:
    """Load a model from a directory, as the object whose methods the model process calls.

    Args:
        path: a model's directory, in a store or a cache.
        verified: whether its digests were checked just now.
        device: where it computes; the first one that its options name by default, else the CPU.

    Raises:
        VtsServingException: as `load`.
    """
    model = Model.staged(path)
    if not verified:
        model.verify()
    framework = framework_of(model.info)
    chosen = device or _first_device(model.info.options)
    loaded = _read(framework, model, **({"device": chosen} if framework.takes_device and chosen else {}))
    limit_threads(loaded, allowed_threads(model.info.options))
    served = loaded if framework.serve is None else framework.serve(loaded, model.info)
    check_methods(served, model.info.signatures)
    return served


def framework_of(info: ModelInfo) -> Framework:
    """The framework that a model.yaml names.

    Raises:
        ModelLoadFailed: this version has no such framework module.
    """
    package, _, module = info.module.rpartition(".")
    if package != "vtsserving" or module not in (*MODULES, *INTERNAL):
        raise ModelLoadFailed(
            f"{info.tag} was saved with {info.module or 'no framework module'!r}, which cannot load models here"
        )
    framework: Framework = importlib.import_module(info.module).FRAMEWORK
    return framework


def context(framework: Framework | None = None) -> ModelContext:
    """The environment of this process, as a model.yaml records it."""
    versions = installed_versions(framework.distributions if framework else ())
    return ModelContext(framework.name if framework else "", versions, __version__, platform.python_version())


def check_methods(served: Any, signatures: Mapping[str, ModelSignature]) -> None:
    """Check that an object has the methods that signatures name.

    Raises:
        InvalidSignature: a method is missing or cannot be called; the message names it.
    """
    for method in signatures:
        if not callable(getattr(served, method, None)):
            raise InvalidSignature(
                f"the signature {method!r} does not fit: {type(served).__name__} has no such method to call"
                f"{_other_methods(served, method)}"
            )


def _other_methods(served: object, wanted: str) -> str:
    """How to go on, for an error: with a near name, or with the methods of the object's own class if it has any."""
    import difflib

    kind = type(served)
    methods = [name for name in dir(kind) if name[0] != "_" and callable(getattr(kind, name, None))]
    near = difflib.get_close_matches(wanted, methods, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    if kind.__module__ == "builtins":
        return ""
    # Some classes, such as the results of statsmodels, have their methods from another object.
    usual = [name for name in USUAL_METHODS if callable(getattr(served, name, None))]
    own = [*usual, *(name for name in vars(kind) if name in methods and name not in usual)]
    if not own:
        return ""
    return f"; it has {', '.join(own[:5])}: say which to serve, for example signatures={{{own[0]!r}: {{}}}}"


def _plain(described: Any) -> Any:
    """Signatures as model.yaml has them; what is none is left to `read_signatures`."""
    if not isinstance(described, Mapping):
        return described
    return {name: plain_signature(raw, f"signatures[{name!r:.80}]") for name, raw in described.items()}


def _read(framework: Framework, model: Model, **options: Any) -> Any:
    check_environment(model.info)
    _ = model.info.contracts  # those of a later release are refused before anything is loaded
    try:
        return framework.read(model, **options)
    except (VtsServingException, TypeError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelLoadFailed(f"{model.tag} cannot be loaded: {type(error).__name__}: {reason}") from error


def _first_device(options: ModelOptions) -> str | None:
    return options.device[0] if isinstance(options.device, tuple) else options.device


def _known_details(framework: Framework, details: SaveDetails) -> SaveDetails:
    unknown = sorted(set(details) - SaveDetails.__annotations__.keys())
    if unknown:
        known = ", ".join(SaveDetails.__annotations__)
        raise TypeError(
            f"{framework.module}.save_model() got an unknown argument {unknown[0]!r}; known are {known}"
        )
    return details
