"""scikit-learn models: saved, found, loaded, run."""

from __future__ import annotations

import asyncio
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vtsserving
from support.sdk import iris_classifier, iris_rows
from vtsserving._saving.framework import load_for_serving
from vtsserving._saving.input_example import warmup_calls
from vtsserving.exceptions import (
    IncompatibleEnvironment,
    IntegrityError,
    InvalidArgument,
    InvalidSignature,
    MethodNotFound,
    MissingDependency,
    ModelLoadFailed,
    ModelNotFound,
    RunnerNotInitialized,
    SerializationError,
    WrongType,
)

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def clf() -> Any:
    return iris_classifier()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_saving_prints_the_tag_and_loading_gives_equal_predictions(clf: Any) -> None:
    saved_model = vtsserving.sklearn.save_model("iris_clf", clf)
    assert re.fullmatch(r'Model\(tag="iris_clf:[2-7a-z]{16}"\)', f"{saved_model}")
    model = vtsserving.sklearn.load_model("iris_clf:latest")
    assert np.array_equal(model.predict(iris_rows()), clf.predict(iris_rows()))


def test_model_yaml_has_the_documented_keys_and_form(clf: Any) -> None:
    model = vtsserving.sklearn.save_model("iris_clf:v1", clf)
    text = (model.path / "model.yaml").read_text()
    assert re.fullmatch(
        r"name: iris_clf\nversion: v1\nmodule: vtsserving\.sklearn\nlabels: \{\}\noptions: \{\}\nmetadata: \{\}\n"
        r"context:\n    framework_name: sklearn\n    framework_versions:\n      scikit-learn: [\d.]+\n"
        r"    vtsserving_version: [\w.]+\n    python_version: [\d.]+\n"
        r"signatures:\n    predict:\n      batchable: false\napi_version: v1\n"
        r"creation_time: '\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00'\n",
        text,
    )
    assert model.info.to_yaml() == text


def test_details_are_stored_and_read_back(clf: Any) -> None:
    vtsserving.sklearn.save_model(
        "iris_clf",
        clf,
        signatures={
            "predict": {"batchable": True},
            "decision_function": {"batchable": True, "batch_dim": (0, 0)},
        },
        labels={"owner": "nlp_team", "stage": "dev"},
        metadata={"acc": np.float64(0.5), "cv_stats": np.array([1, 2]), "dataset_version": "20210820"},
        custom_objects={"tokenizer": {"a": 1}, "Tokenizer": len},
        options={"max_batch_size": 8, "timeout_s": 5},
        description="a demo",
    )
    model = vtsserving.models.get("iris_clf:latest")
    assert model.info.labels == {"owner": "nlp_team", "stage": "dev"}
    assert model.info.metadata == {"acc": 0.5, "cv_stats": [1, 2], "dataset_version": "20210820"}
    assert model.custom_objects == {"tokenizer": {"a": 1}, "Tokenizer": len}
    assert model.info.options.max_batch_size == 8
    assert model.info.raw_options == {"max_batch_size": 8, "timeout_s": 5}
    assert model.info.signatures["predict"].batchable
    assert model.info.description == "a demo"
    assert model.info.runs_code


def test_the_number_of_features_becomes_the_input_spec(clf: Any) -> None:
    model = vtsserving.sklearn.save_model("iris_clf", clf)
    spec = {"args": [{"name": "X", "dtype": "float64", "shape": [-1, 4]}]}
    assert model.info.input_specs == {"predict": spec}
    (call,) = warmup_calls(model)
    assert (call.method, call.args[0].shape) == ("predict", (1, 4))


def test_no_spec_is_derived_for_estimators_of_categories() -> None:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows, target = np.array([["a", 1], ["b", 2]], dtype=object), [0, 1]
    for first in (OneHotEncoder(), make_column_transformer((OneHotEncoder(), [0]), (StandardScaler(), [1]))):
        model = make_pipeline(first, LogisticRegression()).fit(rows, target)
        saved = vtsserving.sklearn.save_model("mixed", model)
        assert saved.info.input_specs == {}
    numeric = make_pipeline(StandardScaler(), LogisticRegression()).fit([[1.0], [2.0]], target)
    assert vtsserving.sklearn.save_model("numeric", numeric).info.input_specs


def test_a_pipeline_of_texts_takes_a_list_of_texts() -> None:
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    texts, target = ["good film", "bad plot"], [1, 0]
    for first in (CountVectorizer(), TfidfVectorizer(analyzer="char")):
        saved = vtsserving.sklearn.save_model(
            "texts", make_pipeline(first, LogisticRegression()).fit(texts, target)
        )
        assert saved.info.input_specs["predict"] == {"args": [{"name": "X", "dtype": "str", "shape": [-1]}]}
        runner = saved.to_runner()
        runner.init_local()
        assert runner.run(pd.DataFrame({"review": texts})).tolist() == target
        with pytest.raises(WrongType, match=r"X\[0\] is a number; expected a string"):
            runner.run([1])
    words = make_pipeline(CountVectorizer(analyzer=len), LogisticRegression())
    tokens = CountVectorizer(tokenizer=str.split, token_pattern=None)
    for other in (tokens, words.steps[0][1]):
        other.analyzer = list if other.tokenizer is None else other.analyzer
        model = make_pipeline(other, LogisticRegression()).fit(texts, target)
        assert vtsserving.sklearn.save_model("other", model).info.input_specs == {}


def test_an_input_example_records_specs_and_drives_warm_up(clf: Any) -> None:
    model = vtsserving.sklearn.save_model("iris_clf", clf, input_example=iris_rows()[:3].astype("float32"))
    assert model.info.input_specs["predict"]["args"] == [{"name": "X", "dtype": "float32", "shape": [-1, 4]}]
    assert model.info.output_specs["predict"] == {"dtype": "int64", "shape": [-1]}
    (call,) = warmup_calls(model)
    assert np.array_equal(call.args[0], iris_rows()[:3].astype("float32"))


def test_an_example_list_of_whole_numbers_does_not_narrow_the_spec(clf: Any) -> None:
    model = vtsserving.sklearn.save_model("iris_clf", clf, input_example=[[5, 3, 5, 1]])
    assert model.info.input_specs["predict"]["args"][0]["dtype"] == "float64"


def test_an_example_that_the_model_refuses_saves_nothing(clf: Any) -> None:
    with pytest.raises(InvalidArgument, match="'predict' refuses the input example"):
        vtsserving.sklearn.save_model("iris_clf", clf, input_example=[[1.0, 2.0]])
    assert vtsserving.models.list() == []


def test_a_batch_dimension_that_the_example_does_not_have_is_refused(clf: Any) -> None:
    for batch_dim in (2, (0, 1)):
        with pytest.raises(InvalidSignature, match="batch_dim"):
            vtsserving.sklearn.save_model(
                "iris_clf",
                clf,
                signatures={"predict": {"batchable": True, "batch_dim": batch_dim}},
                input_example=iris_rows()[:3],
            )
    assert vtsserving.models.list() == []


@pytest.mark.slow
def test_an_estimator_that_can_only_be_fitted_is_refused() -> None:
    from sklearn.cluster import DBSCAN

    with pytest.raises(InvalidSignature, match="DBSCAN has no such method"):
        vtsserving.sklearn.save_model("clusters", DBSCAN().fit([[1.0], [2.0]]))


def test_an_estimator_without_predict_is_served_by_transform() -> None:
    from sklearn.preprocessing import StandardScaler

    model = vtsserving.sklearn.save_model("scaler", StandardScaler().fit([[1.0], [3.0]]))
    assert list(model.info.signatures) == ["transform"]


def test_a_local_runner_gives_what_the_model_gives(clf: Any) -> None:
    vtsserving.sklearn.save_model("iris_clf", clf)
    runner = vtsserving.sklearn.get("iris_clf:latest").to_runner()
    with pytest.raises(RunnerNotInitialized, match="init_local"):
        runner.predict.run([[5.9, 3.0, 5.1, 1.8]])
    runner.init_local()
    assert runner.predict.run([[5.9, 3.0, 5.1, 1.8]]).tolist() == [2]
    assert asyncio.run(runner.predict.async_run([[5.9, 3.0, 5.1, 1.8]])).tolist() == [2]
    assert runner.run([[5.9, 3.0, 5.1, 1.8]]).tolist() == [2], "its only method"
    with pytest.raises(AttributeError, match="it has predict"):
        _ = runner.fit


def test_a_runner_of_several_methods_wants_to_know_which(clf: Any) -> None:
    methods: dict[str, dict[str, bool]] = {"predict": {}, "decision_function": {}}
    runner = vtsserving.sklearn.save_model("iris_clf", clf, signatures=methods).to_runner()
    runner.init_local()
    with pytest.raises(MethodNotFound, match="__call__"):
        runner.run([[5.9, 3.0, 5.1, 1.8]])


@pytest.mark.parametrize("method", ["no_such", "classes_", "__class__", "__reduce__", "_private", "a b", ""])
def test_a_signature_without_a_public_method_is_refused(clf: Any, method: str) -> None:
    with pytest.raises(InvalidSignature):
        vtsserving.sklearn.save_model("iris_clf", clf, signatures={method: {"batchable": True}})
    assert vtsserving.models.list() == []


def test_a_custom_object_that_cannot_be_pickled_is_named_and_nothing_is_saved(
    clf: Any, own_home: Path
) -> None:
    generator = (n for n in range(3))
    with pytest.raises(SerializationError, match="'stream'"):
        vtsserving.sklearn.save_model("iris_clf", clf, custom_objects={"fine": 1, "stream": generator})
    assert vtsserving.models.list() == []
    assert list((own_home / "models" / ".tmp").iterdir()) == []


def test_another_frameworks_module_does_not_find_the_model(clf: Any) -> None:
    vtsserving.sklearn.save_model("iris_clf", clf)
    for find in (vtsserving.picklable_model.get, vtsserving.picklable_model.load_model):
        with pytest.raises(ModelNotFound, match=r"vtsserving\.sklearn, not with vtsserving\.picklable_model"):
            find("iris_clf")


def test_a_damaged_model_is_refused_before_anything_is_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Bomb:
        def __call__(self) -> None: ...

        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (canary,)

    model = vtsserving.picklable_model.save_model("bomb", Bomb(), check=False)
    file = model.path / "model.pkl"
    raw = bytearray(file.read_bytes())
    raw[-2] ^= 1
    file.write_bytes(raw)
    for load in (lambda: vtsserving.picklable_model.load_model("bomb"), lambda: load_for_serving(model.path)):
        with pytest.raises(IntegrityError, match=r"model\.pkl"):
            load()
    assert not canary.exists()


def rewrite_context(model: vtsserving.Model, old: str, new: str) -> vtsserving.Model:
    """Save a copy of a model whose model.yaml says something else about its environment."""
    import shutil

    from vtsserving._local_store.store import LocalStore
    from vtsserving._model.manifest import Manifest
    from vtsserving._model.tag import Tag

    with LocalStore().staging() as staged:
        shutil.copytree(model.path, staged, dirs_exist_ok=True)
        text = (staged / "model.yaml").read_text()
        assert old in text
        (staged / "model.yaml").write_text(text.replace(old, new).replace("\nversion: v1", "\nversion: v2"))
        extra = {key: value for key, value in model.manifest.extra.items() if key != "document"}
        manifest = Manifest.of(
            staged, tag=Tag(model.tag.name, "v2"), creation_time=model.manifest.creation_time, extra=extra
        )
        (staged / "manifest.json").write_bytes(manifest.to_bytes())
        return LocalStore().adopt(staged)


def test_a_missing_framework_is_named_with_the_command_that_installs_it(clf: Any) -> None:
    model = rewrite_context(
        vtsserving.sklearn.save_model("iris_clf:v1", clf), "scikit-learn:", "no-such-package:"
    )
    with pytest.raises(MissingDependency, match="pip install no-such-package=="):
        vtsserving.sklearn.load_model(model.tag)


def test_another_major_version_is_refused_and_another_minor_warned_of_once(clf: Any) -> None:
    import sklearn

    version = f"scikit-learn: {sklearn.__version__}"
    saved = vtsserving.sklearn.save_model("iris_clf:v1", clf)
    model = rewrite_context(saved, version, "scikit-learn: 99.0.0")
    with pytest.raises(IncompatibleEnvironment, match=r"scikit-learn==99\.0\.0"):
        vtsserving.sklearn.load_model(model.tag)
    vtsserving.models.delete(model.tag)
    model = rewrite_context(saved, version, f"scikit-learn: {sklearn.__version__.split('.')[0]}.999.0")
    with pytest.warns(UserWarning, match=r"was saved with scikit-learn \d\.999\.0"):
        vtsserving.sklearn.load_model(model.tag)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vtsserving.sklearn.load_model(model.tag)


def test_a_module_that_is_no_framework_of_ours_is_not_imported(clf: Any) -> None:
    saved = vtsserving.sklearn.save_model("iris_clf:v1", clf)
    model = rewrite_context(saved, "module: vtsserving.sklearn", "module: os.path")
    with pytest.raises(ModelLoadFailed, match="os"):
        model.load_model()


def test_a_misspelt_argument_is_an_error(clf: Any) -> None:
    with pytest.raises(TypeError, match="unknown argument 'label'"):
        vtsserving.sklearn.save_model("iris_clf", clf, label={})  # type: ignore[call-arg]


def test_what_took_numbers_before_estimators_had_tags_is_seen_without_private_names() -> None:
    from sklearn.impute import MissingIndicator
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    from vtsserving.sklearn import _took_numbers_before_tags

    rows = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert _took_numbers_before_tags(LogisticRegression().fit(rows, [0, 1]))
    for other in (OneHotEncoder(), OrdinalEncoder(), MissingIndicator()):
        assert not _took_numbers_before_tags(other.fit(rows))
    assert not _took_numbers_before_tags(object())
