"""What is recorded about a model: the content of model.yaml, and of the manifest's `extra`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from vtsserving._aliases import stable
from vtsserving._model import yaml_file
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_record import CONTRACT, read_contracts
from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import ModelSignature, read_signatures
from vtsserving._model.tag import Tag
from vtsserving._record_format import API_VERSION
from vtsserving.exceptions import IntegrityError, InvalidArgument

DOCUMENT: Final = "document"
"""The key of the manifest's `extra` with model.yaml's values as JSON text, where JSON can express them: reading that is
ten times faster than reading YAML, which counts when thousands of models are listed. Text, because it keeps the order
of keys, which a canonical manifest does not."""


@stable
@dataclass(frozen=True)
class ModelContext:
    """The environment in which a model was saved.

    Attributes:
        framework_name: short name, for example `sklearn`.
        framework_versions: distribution name to version, as pip knows them.
        vtsserving_version: of this package.
        python_version: for example `3.11.7`.
    """

    framework_name: str = ""
    framework_versions: Mapping[str, str] = field(default_factory=dict)
    vtsserving_version: str = ""
    python_version: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The context as model.yaml has it."""
        return {
            "framework_name": self.framework_name,
            "framework_versions": dict(self.framework_versions),
            "vtsserving_version": self.vtsserving_version,
            "python_version": self.python_version,
        }


@stable
@dataclass(frozen=True)
class ModelInfo:
    """Everything that is recorded about a model.

    Attributes:
        tag: name and exact version.
        module: the framework module that saved it, for example `vtsserving.sklearn`.
        creation_time: when it was saved, UTC.
        labels: the user's, text to text.
        options: how it wants to be served.
        metadata: the user's, plain values.
        context: the environment in which it was saved.
        signatures: callable method to how it may be called.
        raw_options: the options as model.yaml has them, those of framework modules included.
        api_version: of model.yaml's format.
        extra: what the manifest records beside model.yaml.
    """

    tag: Tag
    module: str
    creation_time: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    options: ModelOptions = field(default_factory=ModelOptions)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    context: ModelContext = field(default_factory=ModelContext)
    signatures: Mapping[str, ModelSignature] = field(default_factory=dict)
    raw_options: Mapping[str, Any] = field(default_factory=dict)
    api_version: str = API_VERSION
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.tag.name

    @property
    def version(self) -> str:
        """The model's exact version."""
        return self.tag.version or ""

    @property
    def contracts(self) -> Mapping[str, MethodContract]:
        """Callable method to its contract; of models that 0.1 saved, the rule of 0.1.

        Raises:
            NewerFormat: a later release wrote it.
            IntegrityError: it is damaged.
        """
        return read_contracts(self.extra.get(CONTRACT), self.signatures, str(self.tag))

    @property
    def input_specs(self) -> Mapping[str, Any]:
        """Method to `{"args": [{"name", "dtype", "shape"}, ...]}`; a dimension of -1 varies."""
        specs = self.extra.get("input_specs")
        return specs if isinstance(specs, dict) else {}

    @property
    def output_specs(self) -> Mapping[str, Any]:
        """Method to the spec of what it returns, where it was recorded."""
        specs = self.extra.get("output_specs")
        return specs if isinstance(specs, dict) else {}

    @property
    def input_example(self) -> list[Any]:
        """The arguments of one call as JSON values, if an example was given and is short."""
        example = self.extra.get("input_example")
        return example if isinstance(example, list) else []

    @property
    def runs_code(self) -> bool:
        """Whether loading the model runs its author's code; assumed where it was not recorded."""
        return bool(self.extra.get("runs_code", True))

    @property
    def description(self) -> str:
        """What the author wrote about it."""
        return str(self.extra.get("description", ""))

    @property
    def ordinal(self) -> int:
        """The version's number among those of its name, from 1; 0 where none was recorded."""
        ordinal = self.extra.get("ordinal", 0)
        return ordinal if isinstance(ordinal, int) else 0

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> ModelInfo:
        """Build it from the values of a model.yaml.

        Args:
            document: the parsed model.yaml, or the JSON form of it.
            extra: the manifest's `extra`.

        Raises:
            IntegrityError: a value has the wrong type.
            NewerFormat: a later release wrote it.
        """
        yaml_file.check_version(document)
        try:
            options = document["options"]
            return cls(
                tag=Tag(str(document["name"]), str(document["version"])),
                module=str(document["module"]),
                creation_time=read_time(document["creation_time"]),
                labels={str(key): str(value) for key, value in document["labels"].items()},
                options=ModelOptions.from_dict(options, strict=False),
                metadata=dict(document["metadata"]),
                context=_context(document["context"]),
                signatures=read_signatures(document["signatures"]),
                raw_options=dict(options),
                api_version=str(document["api_version"]),
                extra={key: value for key, value in (extra or {}).items() if key != DOCUMENT},
            )
        except (KeyError, TypeError, ValueError, AttributeError, InvalidArgument) as error:
            raise IntegrityError(f"model.yaml has a value that cannot be read: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The values of model.yaml, in its order; datetimes in metadata stay datetimes."""
        return {
            "name": self.name,
            "version": self.version,
            "module": self.module,
            "labels": dict(self.labels),
            "options": dict(self.raw_options) or self.options.to_dict(),
            "metadata": dict(self.metadata),
            "context": self.context.to_dict(),
            "signatures": {name: signature.to_dict() for name, signature in self.signatures.items()},
            "api_version": self.api_version,
            "creation_time": write_time(self.creation_time),
        }

    def to_json_dict(self) -> dict[str, Any]:
        """As `to_dict`, with every value one that JSON can express."""
        if not any(_has_dates(value) for value in self.metadata.values()):
            return self.to_dict()
        shown: dict[str, Any] = _json_value(self.to_dict())
        return shown

    def to_yaml(self) -> str:
        """The text of model.yaml."""
        return yaml_file.render(self.to_dict())


def pack_document(document: Mapping[str, Any]) -> str:
    """The values of a model.yaml as JSON text, in their order.

    Raises:
        TypeError: JSON cannot express a value.
    """
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def unpack_document(text: str) -> dict[str, Any]:
    """The reverse of `pack_document`.

    Raises:
        IntegrityError: it is none.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IntegrityError("the manifest's document cannot be read") from error
    if not isinstance(document, dict):
        raise IntegrityError("the manifest's document cannot be read")
    return document


def write_time(moment: datetime) -> str:
    """A UTC moment as model.yaml and the manifest have it: always microseconds and `+00:00`."""
    return moment.isoformat(timespec="microseconds")


def read_time(text: object) -> datetime:
    """The reverse of `write_time`.

    Raises:
        ValueError: the text is no such moment.
    """
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!s:.60} has no zone")
    return moment


def _context(raw: Mapping[str, Any]) -> ModelContext:
    versions = {str(key): str(value) for key, value in raw["framework_versions"].items()}
    return ModelContext(
        str(raw["framework_name"]), versions, str(raw["vtsserving_version"]), str(raw["python_version"])
    )


def _has_dates(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_dates(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_dates(item) for item in value)
    return isinstance(value, date)


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value
