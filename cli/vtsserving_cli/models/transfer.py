"""`vtsserving models push` and `pull`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from vtsserving_cli.console import Console
from vtsserving_cli.models.arguments import TagArgument
from vtsserving_cli.parsing import parse_pairs
from vtsserving_cli.progress import transfer_progress

PUSH_EXAMPLES: Final = (
    "vtsserving models push iris_clf:latest",
    "vtsserving models push iris_clf:latest --store http://store.example.com:3001 -t 4",
)
PULL_EXAMPLES: Final = (
    "vtsserving models pull iris_clf:latest",
    "vtsserving models pull iris_clf:production --store http://store.example.com:3001",
)

StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="The model store; VTSSERVING_STORE_URL by default."),
]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Transfer even what is there already.")]
ThreadsOption = Annotated[
    int, typer.Option("--threads", "-t", min=1, max=64, help="Files to transfer at the same time.")
]


def push_command(
    tag: TagArgument,
    force: ForceOption = False,
    threads: ThreadsOption = 10,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", "-l", metavar="KEY=VALUE", help="A label to add; repeatable."),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Send a model to the model store.

    What the store has already is not sent again.
    """
    from vtsserving import transfer

    labels = parse_pairs(label or [], "--label") or None
    with transfer_progress(f"Pushing {tag}") as bar:
        pushed = transfer.push(
            tag, force=force, threads=threads, labels=labels, store_url=store, progress=bar
        )
    Console.out(f'Successfully pushed model "{pushed.tag}"')


def pull_command(
    tag: TagArgument,
    force: ForceOption = False,
    threads: ThreadsOption = 10,
    store: StoreOption = None,
) -> None:
    """Fetch a model from the model store.

    Every byte is checked before the model appears.
    """
    from vtsserving import transfer

    with transfer_progress(f"Pulling {tag}") as bar:
        pulled = transfer.pull(tag, force=force, threads=threads, store_url=store, progress=bar)
    Console.out(f'Successfully pulled model "{pulled.tag}"')
