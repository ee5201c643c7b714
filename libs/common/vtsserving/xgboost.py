"""Models of XGBoost, in its own format: loading them runs no code of theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtsserving._local_store.model import Model
from vtsserving._model.info import ModelInfo
from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import ModelSignature
from vtsserving._model.tag import Tag
from vtsserving._saving import framework
from vtsserving._saving.environment import framework_import
from vtsserving._saving.framework import Framework, Written
from vtsserving._saving.taking import Taking
from vtsserving._saving.threads import allowed_threads
from vtsserving.exceptions import InvalidArgument, SerializationError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vtsserving._saving.framework import SaveDetails

__all__ = ["ModelOptions", "get", "load_model", "save_model"]

MODEL_FILE: Final = "model.ubj"

_BOOSTER: Final = "Booster"
_CLASSES: Final = ("XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor")
_TAKE_FEATURES: Final = ("predict", "predict_proba", "apply")

PARAMETERS: Final = "parameters"
"""The key of the manifest's `extra` with the wrapper's constructor parameters: its model file holds the trees alone."""

_TRAINING_ONLY: Final = frozenset(
    ("callbacks", "eval_metric", "feature_weights", "importance_type", "objective", "random_state")
)
"""Parameters that no answer depends on; those of them that are not data, such as functions, are left out."""

_ELSEWHERE: Final = frozenset(("device", "gpu_id", "predictor"))
"""Parameters of the machine that trained: where a served model computes is an option of its own."""

_UNSET: Final = object()

_NOT_FINITE: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""JSON has no such numbers: they are `{"float": "nan"}`."""


class BoosterCaller:
    """A booster whose `predict` takes an array instead of a DMatrix.

    Attributes:
        booster: the booster.
    """

    def __init__(self, booster: Any, threads: int | None = None) -> None:
        self.booster = booster
        self._threads = threads

    def predict(self, data: Any, **options: Any) -> Any:
        """Predict rows.

        Args:
            data: rows [n, features], an array or a DataFrame.
            options: those of `Booster.predict`.
        """
        import xgboost

        names = None if hasattr(data, "columns") else self.booster.feature_names
        types = None if hasattr(data, "columns") else self.booster.feature_types
        categorical = "c" in (self.booster.feature_types or ())
        matrix = xgboost.DMatrix(
            data,
            nthread=self._threads,
            feature_names=names,
            feature_types=types,
            enable_categorical=categorical,
        )
        return self.booster.predict(matrix, **options)

    __call__ = predict


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save a booster, or a fitted model of XGBoost's scikit-learn interface.

    Args:
        name: `name` or `name:version`.
        model: a Booster, XGBClassifier, XGBRegressor, XGBRanker, XGBRFClassifier or XGBRFRegressor.
        details: signatures (default: `predict`, not batchable), labels, metadata, custom_objects,
            external_modules, options, input_example, description, check; see
            `vtsserving._saving.framework.SaveDetails`.

    Returns:
        The saved model.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.
    """
    with framework_import("xgboost", "xgboost"):
        import xgboost
    kind = type(model).__name__
    if kind not in (_BOOSTER, *_CLASSES) or type(model) is not getattr(xgboost, kind):
        raise InvalidArgument(f"vtsserving.xgboost saves {_BOOSTER}, {', '.join(_CLASSES)}; not {kind}")

    def write(path: Path) -> Written:
        parameters = {} if kind == _BOOSTER else _parameters(model)
        model.save_model(path / MODEL_FILE)
        served = BoosterCaller(model) if kind == _BOOSTER else model
        categories = _categories(_booster(model))
        extra = {"class": kind, **({PARAMETERS: parameters} if parameters else {})}
        return Written(
            runs_code=False,
            input_specs=_input_specs(model),
            extra=extra,
            served=served,
            columns=_booster(model).feature_names or (),
            categories=tuple(categories.values()),
            categorical=tuple(categories),
        )

    return framework.save(
        FRAMEWORK, name, model, write, default={"predict": ModelSignature()}, details=details
    )


def load_model(tag: str | Tag | Model) -> Any:
    """Load a booster or model back into memory.

    Args:
        tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
        IntegrityError: its files are damaged; nothing was loaded then.
        IncompatibleEnvironment: the framework's version does not fit.
        ModelLoadFailed: it cannot be loaded here.
    """
    return framework.load(FRAMEWORK, tag)


def get(tag: str | Tag) -> Model:
    """Find a model that this module saved.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
    """
    return framework.get(FRAMEWORK, tag)


def _read(model: Model) -> Any:
    with framework_import("xgboost", "xgboost"):
        import xgboost
    kind = str(model.info.extra.get("class", _BOOSTER))
    if kind not in (_BOOSTER, *_CLASSES):
        raise InvalidArgument(f"{model.tag} has the unknown class {kind!r}")
    saved = model.info.extra.get(PARAMETERS)
    parameters = {str(name): _value(raw) for name, raw in saved.items()} if isinstance(saved, dict) else {}
    if kind == _BOOSTER:
        parameters = {}
    loaded = getattr(xgboost, kind)(**parameters)
    loaded.load_model(model.path_of(MODEL_FILE))
    return loaded


def _parameters(model: Any) -> dict[str, Any]:
    """The constructor's parameters that differ from their defaults, those in `**kwargs` included, as JSON values."""
    default = type(model)().get_params()
    # Not get_params(): it draws a number from the model's random state, and so changes it.
    given = {name: getattr(model, name, value) for name, value in default.items()}
    given.update(getattr(model, "kwargs", None) or {})
    changed = {name: value for name, value in given.items() if not _same(value, default.get(name, _UNSET))}
    return {
        name: _plain(name, value)
        for name, value in changed.items()
        if name not in _ELSEWHERE and (name not in _TRAINING_ONLY or _is_data(value))
    }


def _is_data(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_data(item) for item in value)
    return value is None or isinstance(value, str | int | float)


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, float) and isinstance(other, float) and math.isnan(value):
        return math.isnan(other)
    return (
        type(value) is type(other)
        and (value is None or isinstance(value, str | int | float))
        and value == other
    )


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON.

    Raises:
        SerializationError: it is not data, and answers may depend on it.
    """
    import numpy as np

    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, Mapping):
        return {"dict": [[_plain(name, key), _plain(name, item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        plain = [_plain(name, item) for item in value]
        return plain if isinstance(value, list) else {"tuple": plain}
    if value is None or isinstance(value, str | int | float):
        return value
    raise SerializationError(
        f"the parameter {name!r} of the model is {type(value).__name__}, which is not data; set it to a number or "
        "text, or save the model with vtsserving.picklable_model"
    )


def _value(raw: Any) -> Any:
    """The reverse of `_plain`."""
    if isinstance(raw, list):
        return [_value(item) for item in raw]
    if not isinstance(raw, dict):
        return raw
    if "float" in raw:
        return _NOT_FINITE[raw["float"]]
    if "tuple" in raw:
        return tuple(_value(item) for item in raw["tuple"])
    return {_value(key): _value(item) for key, item in raw["dict"]}


def _serve(loaded: Any, info: ModelInfo) -> Any:
    return (
        BoosterCaller(loaded, allowed_threads(info.options)) if type(loaded).__name__ == _BOOSTER else loaded
    )


def _booster(model: Any) -> Any:
    return model if type(model).__name__ == _BOOSTER else model.get_booster()


def _categories(booster: Any) -> dict[str, list[Any]]:
    """Column name to the categories that it was trained on, as far as this release of XGBoost keeps and shows them."""
    if "c" not in (booster.feature_types or ()) or not hasattr(booster, "get_categories"):
        return {}
    try:
        listed = booster.get_categories(export_to_arrow=True).to_arrow()
    except (ImportError, AttributeError, TypeError, ValueError):
        return {}  # it tells them through pyarrow alone
    return {name: values.to_pylist() for name, values in listed if values is not None}


def _input_specs(model: Any) -> dict[str, Any]:
    booster = _booster(model)
    # Categories are not numbers that may be cast.
    if "c" in (booster.feature_types or ()):
        return {}
    spec = {"args": [{"name": "X", "dtype": "float64", "shape": [-1, booster.num_features()]}]}
    return dict.fromkeys(_TAKE_FEATURES, spec)


FRAMEWORK: Final = Framework(
    module="vtsserving.xgboost",
    name="xgboost",
    distributions=("xgboost",),
    read=_read,
    serve=_serve,
    taking=Taking(one=True),
    packages=("xgboost", "sklearn"),
)
