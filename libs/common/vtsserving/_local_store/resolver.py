"""Finding a model by its tag, wherever this process finds models: by default in the local store.

Two kinds of processes find them elsewhere, which their entries choose once: a model process that was given models with
the class that it runs (`InjectedModels`), and a gateway whose models are in a store service (`ReferenceModels`).
"""

from __future__ import annotations

from typing import Protocol

from vtsserving._aliases import stable
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.tag import Tag
from vtsserving.exceptions import ModelNotFound


class ModelResolver(Protocol):
    """Finds models by tag; `LocalStore` is one. Called from any thread."""

    def get(self, tag: str | Tag) -> Model:
        """Find a model.

        Args:
            tag: `name`, or `name:` with an exact version, `latest`, an alias or a unique prefix of a version.

        Raises:
            InvalidTag: the tag breaks the grammar.
            ModelNotFound: there is no such name.
            VersionNotFound: there is no such version.
        """


# One for the whole process, not a ContextVar: a thread that a model or a Service starts has an empty context, and would
# look in the local store instead.
_chosen: ModelResolver | None = None


def use_resolver(resolver: ModelResolver | None) -> None:
    """Choose where this process finds models from now on, in all of its threads; for the entry of a process.

    Args:
        resolver: finds them; None is the local store again.
    """
    global _chosen  # noqa: PLW0603  one for the process, set at its entry
    _chosen = resolver


def current_resolver() -> ModelResolver:
    """Return what finds models in this process: the local store, unless `use_resolver` chose something else."""
    # A new store each time, because its root follows VTSSERVING_HOME.
    return _chosen if _chosen is not None else LocalStore()


@stable
def restore(tag: str, digest: str) -> Model:
    """Find a model that was pickled as a reference; pickles name this function.

    Args:
        tag: exact.
        digest: of its manifest, `sha256:` and 64 hexadecimal digits.

    Raises:
        ModelNotFound: it is not here, or it has other content.
    """
    model = current_resolver().get(tag)
    if model.digest != digest:
        raise ModelNotFound(f"{tag} is here with other content than when the class was packed")
    return model
