"""`vtsserving models prune`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vtsserving import _clock
from vtsserving._model.tag import is_hidden
from vtsserving.exceptions import InvalidArgument
from vtsserving_cli.models.arguments import DryRunOption, YesOption, complete_tag
from vtsserving_cli.models.delete import remove
from vtsserving_cli.models.remote import RemoteOption, RemoteUrlOption
from vtsserving_cli.parsing import parse_age

if TYPE_CHECKING:
    from vtsserving._local_store.model import Model
    from vtsserving._local_store.store import LocalStore


EXAMPLES: Final = (
    "vtsserving models prune --keep 5 --dry-run",
    "vtsserving models prune iris_clf --keep 5 --keep-newer 30d -y",
)


def prune_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...", help="Only these names; all by default.", autocompletion=complete_tag
        ),
    ] = None,
    keep: Annotated[int | None, typer.Option("--keep", help="Keep the newest so many of each name.")] = None,
    keep_newer: Annotated[
        str | None, typer.Option("--keep-newer", metavar="AGE", help="Keep what is younger, for example 30d.")
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    remote: RemoteOption = False,
    store_url: RemoteUrlOption = None,
) -> None:
    """Delete old versions.

    Those that an alias points to always stay. With both --keep and --keep-newer, a version goes only if neither
    keeps it.
    """
    from vtsserving._local_store.store import LocalStore

    if keep is None and keep_newer is None:
        raise InvalidArgument("say what to keep: --keep 5, --keep-newer 30d, or both")
    if keep is not None and keep < 0:
        raise InvalidArgument(f"--keep is a number of versions, not {keep}")
    packed = [name for name in names or [] if is_hidden(name)]
    if packed:
        raise InvalidArgument(
            f"{packed[0]} is a packed runner, and these are not pruned; delete it by its tag"
        )
    oldest = _clock.now_utc() - parse_age(keep_newer) if keep_newer is not None else None
    if remote or store_url:
        from vtsserving_cli.models.remote import prune_remote

        prune_remote(store_url, names or [], keep or 0, oldest, yes=yes, dry_run=dry_run)
        return
    store = LocalStore()
    for name in names or []:
        store.resolve(name)
    old = [model for name in names or store.names() for model in _old(store, name, keep or 0, oldest)]
    remove(store, old, yes=yes, dry_run=dry_run, force=False)


def _old(store: LocalStore, name: str, keep: int, oldest: datetime | None) -> list[Model]:
    aliased = set(store.aliases(name).values())
    return [
        model
        for model in store.list(name)[keep:]
        if model.tag.version not in aliased and (oldest is None or model.creation_time < oldest)
    ]
