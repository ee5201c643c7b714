"""`vtsserving models alias`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from vtsserving.exceptions import InvalidArgument
from vtsserving_cli.console import Console, table
from vtsserving_cli.models.arguments import complete_tag
from vtsserving_cli.models.remote import RemoteOption, RemoteUrlOption

EXAMPLES: Final = (
    "vtsserving models alias iris_clf:2uo5 production",
    "vtsserving models alias iris_clf",
    "vtsserving models alias iris_clf production --history",
    "vtsserving models alias iris_clf production --remove",
)


def alias_model(
    tag: Annotated[
        str | None,
        typer.Argument(
            metavar="TAG", help="The model; its name is enough to list.", autocompletion=complete_tag
        ),
    ] = None,
    alias: Annotated[str | None, typer.Argument(metavar="ALIAS", help="The name to give it.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Show where the alias pointed, and when.")
    ] = False,
    remote: RemoteOption = False,
    store_url: RemoteUrlOption = None,
) -> None:
    """Give a version a movable name.

    The alias, production for example, can be used wherever a version is. Without one, the aliases are listed.
    """
    from vtsserving._local_store.store import LocalStore
    from vtsserving._model.tag import Tag

    if remote or store_url:
        from vtsserving_cli.models.remote import alias_remote

        alias_remote(store_url, tag, alias, remove=remove, history=history)
        return
    store = LocalStore()
    if alias is None:
        if remove or history:
            raise InvalidArgument("name the alias: vtsserving models alias NAME ALIAS")
        names = [Tag.parse(tag).name] if tag is not None else store.names()
        if tag is not None:
            store.resolve(names[0])
        rows = [
            (f"{n}:{a}", f"{n}:{version}") for n in names for a, version in sorted(store.aliases(n).items())
        ]
        Console.out(table(("Alias", "Tag"), rows))
        return
    if tag is None:  # typer fills arguments in order
        raise InvalidArgument("name the model")
    name = Tag.parse(tag).name
    if history:
        moves = store.alias_history(name, alias)
        Console.out(
            table(("Time", "Tag"), [(m.at, f"{name}:{m.version}" if m.version else "-") for m in moves])
        )
    elif remove:
        store.remove_alias(name, alias)
        Console.log(f'Alias "{name}:{alias}" removed')
    else:
        exact = store.set_alias(tag, alias)
        Console.log(f'Alias "{name}:{alias}" points to Model(tag="{exact}")')
