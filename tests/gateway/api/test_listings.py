"""Listings show every model, for one request to the store and not one for each model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

import vtsserving
from support.backend import entry, rows_spec
from support.sdk import save_text
from support.served_gateway import ServedGateway, get, post, served
from support.stores import ThreadedStore, store_settings
from vtsserving._local_store.store import LocalStore
from vtsserving._model.signature import ModelSignature
from vtsserving._store_client.catalog import StoreCatalog
from vtsserving._store_client.client import RegistryClient
from vtsserving.client.sync_client import Client
from vtsserving_gateway.api.documents import NEXT
from vtsserving_gateway.api.model_documents import MAX_MODELS
from vtsserving_store.http.routes import records as routes_records
from vtsserving_store.objects import keys
from vtsserving_store.objects.probe import open_storage
from vtsserving_store.registry.version_record import VersionRecord

NAMES = 320
VERSIONS = 4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreadedStore]:
    """A store with more versions than one of its pages has."""
    folder: Path = tmp_path_factory.mktemp("store")
    local = LocalStore(folder / "local")
    settings = store_settings(folder / "store")
    with ThreadedStore(settings) as running:
        save_text(local, "m:v1", signatures={"predict": ModelSignature(batchable=True)})
        with vtsserving.Store(running.url) as remote, RegistryClient(running.url) as client:
            remote.push("m:v1", store=local)
            pushed = client.version("m:v1")
            # The records that pushes of so many models would leave.
            objects = open_storage(settings)
            for number in range(NAMES * VERSIONS):
                name, version = f"n{number % NAMES:04}", f"v{number // NAMES}"
                time = f"2026-01-01T00:00:{number // NAMES:02}.000000+00:00"
                manifest = replace(
                    pushed.manifest,
                    name=name,
                    version=version,
                    creation_time=time,
                    extra={**pushed.manifest.extra, "ordinal": number // NAMES + 1},
                )
                info = {**pushed.document, "name": name, "version": version, "creation_time": time}
                record = VersionRecord.new(manifest, info, by="")
                assert objects.create(keys.model(name, version), record.to_bytes())
            objects.close()
            client.delete(pushed.tag)
            client.configure("n0007", None, {"max_batch_size": 7})
        yield running


@pytest.fixture(scope="module")
def gateway(store: ThreadedStore) -> Iterator[ServedGateway]:
    made = ServedGateway([], {})
    made.catalog = StoreCatalog(store.url)  # type: ignore[assignment]
    made.start()
    try:
        yield made
    finally:
        made.stop()


def requests_of(store: ThreadedStore) -> int:
    """Requests that the store has answered, but for those to its metrics."""
    text = httpx2.get(f"{store.url}/metrics").text
    counts = re.findall(r"^vtsserving_store_requests_total\{.*\} ([0-9.]+)$", text, re.MULTILINE)
    return int(sum(map(float, counts)))


def cost_of(store: ThreadedStore, gateway: ServedGateway, request: bytes) -> int:
    """Requests to the store that one request to the gateway costs."""
    before = requests_of(store)
    assert gateway.ask(request).status == 200
    return requests_of(store) - before - 1


def test_all_versions_are_listed(store: ThreadedStore, gateway: ServedGateway) -> None:
    models = gateway.ask(get("/v1/models")).json["models"]
    assert len({model["tag"] for model in models}) == NAMES * VERSIONS
    index = gateway.ask(post(b"", "/v2/repository/index")).json
    assert len({(one["name"], one["version"]) for one in index}) == NAMES * VERSIONS
    paths = gateway.ask(get("/openapi.json")).json["paths"]
    assert {f"/v1/models/n{number:04}/predict" for number in range(NAMES)} <= set(paths)
    changed = next(model for model in models if model["tag"] == "n0007:v2")
    assert changed["options"]["max_batch_size"] == 7
    assert [model["name"] for model in models if model["options"]] == ["n0007"] * VERSIONS
    with Client(f"http://127.0.0.1:{gateway.port}") as client:
        assert len(client.models()) == NAMES * VERSIONS


def test_a_listing_costs_a_request_for_a_thousand_versions(
    store: ThreadedStore, gateway: ServedGateway
) -> None:
    pages = -(-NAMES * VERSIONS // 1_000)
    for request in (get("/v1/models"), post(b"", "/v2/repository/index"), get("/openapi.json")):
        assert cost_of(store, gateway, request) == pages
    # The number of a version is found among those of its name.
    assert cost_of(store, gateway, get("/v2/models/n0003/versions/2")) == 1
    # A client that looks for functions reads no models.
    assert cost_of(store, gateway, get("/openapi.json?models=false")) == 0


def test_a_store_answers_in_pages_that_are_not_too_large(
    store: ThreadedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RegistryClient(store.url) as client:
        whole = [(row["name"], row["version"], row["digest"]) for row in client.records()]
        assert whole == sorted(whole, key=lambda row: (row[0], -int(row[1][1:])))
        monkeypatch.setattr(routes_records, "MAX_PAGE_BYTES", 100_000)
        first = httpx2.get(f"{store.url}/api/v1/records?limit=1000").json()
        assert 1 < len(first["records"]) < 1_000
        assert len(first["records"]) == len(
            httpx2.get(f"{store.url}/api/v1/records?limit=1000").json()["records"]
        )
        assert [(row["name"], row["version"], row["digest"]) for row in client.records()] == whole
        of_name = [row["version"] for row in client.records("n0005")]
        assert of_name == ["v3", "v2", "v1", "v0"]
    missing = httpx2.get(f"{store.url}/api/v1/records?name=nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_a_document_of_very_many_models_says_where_the_others_are() -> None:
    models = [entry(f"m{number:05}", input_specs=rows_spec(2)) for number in range(MAX_MODELS + 30)]
    with served(models, {}) as gateway:
        first = gateway.ask(get("/openapi.json")).json
        assert first["info"][NEXT] in first["info"]["description"]
        second = gateway.ask(get(first["info"][NEXT])).json
    assert NEXT not in second["info"]
    own = [
        set(path for path in document["paths"] if path.startswith("/v1/models/m"))
        for document in (first, second)
    ]
    assert [len(paths) for paths in own] == [MAX_MODELS, 30]
    assert len(own[0] | own[1]) == MAX_MODELS + 30
