"""One stored version: its manifest, its info and who pushed it, sealed with a digest of its own.

The object under `models/<name>/<version>` is a line with the sha256 of the rest, then JSON. It is written once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from vtsserving._model.manifest import Manifest
from vtsserving._record_format import check_format
from vtsserving.exceptions import IntegrityError
from vtsserving_store.registry.records import now

MAX_VERSION_BYTES: Final = 24 << 20
_SEAL_CHARS: Final = 64


class Summary(NamedTuple):
    """A version as listings show it; they sort oldest first."""

    creation_time: str
    version: str
    name: str
    digest: str
    size_bytes: int
    module: str
    labels: tuple[tuple[str, str], ...]
    description: str
    ordinal: int
    runs_code: bool
    pushed_at: str

    @property
    def tag(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"

    def to_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        return {**self._asdict(), "tag": self.tag, "labels": dict(self.labels)}


@dataclass(frozen=True)
class VersionRecord:
    """A stored version.

    Attributes:
        manifest: what was committed; its digest is the model's identity.
        info: the values of model.yaml, as JSON can express them.
        pushed_at: when it was committed, ISO 8601, UTC.
        pushed_by: the token's name, or empty.
    """

    manifest: Manifest
    info: dict[str, Any]
    pushed_at: str
    pushed_by: str

    @classmethod
    def new(cls, manifest: Manifest, info: dict[str, Any], *, by: str) -> VersionRecord:
        """A version that is being committed now."""
        return cls(manifest, info, now(), by)

    @cached_property
    def digest(self) -> str:
        """Digest of the manifest."""
        return self.manifest.digest

    def blob_digests(self) -> list[str]:
        """Digests of its files, each once."""
        return list(dict.fromkeys(f"sha256:{entry.sha256}" for entry in self.manifest.files))

    def summary(self) -> Summary:
        """What listings show of it."""
        extra = self.manifest.extra
        ordinal = extra.get("ordinal", 0)
        return Summary(
            creation_time=self.manifest.creation_time,
            version=self.manifest.version,
            name=self.manifest.name,
            digest=self.digest,
            size_bytes=self.manifest.size_bytes,
            module=str(self.info.get("module", "")),
            labels=tuple(sorted((str(k), str(v)) for k, v in self.info.get("labels", {}).items())),
            description=str(extra.get("description", "")),
            ordinal=ordinal if isinstance(ordinal, int) else 0,
            runs_code=bool(extra.get("runs_code", True)),
            pushed_at=self.pushed_at,
        )

    def to_bytes(self) -> bytes:
        """The object to store; different for every commit, so that a writer knows its own."""
        body = json.dumps(
            {
                "manifest": self.manifest.to_bytes().decode(),
                "info": self.info,
                "pushed_at": self.pushed_at,
                "pushed_by": self.pushed_by,
                "nonce": secrets.token_hex(8),
            },
            sort_keys=True,
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
        return hashlib.sha256(body).hexdigest().encode() + b"\n" + body

    @classmethod
    def from_bytes(cls, stored: bytes, name: str, version: str) -> VersionRecord:
        """Read a stored object.

        Raises:
            IntegrityError: it was altered, or lies under another version's key.
            NewerFormat: a later release wrote it.
        """
        seal, body = stored[:_SEAL_CHARS], stored[_SEAL_CHARS + 1 :]
        if seal != hashlib.sha256(body).hexdigest().encode():
            raise IntegrityError(
                f"the store's record of {name}:{version} is damaged; `vtsserving store fsck` says more"
            )
        fields = json.loads(body)
        check_format(fields, f"the store's record of {name}:{version}")
        manifest = Manifest.from_bytes(fields["manifest"].encode())
        if (manifest.name, manifest.version) != (name, version):
            raise IntegrityError(f"the store's record of {name}:{version} describes {manifest.tag}")
        return cls(manifest, fields["info"], fields["pushed_at"], fields["pushed_by"])
