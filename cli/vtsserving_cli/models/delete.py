"""`vtsserving models delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from vtsserving.exceptions import InvalidArgument
from vtsserving_cli.console import Console, confirm
from vtsserving_cli.models.arguments import DryRunOption, LabelOption, YesOption, complete_tag
from vtsserving_cli.models.either_store import check_aliases
from vtsserving_cli.models.remote import RemoteOption, RemoteUrlOption
from vtsserving_cli.parsing import parse_labels

if TYPE_CHECKING:
    from vtsserving._local_store.model import Model
    from vtsserving._local_store.store import LocalStore

EXAMPLES: Final = (
    "vtsserving models delete iris_clf:latest -y",
    "vtsserving models delete iris_clf:2uo5 iris_clf:nb5v",
    "vtsserving models delete iris_clf --all-versions --dry-run",
    "vtsserving models delete -l stage=dev -y",
)


def delete_models(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TAG...", help="Models to delete.", autocompletion=complete_tag),
    ] = None,
    yes: YesOption = False,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="A name without a version means all of its versions.")
    ] = False,
    label: LabelOption = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Also models that aliases point to.")] = False,
    dry_run: DryRunOption = False,
    remote: RemoteOption = False,
    store_url: RemoteUrlOption = None,
) -> None:
    """Delete models from the local store, or with --remote from a model store.

    A name without a version means all of its versions: on a terminal you are asked, with --yes it takes
    --all-versions as well.
    """
    from vtsserving._local_store.store import LocalStore

    labels = parse_labels(label or [])
    if not targets and not labels:
        raise InvalidArgument("name a model to delete, or select some with --label")
    if remote or store_url:
        from vtsserving_cli.models.remote import delete_remote

        delete_remote(
            store_url,
            targets or [],
            labels,
            all_versions=all_versions,
            yes=yes,
            force=force,
            dry_run=dry_run,
        )
        return
    store = LocalStore()
    models = _chosen(store, targets or [], labels, bare_names_allowed=all_versions or not yes)
    remove(store, models, yes=yes, dry_run=dry_run, force=force)


def remove(store: LocalStore, models: list[Model], *, yes: bool, dry_run: bool, force: bool) -> None:
    """Delete models, after asking.

    Args:
        store: where.
        models: which.
        yes: do not ask.
        dry_run: only say what would be deleted.
        force: also models that aliases point to; the aliases are removed.

    Raises:
        InvalidArgument: there is no terminal to ask on.
        Conflict: an alias points to one of them; none was deleted.
    """
    if not models:
        Console.note("no model to delete")
        return
    if not force:
        check_aliases((model.tag for model in models), store.aliases)
    if dry_run:
        for model in models:
            Console.out(f"{model!r} would be deleted")
        return
    if not confirm(
        f"Delete {_called(store, models)}?", assume_yes=yes, details=[str(model.tag) for model in models]
    ):
        Console.note("nothing was deleted")
        raise typer.Exit(1)
    for model in models:
        store.delete(model.tag, force=force)
        Console.log(f"{model!r} deleted")


def _called(store: LocalStore, models: list[Model]) -> str:
    """What to call models in a question; who deletes a whole name shall see it."""
    name = models[0].tag.name
    if len(models) == 1:
        return repr(models[0])
    if all(model.tag.name == name for model in models) and len(store.list(name)) == len(models):
        return f"all {len(models)} versions of {name}"
    return f"these {len(models)} models"


def _chosen(
    store: LocalStore, targets: list[str], labels: dict[str, str], *, bare_names_allowed: bool
) -> list[Model]:
    from vtsserving import models
    from vtsserving._model.tag import Tag

    if not targets:
        return models.list(labels=labels)
    chosen: dict[Model, None] = {}
    for target in targets:
        tag = Tag.parse(target)
        store.resolve(tag)  # raises the error for what does not exist, with near names
        found = models.list(tag, labels=labels)
        if tag.version is None and not bare_names_allowed:
            count = "1 version" if len(found) == 1 else f"{len(found)} versions"
            raise InvalidArgument(
                f"{tag} has {count}; name one, for example {tag}:latest, or add --all-versions"
            )
        chosen.update(dict.fromkeys(found))
    return list(chosen)
