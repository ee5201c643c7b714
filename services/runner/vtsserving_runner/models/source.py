"""Where a runner gets the files of a model from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from vtsserving._local_store.store import LocalStore
from vtsserving._model.settings import merge
from vtsserving._model.tag import Tag
from vtsserving.exceptions import VersionNotFound


class ModelSource(Protocol):
    """Fetches models."""

    def fetch(self, name: str, version: str, digest: str) -> Path:
        """The directory of a model; may block, and is called in threads.

        Args:
            name: of the model.
            version: exact.
            digest: of its manifest, `sha256:` and 64 hex digits.

        Returns:
            A directory that nobody changes while the runner uses it.

        Raises:
            VtsServingException: there is no such model, or it cannot be had now.
        """

    def settings(self, name: str, version: str) -> Mapping[str, Any]:
        """Options of a model that were changed since it was saved; may block.

        Raises:
            VtsServingException: they cannot be had now.
        """

    def release(self, digest: str) -> None:
        """Say that the runner does not use a model any more; must not block."""


class LocalSource:
    """Models of the local store, used in place."""

    def __init__(
        self, store: LocalStore, runner_options: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Fetch from `store`.

        Args:
            store: the local store.
            runner_options: exact tag to options that runners were given in code; changed ones win over them.
        """
        self._store = store
        self._runner_options = runner_options or {}

    def fetch(self, name: str, version: str, digest: str) -> Path:
        """See ModelSource.fetch."""
        model = self._store.get(Tag(name, version))
        if model.digest != digest:
            raise VersionNotFound(f"the local store has another {model.tag}, with other content")
        return model.path

    def settings(self, name: str, version: str) -> Mapping[str, Any]:
        """See ModelSource.settings."""
        given = self._runner_options.get(f"{name}:{version}", {})
        return merge(given, self._store.settings(Tag(name, version)))

    def release(self, digest: str) -> None:
        """See ModelSource.release; models of the local store stay where they are."""
