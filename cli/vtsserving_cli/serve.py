"""`vtsserving serve`: models of the local store behind HTTP, in one process with nothing else to install."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vtsserving.exceptions import InvalidArgument
from vtsserving_cli.app import examples
from vtsserving_cli.console import Console

if TYPE_CHECKING:
    from vtsserving_cli.embedded import EmbeddedApp
    from vtsserving_cli.workers import WorkersApp

DEFAULT_URL_HOST = "127.0.0.1"


def add_serve(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command(
        "serve",
        epilog=examples(
            "vtsserving serve iris_clf:latest",
            "vtsserving serve iris_clf:production other_model --port 8080",
            "vtsserving serve iris_clf:latest --workers 4",
            "curl -s localhost:3000/v1/models/iris_clf:latest/predict -d '[[5.9, 3.0, 5.1, 1.8]]'",
        ),
    )(serve)


def serve(
    tags: Annotated[
        list[str], typer.Argument(metavar="TAG...", help="Models to load at start, such as iris_clf:latest.")
    ],
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", min=0, max=65535, help="Port; 0 picks one.", show_default="3000"),
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
) -> None:
    """Serve models over HTTP until Ctrl-C.

    Other models of the local store are loaded when they are first asked for. Calls from many clients are merged into
    batches where the model's signature says `batchable`.
    """
    import uvloop

    from vtsserving import logs

    logs.configure("serve")
    if nats is not None and workers is None:
        raise InvalidArgument("--nats goes with --workers N")
    uvloop.run(_serve(tags, host, port, workers, nats))


async def _serve(
    tags: list[str], host: str | None, port: int | None, workers: int | None, nats: str | None
) -> None:
    from vtsserving.service import serve_until, stop_event

    stop = stop_event()
    if workers is None:
        from vtsserving_cli.embedded import EmbeddedApp

        app: EmbeddedApp | WorkersApp = EmbeddedApp(tags, host=host, port=port)
    else:
        from vtsserving_cli.workers import WorkersApp

        app = WorkersApp(tags, workers, nats=nats, host=host, port=port)

    def tell() -> None:
        url = f"http://{host or DEFAULT_URL_HOST}:{app.port}"
        Console.note(f"Serving {', '.join(app.tags)} at {url} (docs at {url}/docs; Ctrl-C stops)")

    await serve_until(app, stop, tell)
