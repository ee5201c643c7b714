"""Models of scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtsserving._local_store.model import Model
from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import ModelSignature
from vtsserving._model.tag import Tag
from vtsserving._saving import framework, pickles
from vtsserving._saving.framework import Framework, Written
from vtsserving._saving.taking import Taking

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vtsserving._saving.framework import SaveDetails

__all__ = ["ModelOptions", "get", "load_model", "save_model"]

MODEL_FILE: Final = "model.pkl"

_DEFAULT_METHODS: Final = ("predict", "transform")
_TAKE_FEATURES: Final = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "score_samples",
    "transform",
)


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save an estimator or pipeline.

    Args:
        name: `name` or `name:version`.
        model: a fitted estimator.
        details: signatures (default: `predict`, or `transform` where it has only that, not batchable), labels,
            metadata, custom_objects, external_modules, options, input_example, description, check; see
            `vtsserving._saving.framework.SaveDetails`.

    Returns:
        The saved model.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.

    Example:
        >>> saved_model = vtsserving.sklearn.save_model("iris_clf", clf)
    """

    def write(path: Path) -> Written:
        modules = details.get("external_modules") or ()
        has_code = pickles.dump(model, path / MODEL_FILE, "the model", modules)
        return Written(
            runs_code=True,
            input_specs=_input_specs(model),
            columns=_columns(model),
            extra={"pickle_by_value": has_code},
        )

    method = next((method for method in _DEFAULT_METHODS if hasattr(model, method)), "predict")
    return framework.save(FRAMEWORK, name, model, write, default={method: ModelSignature()}, details=details)


def load_model(tag: str | Tag | Model) -> Any:
    """Load an estimator back into memory.

    Args:
        tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
        IntegrityError: its files are damaged; nothing was loaded then.
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
    return pickles.load_model_file(model, MODEL_FILE)


def _input_specs(model: Any) -> dict[str, Any]:
    """The number of features, for estimators that take a plain array of numbers; a list, for those that take texts."""
    if _takes_texts(model):
        spec = {"args": [{"name": "X", "dtype": "str", "shape": [-1]}]}
        return {method: spec for method in _TAKE_FEATURES if hasattr(model, method)}
    features = getattr(model, "n_features_in_", None)
    if not isinstance(features, int) or not _takes_numbers(model):
        return {}
    spec = {"args": [{"name": "X", "dtype": "float64", "shape": [-1, features]}]}
    return {method: spec for method in _TAKE_FEATURES if hasattr(model, method)}


def _columns(model: Any) -> list[str]:
    """The names of the columns of the table that the estimator was fitted on; empty where it was none."""
    names = getattr(model, "feature_names_in_", None)
    return [] if names is None else [str(name) for name in names]


def _first_step(model: Any) -> Any:
    """The estimator that reads the data: the first of a pipeline, or the one inside of a search or a wrapper."""
    steps = getattr(model, "steps", None)
    if isinstance(steps, list) and steps:
        return _first_step(steps[0][1])
    inner = next((name for name in ("estimator", "best_estimator_") if hasattr(model, name)), None)
    return model if inner is None else _first_step(getattr(model, inner))


def _takes_texts(model: Any) -> bool:
    """Whether the first step splits texts into words by itself; one that is given a function may take anything."""
    model = _first_step(model)
    if getattr(model, "input", "") != "content" or not isinstance(getattr(model, "analyzer", None), str):
        return False
    return all(getattr(model, name, None) is None for name in ("preprocessor", "tokenizer"))


def _takes_numbers(model: Any) -> bool:
    """Whether the first step reads numbers: casting categories or text to float64 would change answers."""
    model = _first_step(model)
    if hasattr(model, "transformers") or hasattr(model, "transformer_list"):
        return False
    tags = getattr(model, "__sklearn_tags__", None)
    if tags is not None:
        wanted = tags().input_tags
        return wanted.two_d_array and not (
            wanted.categorical or wanted.string or wanted.dict or wanted.pairwise
        )
    return _took_numbers_before_tags(model)


def _took_numbers_before_tags(model: Any) -> bool:
    """The same for scikit-learn before 1.6, whose estimators describe their input in a private method alone.

    Of the 161 estimators of 1.5.2 that fit plain numbers, this gives the answer of that method for every one.
    """
    from sklearn.base import BaseEstimator
    from sklearn.impute import MissingIndicator

    takes_text = hasattr(model, "categories_") or isinstance(model, MissingIndicator)
    return isinstance(model, BaseEstimator) and not takes_text


FRAMEWORK: Final = Framework(
    module="vtsserving.sklearn",
    name="sklearn",
    distributions=("scikit-learn",),
    read=_read,
    taking=Taking(one=True),
    packages=("sklearn",),
)
