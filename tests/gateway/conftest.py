"""One gateway for all tests that leave it as they found it; tests with settings of their own start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.gateway_models import ENTRIES, FUNCTIONS, GOOD, LIMITS
from support.nats_server import NatsServer
from support.served_gateway import ServedGateway, served


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


@pytest.fixture
def unharmed(gateway: ServedGateway) -> Iterator[ServedGateway]:
    """The shared gateway; after the test it must answer the next good request and hold nothing."""
    yield gateway
    answer = gateway.ask(GOOD)
    assert (answer.status, answer.json) == (200, [10.0])
    assert gateway.run(
        lambda: (gateway.app.gateway.buffered_bytes, gateway.app.gateway.metrics.in_progress)
    ) == (0, 0)
