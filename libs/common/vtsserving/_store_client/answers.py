"""What the store service answers, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vtsserving._model.manifest import Manifest
from vtsserving._model.tag import Tag

if TYPE_CHECKING:
    from vtsserving._model.info import ModelInfo


@dataclass(frozen=True, repr=False)
class RemoteVersion:
    """A version in the store service.

    Attributes:
        manifest: its files; verified against the digest.
        document: the values of model.yaml.
        labels: as last edited in the store.
        aliases: that point to it.
        pushed_at: when it was pushed, ISO 8601.
        settings: options that were changed in the store since it was saved.
    """

    manifest: Manifest
    document: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    pushed_at: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(tag="{self.tag}")'

    @property
    def tag(self) -> Tag:
        """The exact tag."""
        return self.manifest.tag

    @property
    def digest(self) -> str:
        """Digest of the manifest: the model's identity."""
        return self.manifest.digest

    @property
    def info(self) -> ModelInfo:
        """Everything that is recorded about it."""
        from vtsserving._model.info import ModelInfo

        return ModelInfo.from_dict(self.document, self.manifest.extra)


@dataclass(frozen=True)
class Lease:
    """A push that has begun; its blobs are safe from garbage collection until `expires_s` are over."""

    id: str
    missing: tuple[str, ...]
    expires_s: float
    part_bytes: int


@dataclass(frozen=True)
class RemoteUpload:
    """An upload in parts; the missing ones are numbered from 1."""

    id: str
    size_bytes: int
    part_bytes: int
    missing: tuple[int, ...]
    direct: bool

    def span(self, number: int) -> tuple[int, int]:
        """Offset and length of a part."""
        start = (number - 1) * self.part_bytes
        return start, min(self.part_bytes, self.size_bytes - start)
