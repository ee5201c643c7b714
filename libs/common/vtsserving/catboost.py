"""Models of CatBoost, in its own format: loading them runs no code of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtsserving._local_store.model import Model
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

MODEL_FILE: Final = "model.cbm"

_CLASSES: Final = ("CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker")
_TAKE_FEATURES: Final = ("predict", "predict_proba", "predict_log_proba")


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save a fitted model.

    Args:
        name: `name` or `name:version`.
        model: a CatBoost, CatBoostClassifier, CatBoostRegressor or CatBoostRanker.
        details: signatures (default: `predict`, not batchable), labels, metadata, custom_objects,
            external_modules, options, input_example, description, check; see
            `vtsserving._saving.framework.SaveDetails`.

    Returns:
        The saved model.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.
    """
    with framework_import("catboost", "catboost"):
        import catboost
    kind = type(model).__name__
    if kind not in _CLASSES or type(model) is not getattr(catboost, kind):
        raise InvalidArgument(f"vtsserving.catboost saves {', '.join(_CLASSES)}; not {kind}")

    def write(path: Path) -> Written:
        model.save_model(str(path / MODEL_FILE), format="cbm")
        return Written(
            runs_code=False, input_specs=_input_specs(model), columns=_columns(model), extra={"class": kind}
        )

    return framework.save(
        FRAMEWORK, name, model, write, default={"predict": ModelSignature()}, details=details
    )


def load_model(tag: str | Tag | Model) -> Any:
    """Load a model back into memory.

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
    with framework_import("catboost", "catboost"):
        import catboost
    kind = str(model.info.extra.get("class", _CLASSES[0]))
    if kind not in _CLASSES:
        raise InvalidArgument(f"{model.tag} has the unknown class {kind!r}")
    return getattr(catboost, kind)().load_model(str(model.path_of(MODEL_FILE)), format="cbm")


def _columns(model: Any) -> list[str]:
    """The names of a table's columns; CatBoost's own, numbers, say nothing."""
    names = [str(name) for name in model.feature_names_]
    return [] if names == [str(at) for at in range(len(names))] else names


def _input_specs(model: Any) -> dict[str, Any]:
    # Categories, texts and embeddings are not numbers that may be cast.
    if (
        model.get_cat_feature_indices()
        or model.get_text_feature_indices()
        or model.get_embedding_feature_indices()
    ):
        return {}
    spec = {"args": [{"name": "X", "dtype": "float64", "shape": [-1, len(model.feature_names_)]}]}
    return dict.fromkeys(_TAKE_FEATURES, spec)


FRAMEWORK: Final = Framework(
    module="vtsserving.catboost",
    name="catboost",
    distributions=("catboost",),
    read=_read,
    taking=Taking(one=True),
    packages=("catboost",),
)
