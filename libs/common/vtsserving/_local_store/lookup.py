"""Finding versions on disk without writing anything and without an index.

A manifest is canonical JSON, so its second key, the creation time, stands at a fixed place: reading the first bytes
of each manifest is enough to order a name's versions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from vtsserving._model.manifest import MANIFEST_FILE
from vtsserving._model.tag import LATEST, Tag, is_hidden, is_valid_part
from vtsserving._record_format import is_later
from vtsserving.exceptions import ModelNotFound, StorageError, VersionNotFound

_HEAD_BYTES: Final = 96
_HEAD: Final = re.compile(rb'\{"api_version":"[^"]{1,16}","creation_time":"([-0-9T:.+]{32})"')
_VERSION: Final = re.compile(rb'\{"api_version":"(v[0-9]{1,9})"')
_SHOWN: Final = 5

LATER: Final = "later"
"""In place of a creation time that this release does not find, because a later one wrote the manifest; sorts last."""


class VersionEntry(NamedTuple):
    """One version of a name; they sort oldest first.

    Attributes:
        creation_time: as in the manifest; empty where it is damaged, LATER where a later release wrote it.
        version: exact.
    """

    creation_time: str
    version: str


def names(root: Path) -> list[str]:
    """The names that have a directory, sorted.

    Raises:
        StorageError: the store cannot be read.
    """
    return sorted(_folders(root))


def versions(root: Path, name: str) -> list[VersionEntry]:
    """All versions of a name, oldest first; none if there is no such name.

    Raises:
        StorageError: the store cannot be read.
    """
    base = os.fspath(root / name)
    found = []
    for version in _folders(root / name):
        head = _head(f"{base}/{version}/{MANIFEST_FILE}")
        if head is not None:
            found.append(VersionEntry(head, version))
    return sorted(found)


def exists(root: Path, tag: Tag) -> bool:
    """Whether the exact version is there."""
    return tag.is_exact_form and os.path.isfile(root / tag.name / str(tag.version) / MANIFEST_FILE)


def pick(tag: Tag, known: list[VersionEntry], aliases: dict[str, str]) -> str | None:
    """Resolve a reference that is not an exact version: `latest`, an alias, a unique prefix.

    Args:
        tag: what is looked for.
        known: the name's versions, oldest first, at least one.
        aliases: the name's aliases.

    Returns:
        The exact version, or None.

    Raises:
        VersionNotFound: a prefix fits several versions.
    """
    wanted = tag.version or LATEST
    if wanted == LATEST:
        return known[-1].version
    if wanted in aliases:
        return aliases[wanted]
    fitting = [entry.version for entry in known if entry.version.startswith(wanted)]
    if len(fitting) > 1:
        raise VersionNotFound(
            f"{tag} fits {len(fitting)} versions: {_list(reversed(fitting))}; write more of it"
        )
    return fitting[0] if fitting else None


def model_not_found(root: Path, tag: Tag) -> ModelNotFound:
    """The error for a name that the store does not have, with near ones."""
    import difflib

    known = [name for name in names(root) if not is_hidden(name) and versions(root, name)]
    near = difflib.get_close_matches(tag.name, known, n=3)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = f"it has {_list(known)}" if known else "the store is empty; save a model first"
    return ModelNotFound(f"no model {tag.name!r} in the local store {root}; {hint}")


def version_not_found(tag: Tag, known: list[VersionEntry], aliases: dict[str, str]) -> VersionNotFound:
    """The error for a version that the name does not have, with near ones."""
    import difflib

    candidates = [*aliases, *(entry.version for entry in reversed(known))]
    near = difflib.get_close_matches(str(tag.version), candidates, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {_list(candidates)}"
    return VersionNotFound(f"{tag.name!r} has no version or alias {tag.version!r}; {hint}")


def alias_not_found(name: str, alias: str, known: Iterable[str]) -> VersionNotFound:
    """The error for an alias that the name does not have, with those that it has."""
    listed = _list(sorted(known))
    return VersionNotFound(f"{name!r} has no alias {alias!r}; it has {listed or 'none'}")


def _folders(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if is_valid_part(entry.name) and entry.is_dir()]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise StorageError(f"{path} is not a directory, so it cannot hold models") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error


def _head(path: str) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        head = os.read(descriptor, _HEAD_BYTES)
    finally:
        os.close(descriptor)
    match = _HEAD.match(head)
    if match is None:
        said = _VERSION.match(head)
        return LATER if said is not None and is_later(said[1].decode()) else ""
    return match[1].decode()


def _list(texts: Iterable[str]) -> str:
    listed = list(texts)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
