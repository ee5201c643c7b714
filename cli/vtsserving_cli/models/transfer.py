"""`vtsserving models push` and `pull`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vtsserving.exceptions import InvalidArgument, ModelNotFound, VtsServingException
from vtsserving_cli.console import Console
from vtsserving_cli.models.arguments import LabelOption, complete_tag
from vtsserving_cli.parsing import parse_labels, parse_pairs
from vtsserving_cli.progress import TransferBar, transfer_progress

if TYPE_CHECKING:
    from vtsserving._model.tag import Tag

PUSH_EXAMPLES: Final = (
    "vtsserving models push iris_clf:latest",
    "vtsserving models push iris_clf:latest fraud:production --store http://store.example.com:3001 -t 4",
    "vtsserving models push --label team=risk",
    "vtsserving models push iris_clf:latest --set-label stage=candidate",
)
PULL_EXAMPLES: Final = (
    "vtsserving models pull iris_clf:latest",
    "vtsserving models pull iris_clf:production fraud:latest --store http://store.example.com:3001",
    "vtsserving models pull --label stage=prod",
)
HOPELESS: Final = frozenset({6, 7, 9})
"""Exit codes after which the other models would fail alike: no access, no store, no disk."""

TagsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TAG...",
        help="name, or name:version; version may be latest, an alias or a unique prefix.",
        autocompletion=complete_tag,
        show_default=False,
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="The model store; VTSSERVING_STORE_URL by default."),
]
ForceOption = Annotated[bool, typer.Option("--force", "-f", help="Transfer even what is there already.")]
ThreadsOption = Annotated[
    int, typer.Option("--threads", "-t", min=1, max=64, help="Files to transfer at the same time.")
]


def push_command(
    tags: TagsArgument = None,
    force: ForceOption = False,
    threads: ThreadsOption = 10,
    label: LabelOption = None,
    set_label: Annotated[
        list[str] | None,
        typer.Option("--set-label", metavar="KEY=VALUE", help="A label to set in the store; repeatable."),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Send models to the model store.

    What the store has already is not sent again. With --label, all versions that carry the label are sent.
    """
    from vtsserving._store_client import transfer

    labels = parse_pairs(set_label or [], "--set-label") or None

    def push(tag: str, bar: TransferBar | None) -> Tag:
        return transfer.push(
            tag, force=force, threads=threads, labels=labels, store_url=store, progress=bar
        ).tag

    _transfer("push", "Pushing", "pushed", _chosen(tags, label, _local), push)


def pull_command(
    tags: TagsArgument = None,
    force: ForceOption = False,
    threads: ThreadsOption = 10,
    label: LabelOption = None,
    store: StoreOption = None,
) -> None:
    """Fetch models from the model store.

    Every byte is checked before a model appears. With --label, all versions that carry the label are fetched.
    """
    from vtsserving._store_client import transfer

    def pull(tag: str, bar: TransferBar | None) -> Tag:
        return transfer.pull(tag, force=force, threads=threads, store_url=store, progress=bar).tag

    def remote(tag: str | None, labels: Mapping[str, str]) -> list[Tag]:
        return _remote(store, tag, labels)

    _transfer("pull", "Pulling", "pulled", _chosen(tags, label, remote), pull)


def _transfer(
    verb: str, doing: str, done: str, tags: list[str], one: Callable[[str, TransferBar | None], Tag]
) -> None:
    """Transfer one model after another; what fails does not hold up the others.

    Raises:
        typer.Exit: some of several failed, with the largest of their exit codes.
    """
    failures: list[int] = []
    tried = 0
    for tag in tags:
        tried += 1
        try:
            with transfer_progress(f"{doing} {tag}") as bar:
                exact = one(tag, bar)
        except VtsServingException as error:
            if len(tags) == 1:
                raise
            Console.error(" ".join(f"{tag}: {error.message}".split()))
            failures.append(error.exit_code)
            if error.exit_code in HOPELESS:
                break
        else:
            Console.out(f'Successfully {done} model "{exact}"')
    if len(tags) > 1:
        Console.log(_sum(done, tried - len(failures), len(failures), len(tags) - tried))
    if failures:
        raise typer.Exit(max(failures))


def _sum(done: str, succeeded: int, failed: int, left: int) -> str:
    text = f"{succeeded} of {succeeded + failed + left} models {done}"
    if failed:
        text += f", {failed} failed"
    return text + (f", {left} not tried: they would fail alike" if left else "")


def _chosen(
    tags: list[str] | None,
    label: list[str] | None,
    carrying: Callable[[str | None, Mapping[str, str]], list[Tag]],
) -> list[str]:
    """The tags to transfer, each once.

    Args:
        tags: as given.
        label: `key=value` as given; all must fit.
        carrying: finds the versions of a tag (or of all models) that have some labels.

    Raises:
        InvalidArgument: nothing is named.
        ModelNotFound: nothing carries the labels.
    """
    labels = parse_labels(label or [])
    if not tags and not labels:
        raise InvalidArgument("name a model, for example iris_clf:latest, or select some with --label")
    if not labels:
        return list(dict.fromkeys(tags or []))
    named: list[str | None] = [*tags] if tags else [None]
    found = [exact for tag in named for exact in carrying(tag, labels)]
    if not found:
        wanted = ", ".join(f"{key}={value}" for key, value in labels.items())
        raise ModelNotFound(f"no model{' among these' if tags else ''} carries {wanted}")
    return list(dict.fromkeys(map(str, found)))


def _local(tag: str | None, labels: Mapping[str, str]) -> list[Tag]:
    from vtsserving import models

    if tag is not None:
        models.get(tag)  # raises the error for what does not exist, with near names
    return [model.tag for model in models.list(tag, labels=labels)]


def _remote(url: str | None, tag: str | None, labels: Mapping[str, str]) -> list[Tag]:
    from vtsserving._store_client.remote_store import Store

    with Store(url) as store:
        found: Any = [model.tag for model in store.list(labels=labels)]
        if tag is None:
            return list(found)
        exact = store.get(tag).tag
    named = ":" in tag
    return [one for one in found if (one == exact if named else one.name == exact.name)]
