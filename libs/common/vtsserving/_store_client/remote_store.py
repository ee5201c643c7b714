"""`vtsserving.Store`: the models of a store service, managed as those on this machine are."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from vtsserving._aliases import stable
from vtsserving._local_store.model import Model
from vtsserving._model.settings import of_version
from vtsserving._model.tag import Tag, check_alias, is_hidden
from vtsserving._store_client import transfer
from vtsserving._store_client.answers import RemoteVersion
from vtsserving._store_client.contexts import connect
from vtsserving.exceptions import InvalidTag


@dataclass(frozen=True)
class RemoteModel:
    """A version in a list.

    Attributes:
        tag: exact.
        module: the framework module that saved it.
        size_bytes: of all files together.
        creation_time: when it was saved, UTC.
        labels: as last edited in the store.
        digest: of its manifest: its identity.
        pushed_at: when it was pushed, ISO 8601.
    """

    tag: Tag
    module: str
    size_bytes: int
    creation_time: datetime
    labels: Mapping[str, str]
    digest: str
    pushed_at: str

    def __repr__(self) -> str:
        return f'Model(tag="{self.tag}")'

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> RemoteModel:
        """Read a summary of the store's API."""
        return cls(
            Tag(summary["name"], summary["version"]),
            summary["module"],
            summary["size_bytes"],
            datetime.fromisoformat(summary["creation_time"]),
            dict(summary["labels"]),
            summary["digest"],
            summary["pushed_at"],
        )


@stable
class Store:
    """A store service.

    Example:
        >>> with vtsserving.Store("http://127.0.0.1:3001") as store:
        ...     store.set_alias("iris_clf:latest", "production")
    """

    def __init__(self, url: str | None = None, *, token: str | None = None) -> None:
        """Prepare it; nothing is sent yet.

        Args:
            url: by default VTSSERVING_STORE_URL, the login, or this machine.
            token: by default VTSSERVING_STORE_TOKEN or the login's.

        Raises:
            ConfigurationError: the URL is malformed.
        """
        self._client = connect(url, token)
        self._token = token

    @property
    def url(self) -> str:
        """Its address."""
        return self._client.url

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    # --- reading ------------------------------------------------------------------------------------------------

    def list(
        self,
        name: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        module: str | None = None,
        search: str = "",
        hidden: bool = False,
    ) -> builtins.list[RemoteModel]:
        """Versions, newest first.

        Args:
            name: only those of this name; none is not an error.
            labels: only those with all of these labels.
            module: only those of this framework module, `vtsserving.sklearn` or just `sklearn`.
            search: only those with this in their name or description.
            hidden: packed runners, too; they are always shown by their name.
        """
        filters: dict[str, Any] = {"label": [f"{k}={v}" for k, v in (labels or {}).items()]}
        filters.update({"q": search} if search else {"q": Tag(name).name} if name else {})
        if module:
            filters["module"] = module
        if hidden or (name and is_hidden(name)):
            filters["hidden"] = True
        found = [RemoteModel.of(summary) for summary in self._client.versions(**filters)]
        wanted = Tag(name).name if name else None
        fitting = [model for model in found if wanted is None or model.tag.name == wanted]
        return sorted(fitting, key=lambda m: (m.creation_time, str(m.tag.version)), reverse=True)

    def get(self, tag: str | Tag) -> RemoteVersion:
        """Find a version.

        Args:
            tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix.

        Raises:
            ModelNotFound: there is none.
        """
        return self._client.version(tag)

    def aliases(self, name: str) -> dict[str, str]:
        """Alias to exact version of one name."""
        found: dict[str, str] = self._client.name(Tag(name).name)["aliases"]
        return found

    def alias_history(self, name: str, alias: str) -> builtins.list[dict[str, Any]]:
        """Where an alias pointed, newest first: `version` (None: removed), `at`, `by`."""
        return self._client.alias_history(Tag(name).name, check_alias(alias))

    # --- changing -----------------------------------------------------------------------------------------------

    def delete(self, tag: str | Tag, *, force: bool = False) -> Tag:
        """Delete one version.

        Args:
            tag: with a version: exact, `latest`, an alias or a unique prefix.
            force: delete it although aliases point to it; they are removed.

        Returns:
            The exact tag that is gone.

        Raises:
            InvalidTag: the tag has no version.
            InUse: an alias points to it.
        """
        wanted = Tag.parse(tag)
        if wanted.version is None:
            raise InvalidTag(f"say which version to delete, for example {wanted.name}:latest")
        exact = self._client.version(wanted).tag
        self._client.delete(exact, force=force)
        return exact

    def set_alias(self, tag: str | Tag, alias: str) -> Tag:
        """Let an alias point to a version; returns the exact tag."""
        return self._client.set_alias(Tag.parse(tag), check_alias(alias))

    def remove_alias(self, name: str, alias: str) -> None:
        """Remove an alias; its history stays."""
        self._client.remove_alias(Tag(name).name, check_alias(alias))

    def set_labels(self, tag: str | Tag, changes: Mapping[str, str | None]) -> dict[str, str]:
        """Set labels (None removes one); the model itself does not change.

        Returns:
            The labels that count now.
        """
        return self._client.edit_labels(Tag.parse(tag), changes)

    def configure(self, tag: str | Tag, *, reset: Iterable[str] = (), **changes: Any) -> dict[str, Any]:
        """Change options of a model; arguments as those of `vtsserving.models.configure`.

        Returns:
            The options that are changed now, of the version, or of the name if the tag has no version.
        """
        wanted = Tag.parse(tag)
        exact = self._client.version(wanted).tag
        version = None if wanted.version is None else exact.version
        record = self._client.configure(exact.name, version, changes, reset)
        return of_version(record, str(version)) if version else dict(record["options"])

    def settings_history(self, name: str) -> builtins.list[dict[str, Any]]:
        """All changes of a name's options, newest first: `settings`, `at`, `by`."""
        return self._client.settings_history(Tag(name).name)

    def old(
        self, name: str, *, keep: int = 0, newer_than: datetime | None = None
    ) -> builtins.list[RemoteModel]:
        """Versions that `prune` would delete: neither among the newest, nor young, nor with an alias.

        Args:
            name: of the model.
            keep: how many of the newest stay.
            newer_than: those created since then stay.
        """
        aliased = set(self.aliases(name).values())
        oldest = newer_than or datetime.max.replace(tzinfo=timezone.utc)
        return [
            model
            for model in self.list(name)[keep:]
            if model.tag.version not in aliased and model.creation_time < oldest
        ]

    # --- transfers ----------------------------------------------------------------------------------------------

    def push(self, tag: str | Tag, **options: Any) -> Model:
        """Send a model here; options as those of `vtsserving.models.push`."""
        return transfer.push(tag, store_url=self.url, token=self._token, **options)

    def pull(self, tag: str | Tag, **options: Any) -> Model:
        """Fetch a model from here; options as those of `vtsserving.models.pull`."""
        return transfer.pull(tag, store_url=self.url, token=self._token, **options)
