"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer


class ListFormat(str, Enum):
    """How a list is printed."""

    table = "table"
    json = "json"
    yaml = "yaml"


class GetFormat(str, Enum):
    """How one model is printed."""

    yaml = "yaml"
    json = "json"
    path = "path"


def complete_tag(incomplete: str) -> list[str]:
    """Tags that begin with what was typed for shell completion: latest, aliases, then versions, newest first."""
    from vtsserving._local_store.store import LocalStore
    from vtsserving_cli.completion import typed_before

    store, before = LocalStore(), typed_before()
    tags = [model.tag for model in store.list()]
    movable = [
        f"{n}:{a}" for n in dict.fromkeys(tag.name for tag in tags) for a in ("latest", *store.aliases(n))
    ]
    fitting = [tag for tag in [*movable, *map(str, tags)] if tag.startswith(before + incomplete)]
    return [tag.removeprefix(before) for tag in fitting]


TagArgument = Annotated[
    str,
    typer.Argument(
        metavar="TAG",
        help="name, or name:version; version may be latest, an alias or a unique prefix.",
        autocompletion=complete_tag,
        show_default=False,
    ),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="KEY=VALUE", help="Only models with this label; repeatable."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
FsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-O",
        metavar="KEY=VALUE",
        help="For URLs: key=, secret=, endpoint_url=, username=, password=, ...; repeatable.",
    ),
]
