"""Models of LightGBM: boosters in its own text format, scikit-learn wrappers as pickles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtsserving._local_store.model import Model
from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import ModelSignature
from vtsserving._model.tag import Tag
from vtsserving._saving import framework, pickles
from vtsserving._saving.environment import framework_import
from vtsserving._saving.framework import Framework, Written
from vtsserving._saving.taking import Taking
from vtsserving.exceptions import InvalidArgument

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vtsserving._saving.framework import SaveDetails

__all__ = ["ModelOptions", "get", "load_model", "save_model"]

BOOSTER_FILE: Final = "model.txt"
PICKLE_FILE: Final = "model.pkl"

_TAKE_FEATURES: Final = ("predict", "predict_proba")


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save a booster, or a fitted model of LightGBM's scikit-learn interface.

    Args:
        name: `name` or `name:version`.
        model: a Booster, whose file holds no code, or an LGBMModel, which is pickled.
        details: signatures (default: `predict`, not batchable), labels, metadata, custom_objects,
            external_modules, options, input_example, description, check; see
            `vtsserving._saving.framework.SaveDetails`.

    Returns:
        The saved model.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.
    """
    with framework_import("lightgbm", "lightgbm"):
        import lightgbm
    if not isinstance(model, lightgbm.Booster | lightgbm.LGBMModel):
        raise InvalidArgument(f"vtsserving.lightgbm saves Booster and LGBMModel; not {type(model).__name__}")

    def write(path: Path) -> Written:
        if isinstance(model, lightgbm.Booster):
            model.save_model(path / BOOSTER_FILE)
            return Written(
                runs_code=False,
                input_specs=_input_specs(model, model.num_feature()),
                columns=_columns(model),
                categories=model.pandas_categorical or (),
                categorical=_categorical(model),
            )
        modules = details.get("external_modules") or ()
        has_code = pickles.dump(model, path / PICKLE_FILE, "the model", modules)
        specs = _input_specs(model.booster_, model.n_features_)
        return Written(
            runs_code=True,
            input_specs=specs,
            columns=_columns(model.booster_),
            categories=model.booster_.pandas_categorical or (),
            categorical=_categorical(model.booster_),
            extra={"pickle_by_value": has_code},
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
    with framework_import("lightgbm", "lightgbm"):
        import lightgbm
    if model.manifest.entry(BOOSTER_FILE) is not None:
        return lightgbm.Booster(model_file=model.path_of(BOOSTER_FILE))
    return pickles.load_model_file(model, PICKLE_FILE)


def _columns(booster: Any) -> list[str]:
    """The names of a table's columns; LightGBM itself takes them by position. Its own names say nothing."""
    names = [str(name) for name in booster.feature_name()]
    return [] if names == [f"Column_{at}" for at in range(len(names))] else names


def _categorical(booster: Any) -> list[str]:
    """The names of the columns that were categories of a DataFrame; empty where these are not all that it says."""
    known = booster.params.get("categorical_column", booster.params.get("categorical_feature"))
    names = booster.feature_name()
    if not isinstance(known, list | tuple) or len(known) != len(booster.pandas_categorical or ()):
        return []
    return [names[at] for at in sorted(known)] if all(type(at) is int for at in known) else []


def _input_specs(booster: Any, features: int) -> dict[str, Any]:
    # Categories of a DataFrame are not numbers that may be cast.
    if booster.pandas_categorical:
        return {}
    spec = {"args": [{"name": "X", "dtype": "float64", "shape": [-1, features]}]}
    return dict.fromkeys(_TAKE_FEATURES, spec)


FRAMEWORK: Final = Framework(
    module="vtsserving.lightgbm",
    name="lightgbm",
    distributions=("lightgbm",),
    read=_read,
    taking=Taking(one=True),
    packages=("lightgbm", "sklearn"),
)
