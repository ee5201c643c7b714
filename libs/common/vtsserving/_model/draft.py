"""A model that is about to be saved: everything but its version and time, which the store assigns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vtsserving._model.info import ModelContext, ModelInfo
from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import ModelSignature
from vtsserving._model.tag import Tag


@dataclass(frozen=True)
class Draft:
    """What a caller says about a new model; the fields are those of ModelInfo.

    Attributes:
        tag: the name, with a version if the caller chose one.
        module: the framework module that can load it.
        context: the environment in which it was made.
        labels: text to text, checked.
        options: how it wants to be served.
        metadata: plain values, checked.
        signatures: callable method to how it may be called.
        extra: for the manifest; JSON values.
    """

    tag: Tag
    module: str
    context: ModelContext
    labels: Mapping[str, str] = field(default_factory=dict)
    options: ModelOptions = field(default_factory=ModelOptions)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    signatures: Mapping[str, ModelSignature] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def info(self, version: str, creation_time: datetime) -> ModelInfo:
        """The finished record.

        Args:
            version: exact.
            creation_time: UTC.
        """
        return ModelInfo(
            tag=Tag(self.tag.name, version),
            module=self.module,
            creation_time=creation_time,
            labels=self.labels,
            options=self.options,
            metadata=self.metadata,
            context=self.context,
            signatures=self.signatures,
            raw_options=self.options.to_dict(),
            extra=self.extra,
        )
