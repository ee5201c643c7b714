"""`vtsserving models get`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from vtsserving_cli.console import Console
from vtsserving_cli.models.arguments import GetFormat, TagArgument
from vtsserving_cli.models.description import as_json, as_yaml
from vtsserving_cli.models.remote import RemoteOption, RemoteUrlOption
from vtsserving_cli.render import put_json

if TYPE_CHECKING:
    from vtsserving._local_store.store import LocalStore
    from vtsserving._model.tag import Tag

EXAMPLES: Final = (
    "vtsserving models get iris_clf:latest",
    "vtsserving models get iris_clf:2uo5 -o json",
    "vtsserving models get iris_clf:latest --contract",
    "ls $(vtsserving models get iris_clf:production -o path)",
)


def get_model(
    tag: TagArgument,
    output: Annotated[GetFormat, typer.Option("--output", "-o", help="How to print.")] = GetFormat.yaml,
    contract: Annotated[
        bool, typer.Option("--contract", help="With what its methods take and give; JSON always has it.")
    ] = False,
    remote: RemoteOption = False,
    store_url: RemoteUrlOption = None,
) -> None:
    """Show what is known about a model."""
    from vtsserving._local_store.store import LocalStore

    if remote or store_url:
        from vtsserving_cli.models.remote import get_remote

        get_remote(store_url, tag, output, contract=contract)
        return
    store = LocalStore()
    model = store.get(tag)
    if output is GetFormat.path:
        Console.out(str(model.path))
    elif output is GetFormat.json:
        aliases = _aliases(store, model.tag)
        put_json(as_json(model.info, aliases, size_bytes=model.size_bytes, digest=model.digest))
    else:
        Console.out(as_yaml(model.info, _aliases(store, model.tag), contract=contract))


def _aliases(store: LocalStore, tag: Tag) -> list[str]:
    return [alias for alias, version in store.aliases(tag.name).items() if version == tag.version]
