"""Small models that SDK tests save."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.draft import Draft
from vtsserving._model.info import ModelContext
from vtsserving._model.manifest import MANIFEST_FILE, MODEL_FILE
from vtsserving._model.tag import Tag

CONTEXT = ModelContext("sklearn", {"scikit-learn": "1.5.0"}, "0.1.0", "3.11.7")


def save_text(store: LocalStore, tag: str, content: str = "weights", **draft: Any) -> Model:
    """Save a model that is one text file, without a framework."""
    with store.staging() as staged:
        (staged / "weights.txt").write_text(content)
        return store.save(staged, Draft(Tag.parse(tag), "", CONTEXT, **draft))


def save_copy(model: Model, extra: dict[str, Any], context: ModelContext | None = None) -> Model:
    """Save a model's files a second time, under the name `copy`, with something else in the record beside them."""
    info, store = model.info, LocalStore()
    with store.staging() as staged:
        shutil.copytree(model.path, staged, dirs_exist_ok=True)
        for written_by_the_store in (MANIFEST_FILE, MODEL_FILE):
            (staged / written_by_the_store).unlink()
        draft = Draft(
            Tag("copy"),
            info.module,
            context or info.context,
            signatures=info.signatures,
            extra={**info.extra, **extra},
        )
        return store.save(staged, draft)


def iris_classifier() -> Any:
    """A small classifier, trained on the iris data that scikit-learn ships."""
    from sklearn import datasets, svm

    iris = datasets.load_iris()
    return svm.SVC(gamma="scale").fit(iris.data, iris.target)


def iris_rows() -> np.ndarray:
    """The iris measurements, float64 [150, 4]."""
    from sklearn import datasets

    return np.asarray(datasets.load_iris().data)


def files_below(path: Path) -> dict[str, bytes]:
    """Every file below a directory, with its content."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
