"""A saved model: where it is, and what is known about it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtsserving._aliases import stable
from vtsserving._model import yaml_file
from vtsserving._model.info import DOCUMENT, ModelInfo, pack_document, read_time, unpack_document
from vtsserving._model.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, MODEL_FILE, Manifest
from vtsserving._model.tag import Tag
from vtsserving.exceptions import (
    IntegrityError,
    StorageError,
    VersionNotFound,
    VtsServingException,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vtsserving._model.options import ModelOptions
    from vtsserving.runner.runner import Runner


@stable
class Model:
    """A model in a store on this machine.

    It is also the facade of the SDK: `custom_objects`, `load_model`, `to_runner` and pickling call packages that stand
    above this one. They are imported when they are used, so that no import goes round in a circle.

    Attributes:
        tag: name and exact version.
        path: the directory with its files; not to be written to.
    """

    def __init__(self, tag: Tag, path: Path) -> None:
        self.tag = tag
        self.path = path

    @classmethod
    def staged(cls, path: Path) -> Model:
        """Look at a complete model in a directory outside of a store.

        Args:
            path: holds model.yaml and manifest.json.

        Raises:
            IntegrityError: they are damaged or do not belong together.
        """
        unnamed = cls(Tag("unnamed"), path)
        model = cls(Manifest.from_bytes(unnamed._manifest_bytes).tag, path)
        document = model._read_yaml()
        packed = model.manifest.extra.get(DOCUMENT)
        if packed is not None and packed != pack_document(document):
            raise IntegrityError(f"{model.tag}: its {MODEL_FILE} does not say what its manifest says")
        if model.info.creation_time != read_time(model.manifest.creation_time):
            raise IntegrityError(f"{model.tag}: its {MODEL_FILE} has another creation time than its manifest")
        return model

    def __repr__(self) -> str:
        return f'Model(tag="{self.tag}")'

    def __reduce__(self) -> tuple[Any, ...]:
        # As a reference: where it is unpickled, the model lies elsewhere, or nowhere.
        from vtsserving._local_store.resolver import restore

        return restore, (str(self.tag), self.digest)

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, _: object) -> Model:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and (self.tag, self.path) == (other.tag, other.path)

    def __hash__(self) -> int:
        return hash((self.tag, self.path))

    @cached_property
    def manifest(self) -> Manifest:
        """The list of its files.

        Raises:
            IntegrityError: manifest.json is damaged or belongs to another model.
        """
        manifest = Manifest.from_stored(self._manifest_bytes)
        if manifest.tag != self.tag:
            raise IntegrityError(f"{self.tag}: its manifest says that it is {manifest.tag}")
        return manifest

    @cached_property
    def _manifest_bytes(self) -> bytes:
        return self._read(MANIFEST_FILE, MAX_MANIFEST_BYTES)

    @cached_property
    def digest(self) -> str:
        """`sha256:` and the digest of its manifest: its identity."""
        return "sha256:" + hashlib.sha256(self._manifest_bytes).hexdigest()

    @cached_property
    def info(self) -> ModelInfo:
        """Everything that is recorded about it.

        Raises:
            IntegrityError: the manifest or model.yaml is damaged.
        """
        packed = self.manifest.extra.get(DOCUMENT)
        document = unpack_document(packed) if isinstance(packed, str) else self._read_yaml()
        info = ModelInfo.from_dict(document, self.manifest.extra)
        if info.tag != self.tag:
            raise IntegrityError(f"{self.tag}: its {MODEL_FILE} says that it is {info.tag}")
        return info

    def _read_yaml(self) -> dict[str, Any]:
        raw = self._read(MODEL_FILE, yaml_file.MAX_YAML_BYTES)
        entry = self.manifest.entry(MODEL_FILE)
        if entry is None or entry.sha256 != hashlib.sha256(raw).hexdigest():
            raise IntegrityError(
                f"{self.tag}: the file {MODEL_FILE!r} is damaged: it does not match the manifest"
            )
        return yaml_file.parse(raw)

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files together, the manifest apart."""
        return self.manifest.size_bytes

    @property
    def creation_time(self) -> datetime:
        """When it was saved, UTC."""
        return read_time(self.manifest.creation_time)

    @cached_property
    def custom_objects(self) -> dict[str, Any]:
        """The Python objects that were saved with it; loading them runs their author's code.

        Raises:
            IntegrityError: a file is damaged.
            PythonVersionMismatch: they carry code of another Python version.
            ModelLoadFailed: an object cannot be loaded here.
        """
        from vtsserving._saving.custom_objects import load_custom_objects

        return load_custom_objects(self)

    def path_of(self, relative: str) -> Path:
        """The path of one of its files.

        Args:
            relative: the file's path below the model's directory.
        """
        return self.path / relative

    def load_model(self, **options: Any) -> Any:
        """Load the model object with the framework module that saved it.

        Args:
            options: that module's own load options.
        """
        from vtsserving._saving.framework import load_model

        return load_model(self, **options)

    def to_runner(
        self,
        name: str | None = None,
        *,
        max_batch_size: int | None = None,
        max_latency_ms: float | None = None,
        method_configs: Mapping[str, Mapping[str, Any]] | None = None,
        options: ModelOptions | Mapping[str, Any] | None = None,
    ) -> Runner:
        """Create a handle on which the model's signatures can be called.

        Args:
            name: the runner's name; the model's by default.
            max_batch_size: most rows in one call.
            max_latency_ms: a call that is not answered within this time is refused as overload, milliseconds.
            method_configs: method to limits of its own, such as `{"predict": {"max_batch_size": 8}}`.
            options: override the model's own, one by one; see ModelOptions.

        Raises:
            InvalidArgument: an option is impossible.
        """
        from vtsserving.runner.runner import Runner

        return Runner.of_model(
            self,
            name=name,
            max_batch_size=max_batch_size,
            max_latency_ms=max_latency_ms,
            method_configs=method_configs,
            options=options,
        )

    def verify(self) -> None:
        """Compare every file with the manifest.

        Raises:
            IntegrityError: one is damaged, missing or unknown; the message names it.
            VersionNotFound: the model was deleted meanwhile.
        """
        manifest = self.manifest
        try:
            manifest.check(self.path)
        except OSError as error:
            raise self._unreadable(str(error.filename), error) from error

    def _unreadable(self, name: str, error: OSError) -> VtsServingException:
        if not self.path.is_dir():
            return VersionNotFound(f"{self.tag} is not there any more: it was deleted while it was read")
        if isinstance(error, FileNotFoundError):
            return IntegrityError(f"{self.tag}: the file {name!r} is missing")
        return StorageError(f"{self.tag}: {name} cannot be read: {error.strerror}")

    def _read(self, name: str, limit_bytes: int) -> bytes:
        try:
            # Unbuffered: an open file object costs more than the read, and a store may hold thousands of models.
            with open(f"{self.path}/{name}", "rb", buffering=0) as file:
                raw = file.readall() if file.seek(0, 2) <= limit_bytes and file.seek(0) == 0 else None
        except OSError as error:
            raise self._unreadable(name, error) from error
        if raw is None:
            raise IntegrityError(f"{self.tag}: the file {name!r} has more than {limit_bytes} bytes")
        return raw
