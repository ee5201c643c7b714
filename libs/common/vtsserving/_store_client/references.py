"""Models of a store service as a gateway needs them: everything that is recorded about them, and none of their files.

A Service is imported by gateways, and says `vtsserving.sklearn.get("iris_clf:latest").to_runner()`. Where models are
in a store service, that is where this finds them; the files are fetched by the runners that compute.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from vtsserving._local_store.model import Model
from vtsserving._model.info import DOCUMENT
from vtsserving._model.manifest import MANIFEST_FILE, MODEL_FILE
from vtsserving._model.tag import Tag
from vtsserving._store_client.answers import RemoteVersion
from vtsserving._store_client.client import RegistryClient


class ReferenceModels:
    """Finds models of one store service by what is recorded there; a ModelResolver."""

    def __init__(self, url: str, token: str = "") -> None:
        """Prepare; nothing is sent yet.

        Args:
            url: of the store.
            token: where the store needs one.

        Raises:
            ConfigurationError: the URL is malformed.
        """
        self._client = RegistryClient(url, token)
        self._folder = Path(tempfile.mkdtemp(prefix="vtsserving-models-"))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)

    def get(self, tag: str | Tag) -> Model:
        """Find the model that a tag names in the store now.

        Raises:
            InvalidTag: the tag breaks the grammar.
            ModelNotFound, VersionNotFound: there is none.
            StoreUnavailable: the store does not answer.
        """
        remote = self._client.version(Tag.parse(tag))
        path = self._folder / remote.digest.removeprefix("sha256:")
        if not path.is_dir():
            path.mkdir()
            self._write(remote, path)
        return Model(remote.tag, path)

    def _write(self, remote: RemoteVersion, path: Path) -> None:
        manifest = remote.manifest
        (path / MANIFEST_FILE).write_bytes(manifest.to_bytes())
        entry = manifest.entry(MODEL_FILE)
        if entry is not None and DOCUMENT not in manifest.extra:
            content = self._client.download(f"sha256:{entry.sha256}", entry.size)
            (path / MODEL_FILE).write_bytes(b"".join(content))
