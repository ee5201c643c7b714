"""The `models` group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import typer

from vtsserving_cli.app import examples, new_group
from vtsserving_cli.models import alias, archive, configure, delete, get, list_models, prune, transfer, verify

COMMANDS: Final[tuple[tuple[str, Callable[..., Any], tuple[str, ...]], ...]] = (
    ("list", list_models.list_models, list_models.EXAMPLES),
    ("get", get.get_model, get.EXAMPLES),
    ("delete", delete.delete_models, delete.EXAMPLES),
    ("export", archive.export_command, archive.EXPORT_EXAMPLES),
    ("import", archive.import_command, archive.IMPORT_EXAMPLES),
    ("push", transfer.push_command, transfer.PUSH_EXAMPLES),
    ("pull", transfer.pull_command, transfer.PULL_EXAMPLES),
    ("alias", alias.alias_model, alias.EXAMPLES),
    ("configure", configure.configure_model, configure.EXAMPLES),
    ("prune", prune.prune_models, prune.EXAMPLES),
    ("verify", verify.verify_models, verify.EXAMPLES),
)
"""Name, function, examples; in the order of the help."""


def build_models() -> typer.Typer:
    """The group with its commands."""
    group = new_group(
        "See and manage saved models.",
        "vtsserving models list --label stage=prod",
        "vtsserving models export iris_clf:latest s3://my_bucket/my_prefix/",
        "vtsserving models alias iris_clf:latest production",
        "vtsserving models prune --keep 5 --keep-newer 30d --dry-run",
    )
    for name, command, lines in COMMANDS:
        group.command(name, epilog=examples(*lines))(command)
    return group
