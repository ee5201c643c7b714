"""One gateway for all tests that leave it as they found it; tests with settings of their own start their own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from support.backend import entry, rows_spec
from support.nats_server import NatsServer
from support.served_gateway import ServedGateway, post, served
from vtsserving.exceptions import ModelLoadFailed, ModelLoading, QueueFull
from vtsserving.signature import ModelSignature

BATCHABLE = ModelSignature(batchable=True)

ENTRIES = [
    entry("iris", "old", input_specs=rows_spec(4)),
    entry("iris", input_specs=rows_spec(4)),
    entry("single", input_specs=rows_spec(2, "float32")),
    entry("bytes", input_specs=rows_spec(2, "uint8")),
    entry("long", input_specs=rows_spec(2, "int64")),
    entry("free"),
    entry("whole", methods={"__call__": ModelSignature()}),
    entry("many", methods={"first": BATCHABLE, "second": BATCHABLE}),
    entry("mixed", methods={"__call__": ModelSignature(), "other": ModelSignature()}),
    entry("failing", methods={name: BATCHABLE for name in ("raises", "loading", "failed", "full")}),
]


def _raise(error: Exception) -> object:
    raise error


LIMITS = {"max_body_bytes": 200_000, "max_rows": 1_000, "max_header_bytes": 8_192, "max_url_bytes": 1_024}

FUNCTIONS = {
    ("iris", "predict"): lambda X: X.sum(axis=1),
    ("single", "predict"): lambda X: X * np.float32(2),
    ("bytes", "predict"): lambda X: X,
    ("long", "predict"): lambda X: X,
    ("free", "predict"): lambda X: X,
    ("whole", "__call__"): lambda *args, **kwargs: {"args": list(args), "kwargs": kwargs},
    ("many", "first"): lambda X: X,
    ("many", "second"): lambda X: X,
    ("mixed", "__call__"): lambda *args: "called",
    ("mixed", "other"): lambda *args: "other",
    ("failing", "raises"): lambda X: _raise(ZeroDivisionError("division by zero")),
    ("failing", "loading"): lambda X: _raise(ModelLoading("the model is being loaded")),
    ("failing", "failed"): lambda X: _raise(ModelLoadFailed("no module named nothing")),
    ("failing", "full"): lambda X: _raise(QueueFull("too many wait", retry_after_s=2.5)),
}


@pytest.fixture(scope="session", params=["inprocess"])
def bus_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """Where the bus is: nowhere, or on a nats-server, for tests that ask for both."""
    if request.param == "inprocess":
        yield None
        return
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server.url
    server.kill()


@pytest.fixture(scope="session")
def gateway(bus_url: str | None) -> Iterator[ServedGateway]:
    """A gateway with small limits and ordinary timeouts."""
    with served(ENTRIES, FUNCTIONS, LIMITS, nats_url=bus_url) as running:
        yield running


GOOD = post(b"[[1, 2, 3, 4]]")


@pytest.fixture
def unharmed(gateway: ServedGateway) -> Iterator[ServedGateway]:
    """The shared gateway; after the test it must answer the next good request and hold nothing."""
    yield gateway
    answer = gateway.ask(GOOD)
    assert (answer.status, answer.json) == (200, [10.0])
    assert gateway.run(
        lambda: (gateway.app.gateway.buffered_bytes, gateway.app.gateway.metrics.in_progress)
    ) == (0, 0)
