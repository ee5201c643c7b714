"""One stack with models and a Service for the client's tests, on each bus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.flowers import make_service, save_models
from support.nats_server import NatsServer
from support.served_stack import ServedStack, serving

DRAIN_S = 2.0
"""A function whose caller has left runs on, as `never` does; the stack need not wait for its deadline at the end."""


@pytest.fixture(scope="session", params=["inprocess", "nats"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedStack]:
    folder: Path = tmp_path_factory.mktemp("client")
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("VTSSERVING_")]:
        patch.delenv(name)
    patch.setenv("VTSSERVING_HOME", str(folder / "home"))
    save_models()
    try:
        if request.param == "inprocess":
            with serving(make_service, tags=["kinds:latest"], drain_s=DRAIN_S) as embedded:
                patch.undo()
                yield embedded
        else:
            with (
                NatsServer(folder) as nats,
                serving(make_service, tags=["kinds:latest"], nats_url=nats.url, drain_s=DRAIN_S) as over_nats,
            ):
                patch.undo()
                yield over_nats
    finally:
        patch.undo()
