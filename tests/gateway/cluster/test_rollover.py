"""A name that has moved goes on meaning the old version until the new one is warm on some runner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from support.backend import entry, rows_spec
from support.served_gateway import ServedGateway, get, post, served, wait_until
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._wire import frames


def version(number: int) -> CatalogEntry:
    found = entry("iris", f"v{number}", input_specs=rows_spec(1))
    return CatalogEntry(**{**vars(found), "digest": f"sha256:{number:064d}"})


OLD, NEW, NEWER = version(1), version(2), version(3)


@pytest.fixture
def gateway() -> Iterator[ServedGateway]:
    """A gateway whose backend has the old version loaded; `latest` is the old one."""
    with served([NEW, NEWER, OLD], {("iris", "predict"): lambda X: X.sum(axis=1)}) as running:
        load(running, OLD)
        yield running


def load(gateway: ServedGateway, *entries: CatalogEntry) -> None:
    """Let the runner say that exactly these are loaded."""
    gateway.backend.loaded = [loaded.tag for loaded in entries]
    gateway.run(gateway.backend.beat)


def moved(gateway: ServedGateway, old: CatalogEntry, new: CatalogEntry, tag: str = "iris") -> CatalogEntry:
    """What the gateway serves when the catalog finds that a tag has moved."""
    return gateway.run(lambda: gateway.catalog.settle(tag, old, new))


def fail(gateway: ServedGateway, code: str, reason: str) -> None:
    """Let the batcher report how its last order ended."""
    report = frames.encode(frames.Report(code, reason, 0))
    wait_until(lambda: gateway.backend.orders)
    gateway.run(lambda: gateway.bus.publish(gateway.backend.orders.pop()[1], report))


def successor(gateway: ServedGateway) -> Any:
    return gateway.ask(get("/v1/models/iris")).json.get("successor")


def answering(gateway: ServedGateway) -> str:
    answer = gateway.ask(post(json.dumps(np.ones((1, 1)).tolist()).encode()))
    assert answer.status == 200
    return answer.headers["x-vts-model"]


def test_the_old_version_answers_until_the_new_one_is_warm(gateway: ServedGateway) -> None:
    assert moved(gateway, OLD, NEW) is OLD
    wait_until(lambda: gateway.backend.orders)
    assert gateway.backend.orders[0][0] == ("load", NEW.tag)
    assert gateway.backend.prepared == [("succeed", NEW.tag)]
    assert successor(gateway) == {"tag": NEW.tag, "state": "loading", "reason": ""}
    assert answering(gateway) == OLD.tag
    load(gateway, OLD, NEW)
    assert answering(gateway) == NEW.tag
    assert successor(gateway) is None
    assert gateway.backend.prepared[-1] == ("release", OLD.tag)


def test_a_version_that_is_warm_already_takes_over_at_once(gateway: ServedGateway) -> None:
    load(gateway, OLD, NEW)
    assert moved(gateway, OLD, NEW) is NEW
    assert gateway.backend.prepared == [("release", OLD.tag)]


def test_nothing_is_held_back_where_the_old_version_is_not_loaded(gateway: ServedGateway) -> None:
    load(gateway)
    assert moved(gateway, OLD, NEW) is NEW
    assert gateway.backend.prepared == []


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_and_its_reason_is_told(
    gateway: ServedGateway,
) -> None:
    moved(gateway, OLD, NEW)
    fail(gateway, "batcher_lost", "another batcher serves it")
    assert successor(gateway) == {"tag": NEW.tag, "state": "loading", "reason": ""}
    fail(gateway, "model_load_failed", "no module named nothing")
    wait_until(lambda: successor(gateway)["state"] == "failed")
    assert successor(gateway) == {"tag": NEW.tag, "state": "failed", "reason": "no module named nothing"}
    assert answering(gateway) == OLD.tag


def test_a_name_that_moves_on_skips_the_version_between(gateway: ServedGateway) -> None:
    moved(gateway, OLD, NEW)
    assert moved(gateway, OLD, NEWER) is OLD
    load(gateway, OLD, NEW)
    assert answering(gateway) == OLD.tag
    load(gateway, OLD, NEW, NEWER)
    assert answering(gateway) == NEWER.tag


def test_a_name_that_moves_back_stays(gateway: ServedGateway) -> None:
    moved(gateway, OLD, NEW)
    assert moved(gateway, OLD, OLD) is OLD
    load(gateway, OLD, NEW)
    assert answering(gateway) == OLD.tag
    assert successor(gateway) is None


def test_when_the_old_version_is_gone_the_new_one_is_waited_for(gateway: ServedGateway) -> None:
    moved(gateway, OLD, NEW)
    load(gateway)
    assert answering(gateway) == NEW.tag
