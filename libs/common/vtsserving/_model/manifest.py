"""The list of a model's files, whose digest is the model's identity.

`manifest.json` is canonical JSON (sorted keys, no blanks, UTF-8), so that equal models have equal bytes and the
sha256 of those bytes names the model. It lists every file but itself; `extra` holds what model.yaml does not show;
`self_sha256` is the digest of the manifest without that key, so that a damaged manifest is noticed by itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from vtsserving._model.manifest_files import (
    MANIFEST_FILE,
    MAX_FILES,
    FileEntry,
    check_file,
    check_paths,
    hash_file,
    hash_files,
    walk_files,
)
from vtsserving._model.tag import LATEST, Tag, is_valid_part
from vtsserving._record_format import API_VERSION, check_api_version
from vtsserving.exceptions import IntegrityError

__all__ = [
    "API_VERSION",
    "MANIFEST_FILE",
    "MODEL_FILE",
    "FileEntry",
    "Manifest",
    "canonical_json",
    "check_file",
    "check_paths",
    "hash_file",
    "hash_files",
    "walk_files",
]

MODEL_FILE: Final = "model.yaml"

MAX_MANIFEST_BYTES: Final = 16 * 2**20
MAX_FILE_BYTES: Final = 2**50

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")
_KEYS: Final = {"api_version", "name", "version", "creation_time", "files", "extra", "self_sha256"}
_SELF: Final = re.compile(rb'"self_sha256":"([0-9a-f]{64})",(?="version":"[^"]+"\}\Z)')


@dataclass(frozen=True)
class Manifest:
    """What a model consists of.

    Attributes:
        name: the model's name.
        version: its exact version.
        creation_time: ISO 8601 with microseconds, always `+00:00`, so that it sorts as text.
        files: every file but the manifest itself, sorted by path.
        extra: input specs, whether loading runs code, and the like; JSON values.
    """

    name: str
    version: str
    creation_time: str
    files: tuple[FileEntry, ...]
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def tag(self) -> Tag:
        """The model's exact tag."""
        return Tag(self.name, self.version)

    def _plain(self) -> dict[str, Any]:
        return {
            "api_version": API_VERSION,
            "name": self.name,
            "version": self.version,
            "creation_time": self.creation_time,
            "files": [entry._asdict() for entry in self.files],
            "extra": self.extra,
        }

    @cached_property
    def _bytes(self) -> bytes:
        plain = self._plain()
        checksum = hashlib.sha256(canonical_json(plain)).hexdigest()
        return canonical_json({**plain, "self_sha256": checksum})

    def to_bytes(self) -> bytes:
        """The content of manifest.json."""
        return self._bytes

    @cached_property
    def digest(self) -> str:
        """`sha256:` and the hexadecimal digest of the manifest's bytes: the model's identity."""
        return "sha256:" + hashlib.sha256(self._bytes).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Bytes of all listed files together."""
        return sum(entry.size for entry in self.files)

    @classmethod
    def of(
        cls, directory: Path, *, tag: Tag, creation_time: str, extra: Mapping[str, Any] | None = None
    ) -> Manifest:
        """Build the manifest of a directory by reading its files.

        Args:
            directory: holds the model's files.
            tag: exact.
            creation_time: as in `Manifest.creation_time`.
            extra: as in `Manifest.extra`.

        Raises:
            IntegrityError: the directory holds links, devices or names that other systems cannot store.
        """
        return cls.of_entries(hash_files(directory), tag=tag, creation_time=creation_time, extra=extra)

    @classmethod
    def of_entries(
        cls,
        files: Iterable[FileEntry],
        *,
        tag: Tag,
        creation_time: str,
        extra: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Build a manifest of files that were read before; arguments and errors as those of `of`."""
        return cls(tag.name, str(tag.version), creation_time, check_paths(files), dict(extra or {}))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Manifest:
        """Read and check a manifest from anywhere.

        Args:
            raw: the content of a manifest.json.

        Raises:
            IntegrityError: it is damaged, too large, not canonical, or has impossible entries.
            NewerFormat: a later release wrote it.
        """
        parsed, plain = _read_checked(raw)
        if set(parsed) != _KEYS:
            raise IntegrityError(f"a manifest has exactly the keys {', '.join(sorted(_KEYS))}")
        if parsed["api_version"] != API_VERSION:
            raise IntegrityError(
                f"the manifest has version {parsed['api_version']!r:.40}; known is {API_VERSION!r}"
            )
        manifest = cls(
            _part(parsed, "name"),
            _part(parsed, "version"),
            _time(parsed["creation_time"]),
            _entries(parsed["files"]),
            _extra(parsed["extra"]),
        )
        if canonical_json(manifest._plain()) != plain:
            raise IntegrityError("the manifest is not in canonical form, so its digest would not be unique")
        vars(manifest)["_bytes"] = raw
        return manifest

    @classmethod
    def from_stored(cls, raw: bytes) -> Manifest:
        """Read a manifest that `from_bytes` or this process accepted when it was stored; only its checksum is checked.

        Args:
            raw: the content of a manifest.json in a store.

        Raises:
            IntegrityError: it is damaged.
            NewerFormat: a later release wrote it.
        """
        parsed, _ = _read_checked(raw)
        try:
            files = tuple(FileEntry(one["path"], one["size"], one["sha256"]) for one in parsed["files"])
            manifest = cls(parsed["name"], parsed["version"], parsed["creation_time"], files, parsed["extra"])
        except (KeyError, TypeError) as error:
            raise IntegrityError("the manifest lacks a key") from error
        vars(manifest)["_bytes"] = raw
        return manifest

    def check(self, directory: Path) -> None:
        """Compare a directory with this manifest, byte for byte.

        Args:
            directory: holds the model's files; a `manifest.json` in it is not looked at.

        Raises:
            IntegrityError: a file is missing, unknown or changed; the message names it.
        """
        found = set(walk_files(directory))
        for entry in self.files:
            if entry.path not in found:
                raise IntegrityError(f"{self.tag}: the file {entry.path!a} is missing")
            check_file(directory, entry, str(self.tag))
        unknown = sorted(found - {entry.path for entry in self.files})
        if unknown:
            raise IntegrityError(f"{self.tag}: the file {unknown[0]!a} does not belong to the model")

    def check_sizes(self, directory: Path) -> None:
        """Compare a directory's file names and sizes with this manifest, without reading the files.

        Raises:
            IntegrityError: a file is missing, unknown or of another size; the message names it.
        """
        found = {path: (directory / path).stat().st_size for path in walk_files(directory)}
        expected = {entry.path: entry.size for entry in self.files}
        for path in sorted(found.keys() | expected.keys()):
            if found.get(path) != expected.get(path):
                raise IntegrityError(f"{self.tag}: the file {path!a} does not match the manifest")

    def entry(self, path: str) -> FileEntry | None:
        """The entry of one path, if there is one."""
        return next((entry for entry in self.files if entry.path == path), None)


def _read_checked(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """The parsed manifest, and its bytes without the checksum."""
    if len(raw) > MAX_MANIFEST_BYTES:
        raise IntegrityError(f"the manifest has {len(raw)} bytes; at most {MAX_MANIFEST_BYTES} are allowed")
    own = _SELF.search(raw)
    plain = raw[: own.start()] + raw[own.end() :] if own else b""
    if own is None or hashlib.sha256(plain).hexdigest().encode() != own[1]:
        raise IntegrityError("the manifest is damaged, or is none: its checksum does not fit")
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise IntegrityError("the manifest is not JSON") from error
    if not isinstance(parsed, dict):
        raise IntegrityError("the manifest is not a JSON object")
    # After the checksum, which every version has at this place: a damaged manifest is not taken for a later one.
    check_api_version(parsed.get("api_version"), _named(parsed), release=_release(parsed))
    return parsed, plain


def _named(parsed: dict[str, Any]) -> str:
    """How an error names a manifest of whatever version."""
    name, version = parsed.get("name"), parsed.get("version")
    known = all(isinstance(part, str) and is_valid_part(part) for part in (name, version))
    return f"the manifest of {name}:{version}" if known else "the manifest"


def _release(parsed: dict[str, Any]) -> object:
    """The release that wrote a manifest of whatever version, if it says so where today's do."""
    try:
        return json.loads(parsed["extra"]["document"])["context"]["vtsserving_version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no blanks, as UTF-8.

    Raises:
        IntegrityError: the value has NaN, or something that JSON cannot express.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise IntegrityError(f"the manifest cannot be written: {error}") from error


def _part(parsed: dict[str, Any], key: str) -> str:
    value = parsed[key]
    if not isinstance(value, str) or not is_valid_part(value) or value == LATEST:
        raise IntegrityError(f"the manifest's {key} {value!a:.80} is not valid")
    return value


def _time(value: object) -> str:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise IntegrityError(f"the manifest's creation_time {value!a:.80} is not valid")
    return value


def _entries(raw: object) -> tuple[FileEntry, ...]:
    if not isinstance(raw, list) or len(raw) > MAX_FILES:
        raise IntegrityError(f"the manifest's files are not a list of at most {MAX_FILES}")
    entries = tuple(map(_entry, raw))
    if not all(isinstance(entry.path, str) for entry in entries) or check_paths(entries) != entries:
        raise IntegrityError("the manifest's files are not sorted by path")
    if not any(entry.path == MODEL_FILE for entry in entries):
        raise IntegrityError(f"the manifest lists no {MODEL_FILE}")
    return entries


def _entry(raw: object) -> FileEntry:
    if not isinstance(raw, dict) or set(raw) != {"path", "size", "sha256"}:
        raise IntegrityError("a file of the manifest has exactly path, size and sha256")
    size, sha256 = raw["size"], raw["sha256"]
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_FILE_BYTES:
        raise IntegrityError(f"the manifest has a file of {size!a:.40} bytes")
    if not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256):
        raise IntegrityError(f"the manifest has a digest {sha256!a:.80}")
    return FileEntry(raw["path"], size, sha256)


def _extra(raw: object) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise IntegrityError("the manifest's extra is not an object")
    return raw
