"""Options that are changed after a model was saved: records in the local store, the configuration, what wins."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import vtsserving
from support.sdk import save_text
from vtsserving import models
from vtsserving._catalog.catalog import CatalogEntry, LocalCatalog
from vtsserving._local_store.store import LocalStore
from vtsserving._model.options import ModelOptions
from vtsserving._model.settings import MAX_RECORD_CHARS, Configured, edited, layered, of_version
from vtsserving._model.signature import ModelSignature
from vtsserving.exceptions import ConfigurationError, InvalidArgument, ModelNotFound

pytestmark = pytest.mark.fast


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """A store with two versions of one model, which was saved with options of its own."""
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path))
    store = LocalStore()
    for tag in ("m:v1", "m:v2"):
        save_text(
            store,
            tag,
            options=ModelOptions(max_batch_size=8, timeout_s=5),
            signatures={"predict": ModelSignature(batchable=True)},
        )
    return store


def resolved(tag: str) -> CatalogEntry:
    """What a gateway that starts now knows of a model."""
    return asyncio.run(LocalCatalog(LocalStore()).resolve(tag))


def test_a_change_counts_for_all_versions_or_for_one(store: LocalStore) -> None:
    assert models.configure("m", max_batch_size=64, max_wait_ms=2) == {
        "max_batch_size": 64,
        "max_wait_ms": 2,
    }
    assert models.configure("m:v1", max_batch_size=16) == {"max_batch_size": 16, "max_wait_ms": 2}
    one, other = resolved("m:v1").options, resolved("m:latest").options
    assert (one.max_batch_size, one.max_wait_ms, one.timeout_s) == (16, 2, 5)
    assert (other.max_batch_size, other.max_wait_ms, other.timeout_s) == (64, 2, 5)
    assert resolved("m:v1").method("predict").max_rows == 16
    assert store.get("m:v1").info.options.max_batch_size == 8, "the model itself never changes"


def test_a_change_is_taken_back_option_by_option_or_at_once(store: LocalStore) -> None:
    models.configure("m", max_batch_size=64, max_wait_ms=2, **{"predict.max_latency_ms": 100})
    assert resolved("m").method("predict").max_latency_s == 0.1
    models.configure("m", reset=["max_batch_size", "predict.max_latency_ms"])
    assert resolved("m").options == ModelOptions(max_batch_size=8, timeout_s=5, max_wait_ms=2)
    models.configure("m", reset=["all"])
    assert resolved("m").options == ModelOptions(max_batch_size=8, timeout_s=5)
    history = store.settings_history("m")
    assert [record.number for record in history] == [1, 2, 3]
    assert history[0].value["options"]["max_wait_ms"] == 2


def test_saying_the_same_again_writes_no_record_and_aliases_stay(store: LocalStore) -> None:
    store.set_alias("m:v1", "prod")
    for _ in range(2):
        models.configure("m:prod", max_batch_size=3)
    assert len(store.settings_history("m")) == 1
    assert of_version(store.settings_history("m")[0].value, "v1") == {"max_batch_size": 3}
    assert store.aliases("m") == {"prod": "v1"}


def test_options_of_a_deleted_version_do_not_come_back_with_it(store: LocalStore) -> None:
    models.configure("m", max_wait_ms=2)
    models.configure("m:v1", max_batch_size=3)
    store.delete("m:v1")
    save_text(store, "m:v1", signatures={"predict": ModelSignature(batchable=True)})
    assert resolved("m:v1").options == ModelOptions(max_wait_ms=2)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"max_batch_size": 0}, "max_batch_size is a number from 1"),
        ({"max_rows": 3}, "no option 'max_rows' to change; there are max_batch_size"),
        ({"predict.threads": 3}, "no option 'threads' to change"),
        ({"__init__.max_batch_size": 3}, "private"),
        ({"method_configs": {"predict": 3}}, "method_configs is a dict like"),
        ({"device": "\x00" * MAX_RECORD_CHARS}, "too many changed options"),
    ],
)
def test_an_impossible_change_changes_nothing(
    store: LocalStore, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        models.configure("m", **changes)
    assert store.settings_history("m") == ()
    with pytest.raises(ModelNotFound):
        models.configure("nothing", max_batch_size=3)


def test_a_runners_options_win_over_the_models_and_later_changes_over_the_runners(store: LocalStore) -> None:
    models.configure("m", max_wait_ms=2)
    runner = store.get("m:v1").to_runner(
        max_batch_size=4, options={"max_wait_ms": 9}, method_configs={"predict": {"timeout_s": 1}}
    )
    options = resolved("m:v1").with_overrides(runner.overrides).options
    assert (options.max_batch_size, options.max_wait_ms, options.timeout_s) == (4, 2, 5)
    assert options.of_method("predict").timeout_s == 1


def test_the_configuration_of_a_process_wins_over_records(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.configure("m", max_batch_size=64, max_wait_ms=2)
    monkeypatch.setenv("VTSSERVING_MODELS__M__MAX_BATCH_SIZE", "7")
    assert resolved("m").options == ModelOptions(max_batch_size=7, timeout_s=5, max_wait_ms=2)


def test_configured_values_are_read_as_people_write_them() -> None:
    configured = Configured(
        {
            "VTSSERVING_MODELS__IRIS_CLF_V2__MAX_BATCH_SIZE": "none",
            "VTSSERVING_MODELS__IRIS_CLF_V2__MAX_WAIT_MS": "2.5",
            "VTSSERVING_MODELS__IRIS_CLF_V2__DEVICE": "cuda:0, cuda:1",
            "VTSSERVING_HOME": "/x",
        }
    )
    assert configured.of("iris-clf.v2") == {
        "max_batch_size": None,
        "max_wait_ms": 2.5,
        "device": ("cuda:0", "cuda:1"),
    }
    assert configured.of("other") == {}


@pytest.mark.parametrize(
    ("variable", "value"),
    [("M__MAX_BATCH_SIZE", "many"), ("M__MAX_BATCH_SIZE", "0"), ("M__SPEED", "1"), ("MAX_BATCH_SIZE", "1")],
)
def test_an_impossible_configuration_stops_a_service_with_the_variables_name(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"VTSSERVING_MODELS__{variable}", value)
    with pytest.raises(ConfigurationError, match=f"VTSSERVING_MODELS__{variable}: "):
        LocalCatalog(store)


def test_a_record_of_a_newer_version_does_not_stop_a_model() -> None:
    options = layered(ModelOptions(), {"max_batch_size": 3, "invented_later": True})
    assert options == ModelOptions(max_batch_size=3)
    record = edited(None, "v1", {"replicas": 2})
    info = vtsserving.ModelInfo(vtsserving.Tag("m", "v1"), "", None)  # type: ignore[arg-type]
    broken = CatalogEntry.of(info, "sha256:0", {**of_version(record, "v1"), "replicas": -1})
    assert broken.options == ModelOptions()
