"""Managing saved models from Python; the CLI's `vtsserving models` does the same."""

from __future__ import annotations

import builtins
import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, overload

from vtsserving._local_store.model import Model
from vtsserving._local_store.resolver import current_resolver
from vtsserving._local_store.store import LocalStore
from vtsserving._model.options import ModelOptions
from vtsserving._model.settings import of_version
from vtsserving._model.signature import ModelSignature
from vtsserving._model.tag import Tag, check_not_hidden
from vtsserving.exceptions import InvalidArgument

if TYPE_CHECKING:
    from vtsserving._model.info import ModelContext

__all__ = [
    "alias",
    "configure",
    "create",
    "delete",
    "export_model",
    "get",
    "import_model",
    "list",
    "pull",
    "push",
    "verify",
]

SORTS: Final = ("created", "name", "size")
"""What `list` can sort by: newest first, by tag, largest first."""


class NewModel:
    """A model that is being made by `create`.

    Attributes:
        path: an empty directory; what is in it when the block ends becomes the model.
        custom_objects: Python objects to save with it.
        model: the saved model, once the block has ended; None before.
    """

    def __init__(self, path: Path, custom_objects: Mapping[str, Any]) -> None:
        self.path = path
        self.custom_objects = dict(custom_objects)
        self.model: Model | None = None

    def path_of(self, relative: str) -> Path:
        """A path below the model's directory."""
        return self.path / relative


def get(tag: str | Tag) -> Model:
    """Find a model in the local store, or wherever else this process finds models.

    A model process of a custom Runnable finds those that its runner named in `models`; a gateway with a store service
    finds those of that.

    Args:
        tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix of a version.

    Raises:
        InvalidTag: the tag breaks the grammar.
        ModelNotFound: it does not exist; the message has near names.
    """
    return current_resolver().get(tag)


def list(
    tag: str | Tag | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    module: str | None = None,
    sort: str = "created",
    limit: int | None = None,
    hidden: bool = False,
) -> builtins.list[Model]:
    """List the models of the local store.

    Args:
        tag: only this name, or with a version only what it resolves to.
        labels: only models that have all of these.
        module: only models that this framework module saved, for example `vtsserving.sklearn` or just `sklearn`.
        sort: one of SORTS.
        limit: at most so many.
        hidden: packed runners, too.

    Raises:
        InvalidArgument: `sort` or `limit` is impossible.
        ModelNotFound: the tag has a version that does not exist.
    """
    if sort not in SORTS:
        raise InvalidArgument(f"sort is one of {', '.join(SORTS)}, not {sort!r:.80}")
    if limit is not None and (not isinstance(limit, int) or limit < 0):
        raise InvalidArgument(f"limit is a number from 0, not {limit!r:.80}")
    enough = limit if sort == "created" and not labels and not module else None
    found: Iterator[Model] = iter(_candidates(tag, enough, hidden))
    if labels:
        found = (model for model in found if labels.items() <= model.info.labels.items())
    if module:
        found = (model for model in found if model.info.module in (module, f"vtsserving.{module}"))
    if sort == "name":
        found = iter(sorted(found, key=lambda model: (model.tag.name, str(model.tag.version))))
    elif sort == "size":
        found = iter(sorted(found, key=lambda model: -model.size_bytes))
    if limit is None:
        return builtins.list(found)
    return [model for model, _ in zip(found, range(limit), strict=False)]


def delete(tag: str | Tag, *, force: bool = False) -> Tag:
    """Delete one version from the local store.

    Args:
        tag: with a version: exact, `latest`, an alias or a unique prefix.
        force: delete it although aliases point to it; they are removed.

    Returns:
        The exact tag that is gone.

    Raises:
        InvalidTag: the tag has no version.
        ModelNotFound: it does not exist.
        Conflict: an alias points to it.
    """
    return LocalStore().delete(tag, force=force)


def alias(tag: str | Tag, name: str) -> Tag:
    """Let an alias point to a version, whether or not it exists already.

    Args:
        tag: anything that `get` accepts.
        name: the alias, usable wherever a version is.

    Returns:
        The exact tag that it points to now.
    """
    return LocalStore().set_alias(tag, name)


def configure(tag: str | Tag, *, reset: Iterable[str] = (), **changes: Any) -> dict[str, Any]:
    """Change options of a saved model in the local store; whoever serves it takes them up without a restart.

    Limits hold from the next requests on, a few seconds later at most; threads, replicas and device when the model is
    loaded next.

    Args:
        tag: a name, for all its versions, or anything with a version that `get` accepts, for that one.
        reset: options that are to be the model's own again; `["all"]` resets every one.
        changes: option to value, such as `max_batch_size=64`; see ModelOptions.

    Returns:
        The options that are changed now, of the version, or of the name if the tag has no version.

    Raises:
        InvalidArgument: an option is unknown, or its value impossible.
        ModelNotFound: there is no such model.
    """
    store = LocalStore()
    exact = store.configure(tag, changes, reset)
    history = store.settings_history(exact.name)
    if not history:
        return {}
    return of_version(history[-1].value, exact.version) if exact.version else history[-1].value["options"]


def verify(tag: str | Tag) -> None:
    """Compare a model's files with the digests that were recorded when it was saved.

    Raises:
        IntegrityError: a file is damaged, missing or unknown; the message names it.
    """
    LocalStore().verify(LocalStore().resolve(tag))


@contextlib.contextmanager
def create(
    name: str | Tag,
    *,
    module: str = "",
    signatures: Mapping[str, Mapping[str, Any] | ModelSignature] | None = None,
    labels: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    custom_objects: Mapping[str, Any] | None = None,
    external_modules: Sequence[ModuleType] = (),
    options: ModelOptions | Mapping[str, Any] | None = None,
    context: ModelContext | None = None,
    description: str | None = None,
) -> Iterator[NewModel]:
    """Save a model with files of your own layout.

    Args:
        name: `name` or `name:version`.
        module: the framework module that can load it, if one can.
        signatures: method name to how it may be called.
        labels: as for `save_model`.
        metadata: as for `save_model`.
        custom_objects: as for `save_model`; the block may add more.
        external_modules: as for `save_model`.
        options: as for `save_model`.
        context: the environment, where it is not this process's.
        description: as for `save_model`.

    Yields:
        An object with the directory to fill; if the block raises, nothing is saved.

    Example:
        >>> with vtsserving.models.create("my_model") as new:
        ...     new.path_of("weights.bin").write_bytes(weights)
        >>> print(new.model)
    """
    from vtsserving._model.draft import Draft
    from vtsserving._model.metadata import plain_labels, plain_metadata
    from vtsserving._model.signature import read_signatures
    from vtsserving._saving import framework
    from vtsserving._saving.custom_objects import write_custom_objects
    from vtsserving._saving.description import check_description

    text = check_description(description)
    check_not_hidden(Tag.parse(name))
    draft = Draft(
        tag=Tag.parse(name),
        module=module,
        context=context or framework.context(),
        labels=plain_labels(labels),
        options=ModelOptions.from_dict(options or {}),
        metadata=plain_metadata(metadata),
        signatures=read_signatures(signatures or {}),
        extra={"runs_code": True, **({"description": text} if text else {})},
    )
    store = LocalStore()
    with store.staging() as staged:
        new = NewModel(staged, custom_objects or {})
        yield new
        more = write_custom_objects(staged, new.custom_objects, external_modules)
        new.model = store.save(staged, dataclasses.replace(draft, extra={**draft.extra, **more}))


def export_model(tag: str | Tag, path: str | Path, **options: Any) -> str:
    """Write a model into an archive file or folder, here or at a URL.

    Args:
        tag: anything that `get` accepts.
        path: a file name, a directory, or a URL such as `s3://bucket/prefix/`.
        options: see `vtsserving._archive.export_model`.

    Returns:
        Where it was written.
    """
    from vtsserving import _archive

    return str(_archive.export_model(tag, path, **options))


def import_model(path: str | Path, **options: Any) -> Model:
    """Take a model in from an archive file or folder, here or at a URL.

    Args:
        path: what `export_model` wrote.
        options: see `vtsserving._archive.import_model`.

    Returns:
        The model, in the local store.
    """
    from vtsserving import _archive

    model: Model = _archive.import_model(path, **options)
    return model


@overload
def push(tag: str | Tag, **options: Any) -> Model: ...
@overload
def push(tag: Iterable[str | Tag], **options: Any) -> builtins.list[Model]: ...
def push(tag: str | Tag | Iterable[str | Tag], **options: Any) -> Model | builtins.list[Model]:
    """Send a model, or several, to the store service.

    Args:
        tag: anything that `get` accepts; or several of these, which are sent in this order until one fails. Pushing
            them again sends only what is not there.
        options: see `vtsserving._store_client.transfer.push`.

    Returns:
        The model; of several, the list of them.
    """
    from vtsserving._store_client import transfer

    if isinstance(tag, (str, Tag)):
        return transfer.push(tag, **options)
    return [transfer.push(one, **options) for one in tag]


@overload
def pull(tag: str | Tag, **options: Any) -> Model: ...
@overload
def pull(tag: Iterable[str | Tag], **options: Any) -> builtins.list[Model]: ...
def pull(tag: str | Tag | Iterable[str | Tag], **options: Any) -> Model | builtins.list[Model]:
    """Fetch a model, or several, from the store service.

    Args:
        tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix, resolved by the service; or
            several of these, which are fetched in this order until one fails. Pulling them again fetches only what is
            not here.
        options: see `vtsserving._store_client.transfer.pull`.

    Returns:
        The model in the local store; of several, the list of them.
    """
    from vtsserving._store_client import transfer

    if isinstance(tag, (str, Tag)):
        return transfer.pull(tag, **options)
    return [transfer.pull(one, **options) for one in tag]


def _candidates(tag: str | Tag | None, limit: int | None, hidden: bool) -> builtins.list[Model]:
    if tag is None:
        return LocalStore().list(limit=limit, hidden=hidden)
    wanted = Tag.parse(tag)
    if wanted.version is None:
        return LocalStore().list(wanted.name, limit=limit)
    return [current_resolver().get(wanted)]
