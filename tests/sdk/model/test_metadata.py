"""Labels and metadata: what is converted, what is refused with its path, and that YAML gives it back."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.sdk import save_text
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model import yaml_file
from vtsserving._model.metadata import plain_labels, plain_metadata
from vtsserving.exceptions import IntegrityError, InvalidMetadata

pytestmark = pytest.mark.fast

NOW = datetime(2026, 5, 19, 8, 36, 52, 456990, tzinfo=timezone.utc)

CONVERTED = {
    "float32": (np.float32(0.5), 0.5),
    "longdouble": (np.longdouble(0.5), 0.5),
    "int64": (np.int64(3), 3),
    "bool": (np.bool_(True), True),
    "array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "array of text": (np.array(["a", "b"]), ["a", "b"]),
    "numpy time": (np.datetime64("2026-05-19T08:36:52"), datetime(2026, 5, 19, 8, 36, 52)),
    "pandas time": (pd.Timestamp(NOW), NOW),
    "datetime": (NOW, NOW),
    "date": (date(2026, 5, 19), date(2026, 5, 19)),
    "tuple": ((1, (2,)), [1, [2]]),
    "series": (pd.Series([1.5, 2.5]), [1.5, 2.5]),
    "none": (None, None),
    "text like a number": ("20210820", "20210820"),
}


@pytest.mark.parametrize(("given_value", "plain"), CONVERTED.values(), ids=CONVERTED.keys())
def test_a_value_is_made_plain_and_read_back_equal(given_value: Any, plain: Any, tmp_path: Path) -> None:
    metadata = plain_metadata({"a": {"b": [given_value]}})
    assert metadata == {"a": {"b": [plain]}}
    assert type(metadata["a"]["b"][0]) is type(plain)
    model = save_text(LocalStore(tmp_path / "models"), "demo", metadata=metadata)
    assert Model(model.tag, model.path).info.metadata == metadata
    assert yaml_file.parse((model.path / "model.yaml").read_bytes())["metadata"] == metadata
    assert Model.staged(model.path).info.to_json_dict()["metadata"]


def recursive() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


REFUSED = {
    "NaN": float("nan"),
    "infinite": np.float32("inf"),
    "NaN in an array": np.array([1.0, np.nan]),
    "bytes": b"x",
    "set": {1},
    "object": object(),
    "complex": 1j,
    "array of objects": np.array([object()]),
    "timedelta": timedelta(1),
    "recursive": recursive(),
    "1 MB of text": "x" * 1_000_000,
    "large array": np.zeros(100_000),
    "number as key": {1: 2},
    "surrogate": "\ud800",
    "not a time": np.datetime64("NaT", "s"),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_a_value_that_cannot_be_stored_is_refused(value: Any) -> None:
    with pytest.raises(InvalidMetadata):
        plain_metadata({"a": [value]})


def test_the_error_has_the_path_of_the_value() -> None:
    with pytest.raises(InvalidMetadata, match=r"metadata\['scores'\]\[1\]\['raw'\] is of type bytes"):
        plain_metadata({"scores": [1, {"raw": b"x"}]})


@pytest.mark.parametrize(
    "labels",
    [{1: "a"}, {"a": 1}, {"a": None}, {"": "a"}, {"a": "x" * 2000}, ["a"], "a", {"a": "\ud800"}],
    ids=repr,
)
def test_labels_are_text_to_text(labels: Any) -> None:
    with pytest.raises(InvalidMetadata):
        plain_labels(labels)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, VALUES, max_size=5), st.dictionaries(TEXT, TEXT, max_size=3))
def test_model_yaml_gives_back_every_value_on_printable_lines(
    metadata: dict[str, Any], labels: dict[str, str]
) -> None:
    document: dict[str, Any] = dict.fromkeys(yaml_file.KEYS, "x") | {"metadata": metadata, "labels": labels}
    text = yaml_file.render(document)
    assert yaml_file.parse(text.encode()) == document
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[",
        b"a: b",
        b"\xff\xfe",
        b"- 1",
        b"name: !!python/object/apply:os.system [ls]",
        b"[" * 1_000_000,
        b"- " * 500_000,
        b"{a: " * 250_000,
        b"? " * 500_000,
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_no_model_yaml_is_refused(raw: bytes) -> None:
    with pytest.raises(IntegrityError):
        yaml_file.parse(raw)


def test_yaml_aliases_are_refused() -> None:
    bomb = "name: &a [x, x]\nversion: [*a, *a]\n" + "".join(f"{key}: x\n" for key in yaml_file.KEYS[2:])
    with pytest.raises(IntegrityError, match="aliases"):
        yaml_file.parse(bomb.encode())
