"""The life of a service process: settings, logs, the bus, a stop signal, an exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol

from vtsserving._bus.nats import NatsBus
from vtsserving._runtime import allocator, logs
from vtsserving._runtime.settings import SharedSettings
from vtsserving.exceptions import VtsServingException

_log = logging.getLogger(__name__)


class App(Protocol):
    """What every service's app offers."""

    async def start(self) -> None:
        """Begin to serve."""

    async def drain(self) -> None:
        """Take nothing new and finish what was taken."""

    async def close(self) -> None:
        """Stop at once."""


class Stop(asyncio.Event):
    """Set when the process must stop; `failure` says why, if it was not asked to."""

    failure: VtsServingException | None = None


def stop_event() -> Stop:
    """An event that SIGTERM or SIGINT sets; for the running loop."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def connect(shared: SharedSettings, name: str, stop: Stop) -> NatsBus | None:
    """Connect to the message bus, waiting for it as long as it takes.

    Args:
        shared: where the bus is.
        name: shown in the server's monitoring.
        stop: ends the wait; also set when the server forbids what the service needs.

    Returns:
        The bus; None when `stop` came first.

    Raises:
        AuthError: the server refuses the credentials.
    """

    def fatal(error: VtsServingException) -> None:
        _log.critical("bus_refused", extra={"reason": error.message})
        stop.failure = error
        stop.set()

    connecting = asyncio.ensure_future(
        NatsBus.connect(
            shared.nats_url,
            name=name,
            user=shared.nats_user or None,
            password=shared.bus_password or None,
            on_fatal=fatal,
        )
    )
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not connecting.done():
        connecting.cancel()
        return None
    return connecting.result()


async def serve_until(
    app: App, stop: Stop, on_ready: Callable[[], None] | None = None, *, keeps_freed_memory: bool = True
) -> None:
    """Start an app, wait for the stop signal, drain and close it.

    Args:
        app: not started.
        stop: ends the service, also while it starts.
        on_ready: called when the app has started.
        keeps_freed_memory: whether large blocks are kept for the next request, which is faster and takes up to 64 MiB
            more memory.
    """
    if keeps_freed_memory:
        allocator.keep_freed_memory()
    try:
        starting = asyncio.ensure_future(app.start())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            return
        starting.result()
        _calm_collector()
        _log.info("ready")
        if on_ready is not None:
            on_ready()
        await stopping
        _log.info("draining")
        await app.drain()
    finally:
        await app.close()
        _log.info("stopped")


def _calm_collector() -> None:
    """Keep the garbage collector from walking through all modules again and again while requests are served.

    What start-up made stays for good, so it is left out; and a full turn comes after more new objects than the
    default, since a request's objects are freed by their reference counts.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def run(name: str, main: Callable[[Stop], Awaitable[None]]) -> int:
    """Run a service to its end.

    Args:
        name: of the service, in every log line.
        main: the service; returns after the event was set, drained.

    Returns:
        The exit code: 0 after a stop signal, the error's own if it could not serve.
    """
    import uvloop

    async def life() -> None:
        stop = stop_event()
        await main(stop)
        if stop.failure is not None:
            raise stop.failure

    try:
        logs.configure(name)
        uvloop.run(life())  # asyncio.Runner is not in Python 3.10
    except VtsServingException as error:
        print(f"{name}: {error.message}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0
