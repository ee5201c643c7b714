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
    """Tags that begin with what was typed, newest first, for shell completion."""
    from vtsserving.local_store import LocalStore

    tags = [str(model.tag) for model in LocalStore().list()]
    names = dict.fromkeys(tag.partition(":")[0] + ":latest" for tag in tags)
    return [tag for tag in [*names, *tags] if tag.startswith(incomplete)]


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
