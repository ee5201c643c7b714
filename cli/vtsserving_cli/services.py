"""`vtsserving services`: what a Service needs in the store before gateways and runners elsewhere can serve it."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from vtsserving_cli.app import examples, new_group
from vtsserving_cli.console import Console

PUSH_EXAMPLES: Final = (
    "vtsserving services push service.py:svc",
    "vtsserving services push my_project.service:svc --store http://store.example.com:3001",
)
PACK_EXAMPLES: Final = ("vtsserving services pack service.py:svc",)

ServiceArgument = Annotated[
    str, typer.Argument(metavar="SERVICE", help="module:attribute or file.py:attribute.", show_default=False)
]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="The model store; VTSSERVING_STORE_URL by default."),
]


def build_services() -> typer.Typer:
    """The group with its commands."""
    group = new_group("Prepare Services for a cluster.", *PUSH_EXAMPLES, *PACK_EXAMPLES)
    group.callback()(_services)
    group.command("push", epilog=examples(*PUSH_EXAMPLES))(push)
    group.command("pack", epilog=examples(*PACK_EXAMPLES))(pack)
    return group


def _services() -> None:
    """Prepare Services for a cluster."""


def push(service: ServiceArgument, store: StoreOption = None) -> None:
    """Send a Service's custom runners, and the models that its runners use, to the model store.

    A custom runner is packed with its class, its parameters and the modules of your project that it uses. What the
    store has already is not sent again. Gateways with VTSSERVING_SERVICE find it there by its content.
    """
    from vtsserving.service.importing import load_service
    from vtsserving.service.packing import push_service

    for pushed in push_service(load_service(service), store_url=store):
        what = f"runner {pushed.runner!r} as {pushed.tag}" if pushed.runner else f'model "{pushed.tag}"'
        Console.out(f"Pushed {what}" if pushed.sent else f"The store has {what}")


def pack(service: ServiceArgument) -> None:
    """Pack a Service's custom runners into the local store, for `serve` where that store is read-only."""
    from vtsserving.service.importing import load_service
    from vtsserving.service.packing import pack_service

    for name, model in pack_service(load_service(service)).items():
        Console.out(f"Packed runner {name!r} as {model.tag}")
