"""The `models` commands with --remote: the same, on a store service."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtsserving.exceptions import InvalidArgument, InvalidTag
from vtsserving_cli.console import Console, confirm, table
from vtsserving_cli.models.arguments import GetFormat, ListFormat
from vtsserving_cli.models.description import as_json, as_yaml
from vtsserving_cli.models.either_store import check_aliases, say_if_unknown
from vtsserving_cli.render import human_size, put_json, put_yaml

if TYPE_CHECKING:
    from vtsserving._store_client.remote_store import RemoteModel, Store

RemoteOption = Annotated[
    bool, typer.Option("--remote", "-r", help="In the model store that you are logged in to.")
]
RemoteUrlOption = Annotated[
    str | None, typer.Option("--store", metavar="URL", help="In this model store; implies --remote.")
]


def list_remote(
    url: str | None,
    name: str | None,
    *,
    labels: dict[str, str],
    module: str | None,
    sort: str,
    limit: int | None,
    hidden: bool,
    quiet: bool,
    output: ListFormat,
) -> None:
    """Print models of a store service."""
    if sort not in ("created", "name", "size"):
        raise InvalidArgument(f"--sort is created, name or size, not {sort!r}")
    with _store(url) as store:
        models = store.list(name, labels=labels, module=module, hidden=hidden)
        if not models and name is not None:
            say_if_unknown(name, store.get)
    if sort == "name":
        models.sort(key=lambda model: str(model.tag))
    elif sort == "size":
        models.sort(key=lambda model: -model.size_bytes)
    models = models[:limit]
    if quiet:
        for model in models:
            Console.out(str(model.tag))
    elif output is ListFormat.table:
        header = ("Tag", "Module", "Size", "Creation Time", "Labels")
        Console.out(table(header, [_row(model) for model in models]))
    else:
        records = [_record(model) for model in models]
        put_json(records) if output is ListFormat.json else put_yaml(records)


def get_remote(url: str | None, tag: str, output: GetFormat, *, contract: bool = False) -> None:
    """Print what a store service knows about a model."""
    with _store(url) as store:
        found = store.get(tag)
    if output is GetFormat.path:
        raise InvalidArgument("a model in a store has no path; pull it first")
    # model.yaml stays as saved; what is shown are the labels of today.
    info = dataclasses.replace(found.info, labels=dict(found.labels))
    if output is GetFormat.json:
        size_bytes, digest = found.manifest.size_bytes, found.digest
        shown = as_json(info, found.aliases, size_bytes=size_bytes, digest=digest)
        put_json({**shown, "pushed_at": found.pushed_at})
    else:
        Console.out(as_yaml(info, found.aliases, contract=contract))


def delete_remote(
    url: str | None,
    targets: list[str],
    labels: dict[str, str],
    *,
    all_versions: bool,
    yes: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Delete models of a store service, after asking."""
    from vtsserving._model.tag import Tag

    with _store(url) as store:
        chosen: dict[Tag, None] = {}
        for target in targets:
            tag = Tag.parse(target)
            if tag.version is not None:
                chosen[store.get(tag).tag] = None
                continue
            if not all_versions and yes:
                raise InvalidTag(f"name a version, for example {tag}:latest, or add --all-versions")
            store.get(tag)
            chosen.update({model.tag: None for model in store.list(tag.name)})
        fitting = {model.tag for model in store.list(labels=labels)} if labels else set(chosen)
        remove_remote(
            store,
            [tag for tag in (chosen if targets else fitting) if tag in fitting],
            yes=yes,
            force=force,
            dry_run=dry_run,
        )


def remove_remote(store: Store, tags: list[Any], *, yes: bool, force: bool, dry_run: bool) -> None:
    """Delete exact versions, after asking.

    Raises:
        Conflict: an alias points to one of them; none was deleted.
    """
    if not tags:
        Console.note("no model to delete")
        return
    if not force:
        check_aliases(tags, store.aliases)
    if dry_run:
        for tag in tags:
            Console.out(f'Model(tag="{tag}") would be deleted')
        return
    what = f'Model(tag="{tags[0]}")' if len(tags) == 1 else f"these {len(tags)} models"
    if not confirm(f"Delete {what} from {store.url}?", assume_yes=yes, details=[str(tag) for tag in tags]):
        Console.note("nothing was deleted")
        raise typer.Exit(1)
    for tag in tags:
        store.delete(tag, force=force)
        Console.log(f'Model(tag="{tag}") deleted')


def alias_remote(url: str | None, tag: str | None, alias: str | None, *, remove: bool, history: bool) -> None:
    """List, move and remove aliases in a store service."""
    from vtsserving._model.tag import Tag

    with _store(url) as store:
        if alias is None:
            if remove or history:
                raise InvalidArgument("name the alias: vtsserving models alias NAME ALIAS --remote")
            wanted = [Tag.parse(tag).name] if tag is not None else sorted({m.tag.name for m in store.list()})
            rows = [(f"{n}:{a}", f"{n}:{v}") for n in wanted for a, v in sorted(store.aliases(n).items())]
            Console.out(table(("Alias", "Tag"), rows))
            return
        if tag is None:
            raise InvalidArgument("name the model")
        name = Tag.parse(tag).name
        if history:
            moves = store.alias_history(name, alias)
            shown = [(m["at"], f"{name}:{m['version']}" if m["version"] else "-", m["by"]) for m in moves]
            Console.out(table(("Time", "Tag", "By"), shown))
        elif remove:
            store.remove_alias(name, alias)
            Console.log(f'Alias "{name}:{alias}" removed')
        else:
            exact = store.set_alias(tag, alias)
            Console.log(f'Alias "{name}:{alias}" points to Model(tag="{exact}")')


def prune_remote(
    url: str | None, names: list[str], keep: int, newer_than: datetime | None, *, yes: bool, dry_run: bool
) -> None:
    """Delete old versions in a store service."""
    with _store(url) as store:
        wanted = names or sorted({model.tag.name for model in store.list()})
        old = [model.tag for name in wanted for model in store.old(name, keep=keep, newer_than=newer_than)]
        remove_remote(store, old, yes=yes, force=False, dry_run=dry_run)


def _store(url: str | None) -> Store:
    from vtsserving._store_client.remote_store import Store

    return Store(url)


def _row(model: RemoteModel) -> tuple[str, ...]:
    created = model.creation_time.strftime("%Y-%m-%d %H:%M:%S")
    labels = ", ".join(f"{key}={value}" for key, value in model.labels.items())
    return str(model.tag), model.module, human_size(model.size_bytes), created, labels


def _record(model: RemoteModel) -> dict[str, Any]:
    return {
        "tag": str(model.tag),
        "name": model.tag.name,
        "version": model.tag.version,
        "module": model.module,
        "size_bytes": model.size_bytes,
        "creation_time": model.creation_time.isoformat(timespec="microseconds"),
        "pushed_at": model.pushed_at,
        "labels": dict(model.labels),
        "digest": model.digest,
    }
