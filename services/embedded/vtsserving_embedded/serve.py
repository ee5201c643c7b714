"""Serving what somebody named: the choice of apps, and what is said when they are ready."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vtsserving._embedded.report import Ready
from vtsserving._runtime.local_url import local_url
from vtsserving._runtime.process import Stop, serve_until
from vtsserving._runtime.settings import read
from vtsserving.exceptions import InvalidArgument
from vtsserving.service.importing import load_service
from vtsserving_embedded.app import EmbeddedApp
from vtsserving_embedded.reload import Notices, Reloader, folder_of
from vtsserving_embedded.targets import Targets
from vtsserving_embedded.workers import WorkersApp
from vtsserving_gateway.server.server import listen
from vtsserving_gateway.settings import GatewaySettings


class Plan(NamedTuple):
    """What to serve, and where.

    Attributes:
        targets: models and a Service.
        host: address to listen on; None: as the gateway's settings say.
        port: port to listen on; None: as the gateway's settings say; 0 picks a free one.
        workers: gateway processes; None for one process that does everything.
        nats: a running nats-server for `workers`; None starts one.
    """

    targets: Targets
    host: str | None = None
    port: int | None = None
    workers: int | None = None
    nats: str | None = None


def check_nats(nats: str | None, workers: int | None) -> None:
    """Refuse a nats-server that nothing would use.

    Args:
        nats: a running nats-server, or None.
        workers: gateway processes, or None for one process that does everything.

    Raises:
        InvalidArgument: it is named without workers.
    """
    if nats is not None and workers is None:
        raise InvalidArgument("--nats goes with --workers N")


async def serve(plan: Plan, stop: Stop, on_ready: Callable[[Ready], None]) -> None:
    """Serve until `stop` is set, then drain.

    Args:
        plan: what to serve.
        stop: ends it, also while it starts.
        on_ready: called when requests are taken.

    Raises:
        InvalidArgument: the plan contradicts itself.
        VtsServingException: it cannot be served; the message has the reason.
    """
    check_nats(plan.nats, plan.workers)
    targets = plan.targets
    if plan.workers is None:
        service = load_service(targets.service) if targets.service else None
        app: EmbeddedApp | WorkersApp = EmbeddedApp(
            targets.tags, host=plan.host, port=plan.port, service=service
        )
    else:
        app = WorkersApp(
            targets.tags,
            plan.workers,
            nats=plan.nats,
            host=plan.host,
            port=plan.port,
            service=targets.service,
        )

    def ready() -> None:
        serving = (*app.tags, *([targets.service] if targets.service else []))
        on_ready(Ready(local_url(plan.host or read(GatewaySettings).host, app.port), serving))

    await serve_until(app, stop, ready)


async def serve_and_reload(
    plan: Plan, command: Callable[[Sequence[str]], Sequence[str]], stop: Stop, notices: Notices
) -> None:
    """Serve a Service in a child process that makes room for another one when its files change.

    Args:
        plan: what to serve.
        command: the child's command line, for the arguments of `serve`.
        stop: ends it.
        notices: told what happens, for people.

    Raises:
        InvalidArgument: the plan has no Service, or asks for workers.
        ConfigurationError: the port cannot be opened.
    """
    service = plan.targets.service
    if plan.workers is not None:
        raise InvalidArgument("--reload serves in one process; leave --workers out")
    if service is None:
        raise InvalidArgument("--reload goes with a service, such as service.py:svc")
    settings = read(GatewaySettings)
    port = settings.port if plan.port is None else plan.port
    arguments = ["--service", service]
    for tag in plan.targets.tags:
        arguments += ["--model", tag]
    if plan.host is not None:
        arguments += ["--host", plan.host]
    with listen(plan.host or settings.host, port, None) as listening:
        await Reloader(command(arguments), listening, folder_of(service), notices).run(stop)
