"""Models of XGBoost, in its own format: loading them runs no code of theirs."""

from __future__ import annotations

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
from vtsserving.exceptions import InvalidArgument

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vtsserving._saving.framework import SaveDetails

__all__ = ["ModelOptions", "get", "load_model", "save_model"]

MODEL_FILE: Final = "model.ubj"

_BOOSTER: Final = "Booster"
_CLASSES: Final = ("XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor")
_TAKE_FEATURES: Final = ("predict", "predict_proba", "apply")


class BoosterCaller:
    """A booster whose `predict` takes an array instead of a DMatrix.

    Attributes:
        booster: the booster.
    """

    def __init__(self, booster: Any) -> None:
        self.booster = booster

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
            data, feature_names=names, feature_types=types, enable_categorical=categorical
        )
        return self.booster.predict(matrix, **options)

    __call__ = predict


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save a booster, or a fitted model of XGBoost's scikit-learn interface.

    Args:
        name: `name` or `name:version`.
        model: a Booster, XGBClassifier, XGBRegressor, XGBRanker, XGBRFClassifier or XGBRFRegressor.
        details: signatures (default: `predict`, not batchable), labels, metadata, custom_objects,
            external_modules, options, input_example, description; see `vtsserving._saving.framework.SaveDetails`.

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
        model.save_model(path / MODEL_FILE)
        served = BoosterCaller(model) if kind == _BOOSTER else model
        return Written(runs_code=False, input_specs=_input_specs(model), extra={"class": kind}, served=served)

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
    loaded = getattr(xgboost, kind)()
    loaded.load_model(model.path_of(MODEL_FILE))
    return loaded


def _serve(loaded: Any, info: ModelInfo) -> Any:
    return BoosterCaller(loaded) if type(loaded).__name__ == _BOOSTER else loaded


def _input_specs(model: Any) -> dict[str, Any]:
    booster = model if type(model).__name__ == _BOOSTER else model.get_booster()
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
)
