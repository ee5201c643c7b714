"""The gateway as a process of its own: settings from the environment, NATS, signals."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from vtsserving import logs
from vtsserving.bus.nats import NatsBus
from vtsserving.catalog import Catalog
from vtsserving.exceptions import ConfigurationError, VtsServingException
from vtsserving.health import health_check
from vtsserving_gateway.app import GatewayApp
from vtsserving_gateway.settings import GatewaySettings

_log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM, or check the health of a gateway that serves.

    Args:
        arguments: nothing, or `health`.

    Returns:
        The exit code; errors are one line on standard error.
    """
    try:
        settings = read_settings()
        if list(arguments) == ["health"]:
            return health_check(f"http://{_reachable(settings.host)}:{settings.port}/readyz")
        if arguments:
            raise ConfigurationError(f"unknown argument {arguments[0]!r}; there is only `health`")
        logs.configure("gateway")
        return _run(settings)
    except VtsServingException as error:
        print(f"vtsserving gateway: {error.message}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"vtsserving gateway: cannot listen: {error}", file=sys.stderr)
        return 1


def read_settings() -> GatewaySettings:
    """The settings from the environment.

    Raises:
        ConfigurationError: names the variable.
    """
    try:
        return GatewaySettings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "__".join(str(part) for part in first["loc"]).upper()
        variable = name if name.startswith("VTSSERVING_") else f"VTSSERVING_GATEWAY__{name}"
        raise ConfigurationError(f"{variable}: {first['msg']}") from None


async def serve(settings: GatewaySettings) -> int:
    """Start, run until a signal comes, drain.

    Returns:
        The exit code: 0 after a drain, 7 when the bus refuses us for good.
    """
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(code: int) -> None:
        if not stopped.done():
            stopped.set_result(code)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, 0)

    def on_fatal(error: VtsServingException) -> None:
        _log.error("bus_refused", extra={"code": error.code, "reason": error.message})
        stop(error.exit_code)

    connecting = loop.create_task(
        NatsBus.connect(settings.nats_url, name="vtsserving-gateway", on_fatal=on_fatal)
    )
    either: set[asyncio.Future[Any]] = {connecting, stopped}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not connecting.done():
        connecting.cancel()
        return await stopped
    bus = await connecting
    app = GatewayApp(bus, make_catalog(settings), settings)
    try:
        await app.start()
        code = await stopped
        await app.drain()
    finally:
        await app.close()
        await bus.close()
    _log.info("gateway_stopped")
    return code


def make_catalog(settings: GatewaySettings) -> Catalog:
    """The store service's catalog where one is configured, else the local store's."""
    from vtsserving.catalog import LocalCatalog
    from vtsserving.local_store import LocalStore

    return LocalCatalog(LocalStore(settings.home / "models" if settings.home else None))


def _run(settings: GatewaySettings) -> int:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(serve(settings))
    # Not uvloop.run, which Python 3.10 with older versions does not have.
    loop: Any = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return int(loop.run_until_complete(serve(settings)))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        asyncio.set_event_loop(None)
        loop.close()


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
