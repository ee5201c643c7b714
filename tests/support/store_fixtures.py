"""Fixtures of tests that need a store: each test runs on a directory and on an S3 bucket.

A folder's conftest.py takes them by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.stores import ThreadedStore, s3_section, store_settings
from vtsserving._local_store.store import LocalStore
from vtsserving._store_client.client import RegistryClient
from vtsserving_store.components import StoreComponents
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.objects.probe import open_storage
from vtsserving_store.settings import StoreSettings


@pytest.fixture(params=["directory", "s3"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    """Settings of a store with an empty storage of its own."""
    if request.param == "directory":
        return store_settings(tmp_path / "store")
    return store_settings(s3=s3_section(request.getfixturevalue("s3_endpoint")))


@pytest.fixture
def objects(settings: StoreSettings) -> Iterator[ObjectStore]:
    """An empty storage."""
    opened = open_storage(settings)
    yield opened
    opened.close()


@pytest.fixture
def parts(objects: ObjectStore, settings: StoreSettings) -> Iterator[StoreComponents]:
    """A store without HTTP."""
    made = StoreComponents.on(objects, settings)
    yield made
    made.close()


@pytest.fixture
def store(settings: StoreSettings) -> Iterator[ThreadedStore]:
    """A running store service."""
    with ThreadedStore(settings) as running:
        yield running


@pytest.fixture
def http(store: ThreadedStore) -> Iterator[httpx2.Client]:
    """Plain HTTP to the store."""
    with httpx2.Client(base_url=store.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session", params=["directory", "s3"])
def shared_http(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx2.Client]:
    """Plain HTTP to a store that many tests share; for tests that leave no model behind."""
    if request.param == "directory":
        chosen = store_settings(tmp_path_factory.mktemp("shared"))
    else:
        chosen = store_settings(s3=s3_section(request.getfixturevalue("s3_endpoint")))
    with ThreadedStore(chosen) as running, httpx2.Client(base_url=running.url, timeout=30) as client:
        yield client


@pytest.fixture
def client(store: ThreadedStore) -> Iterator[RegistryClient]:
    """The SDK's client of the store."""
    with RegistryClient(store.url) as made:
        yield made


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    """An empty local store."""
    return LocalStore(tmp_path / "home" / "models")


@pytest.fixture
def other(tmp_path: Path) -> LocalStore:
    """Another machine's empty local store."""
    return LocalStore(tmp_path / "other" / "models")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Uploads are resumed by a key in the home, so each test has a home of its own."""
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
