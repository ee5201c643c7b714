"""`vtsserving models list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vtsserving_cli.console import Console, table
from vtsserving_cli.models.arguments import LabelOption, ListFormat, complete_tag
from vtsserving_cli.models.either_store import say_if_unknown
from vtsserving_cli.models.remote import RemoteOption, RemoteUrlOption
from vtsserving_cli.parsing import parse_labels
from vtsserving_cli.render import human_size, put_json, put_yaml, short_path

if TYPE_CHECKING:
    from vtsserving._local_store.model import Model

HEADER: Final = ("Tag", "Module", "Size", "Creation Time", "Path")


EXAMPLES: Final = (
    "vtsserving models list",
    "vtsserving models list iris_clf --limit 5",
    "vtsserving models list -l team=nlp -l stage=dev -o json",
    "vtsserving models list -q --sort size",
    "vtsserving models list --remote",
)


def list_models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Only models of this name.", autocompletion=complete_tag),
    ] = None,
    output: Annotated[ListFormat, typer.Option("--output", "-o", help="How to print.")] = ListFormat.table,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only tags, one a line.")] = False,
    label: LabelOption = None,
    module: Annotated[
        str | None, typer.Option("--module", "-m", help="Only this framework's, for example sklearn.")
    ] = None,
    sort: Annotated[str, typer.Option("--sort", help="created (newest first), name or size.")] = "created",
    limit: Annotated[int | None, typer.Option("--limit", "-n", help="The first so many.")] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Packed runners, too.")] = False,
    remote: RemoteOption = False,
    store_url: RemoteUrlOption = None,
) -> None:
    """List saved models, newest first."""
    from vtsserving import models as saved
    from vtsserving._local_store.store import LocalStore

    labels = parse_labels(label or [])
    if remote or store_url:
        from vtsserving_cli.models.remote import list_remote

        list_remote(
            store_url,
            name,
            labels=labels,
            module=module,
            sort=sort,
            limit=limit,
            hidden=hidden,
            quiet=quiet,
            output=output,
        )
        return
    store = LocalStore()
    models = saved.list(name, labels=labels, module=module, sort=sort, limit=limit, hidden=hidden)
    if not models and name is not None:
        say_if_unknown(name, store.resolve)
    if quiet:
        for model in models:
            Console.out(str(model.tag))
    elif output is ListFormat.table:
        Console.out(table(HEADER, [_row(model) for model in models]))
    else:
        aliases = {one: store.aliases(one) for one in {model.tag.name for model in models}}
        records = [_record(model, aliases[model.tag.name]) for model in models]
        put_json(records) if output is ListFormat.json else put_yaml(records)


def _row(model: Model) -> tuple[str, ...]:
    created = model.creation_time.strftime("%Y-%m-%d %H:%M:%S")
    return str(model.tag), model.info.module, human_size(model.size_bytes), created, short_path(model.path)


def _record(model: Model, aliases: dict[str, str]) -> dict[str, Any]:
    return {
        "tag": str(model.tag),
        "name": model.tag.name,
        "version": model.tag.version,
        "module": model.info.module,
        "size_bytes": model.size_bytes,
        "creation_time": model.manifest.creation_time,
        "path": str(model.path),
        "labels": dict(model.info.labels),
        "aliases": sorted(alias for alias, version in aliases.items() if version == model.tag.version),
        "digest": model.digest,
    }
