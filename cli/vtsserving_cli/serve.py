"""`vtsserving serve`: models of the local store behind HTTP, in one process with nothing else to install."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vtsserving.exceptions import InvalidArgument
from vtsserving_cli.app import examples
from vtsserving_cli.console import Console
from vtsserving_cli.models.arguments import complete_tag

if TYPE_CHECKING:
    from vtsserving_embedded.app import EmbeddedApp
    from vtsserving_embedded.targets import Targets
    from vtsserving_embedded.workers import WorkersApp

DEFAULT_URL_HOST = "127.0.0.1"


def add_serve(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(
        "serve",
        epilog=examples(
            "vtsserving serve iris_clf:latest",
            "vtsserving serve iris_clf:production other_model --port 8080",
            "vtsserving serve iris_clf:latest --workers 4",
            "vtsserving serve service.py:svc",
            "vtsserving serve service.py:svc --reload",
            "curl -s localhost:3000/v1/models/iris_clf:latest/predict -d '[[5.9, 3.0, 5.1, 1.8]]'",
        ),
    )(serve)


def serve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TAG|SERVICE...",
            help="Models such as iris_clf:latest, or one service.py:svc.",
            autocompletion=complete_tag,
        ),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model, where a name may be both.")] = None,
    service: Annotated[
        str | None, typer.Option(help="A service, where a name may be both.", envvar="VTSSERVING_SERVICE")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.")] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", min=0, max=65535, help="Port, 3000 by default; 0 picks one."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", "-w", min=1, max=256, help="Gateway processes; needs nats-server on PATH, or --nats."
        ),
    ] = None,
    nats: Annotated[
        str | None, typer.Option(help="A running nats-server for --workers, such as nats://127.0.0.1:4222.")
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start anew when python files change; for development.")
    ] = False,
) -> None:
    """Serve models, or the functions of a service, over HTTP until Ctrl-C.

    Other models of the local store are loaded when they are first asked for. Calls from many clients are merged into
    batches where the model's signature says `batchable`.
    """
    import uvloop

    from vtsserving._runtime import logs

    logs.configure("serve")
    if nats is not None and workers is None:
        raise InvalidArgument("--nats goes with --workers N")
    from vtsserving_embedded.targets import sort_targets

    chosen = sort_targets(targets or [], model or [], service)
    if not reload:
        uvloop.run(_serve(chosen, host, port, workers, nats))
        return
    if workers is not None:
        raise InvalidArgument("--reload serves in one process; leave --workers out")
    if chosen.service is None:
        raise InvalidArgument("--reload goes with a service, such as service.py:svc")
    uvloop.run(_serve_and_reload(chosen, chosen.service, host, port))


async def _serve(
    chosen: Targets, host: str | None, port: int | None, workers: int | None, nats: str | None
) -> None:
    from vtsserving._runtime.process import serve_until, stop_event
    from vtsserving.service.importing import load_service

    stop = stop_event()
    if workers is None:
        from vtsserving_embedded.app import EmbeddedApp

        app: EmbeddedApp | WorkersApp = EmbeddedApp(
            chosen.tags,
            host=host,
            port=port,
            service=load_service(chosen.service) if chosen.service else None,
        )
    else:
        from vtsserving_embedded.workers import WorkersApp

        app = WorkersApp(chosen.tags, workers, nats=nats, host=host, port=port, service=chosen.service)

    def tell() -> None:
        url = f"http://{host or DEFAULT_URL_HOST}:{app.port}"
        what = ", ".join((*app.tags, *([chosen.service] if chosen.service else [])))
        Console.note(f"Serving {what} at {url} (docs at {url}/docs; Ctrl-C stops)")

    await serve_until(app, stop, tell)


async def _serve_and_reload(chosen: Targets, service: str, host: str | None, port: int | None) -> None:
    from vtsserving._runtime.process import stop_event
    from vtsserving._runtime.settings import read
    from vtsserving_embedded.reload import Reloader, folder_of
    from vtsserving_gateway.server.server import listen
    from vtsserving_gateway.settings import GatewaySettings

    stop = stop_event()
    settings = read(GatewaySettings)
    listening = listen(host or settings.host, settings.port if port is None else port, None)
    arguments = ["--service", service]
    for tag in chosen.tags:
        arguments += ["--model", tag]
    if host is not None:
        arguments += ["--host", host]
    with listening:
        await Reloader(arguments, listening, folder_of(service)).run(stop)
