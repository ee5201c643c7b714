"""Where everything lies in the store; the only file that builds or reads keys.

    blobs/sha256/ab/<64 hex>            a file's bytes; written by the store after verifying them, deleted by `gc` alone
    models/<name>/<version>             one version: its manifest and info; created once, deleted by `delete`
    aliases/<name>/<alias>/<n>          where an alias points; every move creates the next number
    labels/<name>/<version>/<n>         edited labels of a version; the greatest number wins
    settings/<name>/<n>                 run-time settings of a model; the greatest number wins
    staging/<upload>/session            an upload session: digest and size announced by the client
    staging/<upload>/parts/<n>          its parts; the only keys that clients may write (by presigned URLs)
    leases/<push>                       the digests that a live push counts on; `gc` leaves them alone
    condemned/<digest hex>              `gc` is about to delete this blob; pushes wait until the record is gone
    tokens/<id>                         a token's scopes and the hash of its secret
    format/store                        the number of the form of all this, once it is not 1; not written yet
    index/summaries-1                   the index of some replica; a shortcut for the next one, may be lost at any time

Keys under `blobs/`, `models/`, `aliases/`, `labels/`, `settings/` never change once they exist. A model is visible as
soon as its key under `models/` exists, and that key is created last.
"""

from __future__ import annotations

import re
from typing import Final

BLOBS: Final = "blobs/sha256/"
MODELS: Final = "models/"
ALIASES: Final = "aliases/"
LABELS: Final = "labels/"
SETTINGS: Final = "settings/"
STAGING: Final = "staging/"
LEASES: Final = "leases/"
CONDEMNED: Final = "condemned/"
TOKENS: Final = "tokens/"
PROBES: Final = "probes/"
FORMATS: Final = "format/"
FORMAT: Final = "format/store"
INDEX: Final = "index/"
SNAPSHOT: Final = "index/summaries-1"
"""The number is that of its form."""

ALL_PREFIXES: Final = (
    BLOBS, MODELS, ALIASES, LABELS, SETTINGS, STAGING, LEASES, CONDEMNED, TOKENS, PROBES, FORMATS, INDEX,
)  # fmt: skip
"""Every prefix that the store writes under; anything else in the bucket is not ours."""

DIGEST_PREFIX: Final = "sha256:"
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_ID: Final = re.compile(r"[0-9a-z]{8,64}")
_KEY: Final = re.compile(r"[a-z]+(/[A-Za-z0-9._-]{1,128}){1,5}")


def is_digest(text: str) -> bool:
    """Whether `text` is `sha256:` and 64 lower-case hexadecimal digits."""
    return text.startswith(DIGEST_PREFIX) and _HEX.fullmatch(text, len(DIGEST_PREFIX)) is not None


def is_id(text: str) -> bool:
    """Whether `text` can be the id of an upload, a push or a token."""
    return _ID.fullmatch(text) is not None


def is_key(text: str) -> bool:
    """Whether `text` is a key that this module could have built; no part of it is `.` or `..`."""
    return _KEY.fullmatch(text) is not None and not {".", ".."} & set(text.split("/"))


def blob(digest: str) -> str:
    """Key of the blob with this digest (`sha256:<hex>`)."""
    hexdigits = digest.removeprefix(DIGEST_PREFIX)
    return f"{BLOBS}{hexdigits[:2]}/{hexdigits}"


def blob_digest(key: str) -> str:
    """Digest of the blob that lies under `key`."""
    return DIGEST_PREFIX + key.rsplit("/", 1)[-1]


def model(name: str, version: str) -> str:
    """Key of one version."""
    return f"{MODELS}{name}/{version}"


def model_parts(key: str) -> tuple[str, str]:
    """Name and version in a key under `models/`."""
    _, name, version = key.split("/", 2)
    return name, version


def numbered(prefix: str, number: int) -> str:
    """Key of record `number` (from 1) of a series; keys sort as numbers do."""
    return f"{prefix}{number:010d}"


def record_number(key: str) -> int:
    """Number of a record of a series."""
    return int(key.rsplit("/", 1)[-1])


def alias(name: str, alias_name: str) -> str:
    """Prefix of an alias's records."""
    return f"{ALIASES}{name}/{alias_name}/"


def labels(name: str, version: str) -> str:
    """Prefix of a version's label records."""
    return f"{LABELS}{name}/{version}/"


def settings(name: str) -> str:
    """Prefix of a model's settings records."""
    return f"{SETTINGS}{name}/"


def session(upload: str) -> str:
    """Key of an upload session."""
    return f"{STAGING}{upload}/session"


def parts(upload: str) -> str:
    """Prefix of an upload's parts."""
    return f"{STAGING}{upload}/parts/"


def part(upload: str, number: int) -> str:
    """Key of part `number` (from 1) of an upload."""
    return f"{parts(upload)}{number:05d}"


def lease(push: str) -> str:
    """Key of a push's lease."""
    return f"{LEASES}{push}"


def condemned(digest: str) -> str:
    """Key of the record that says that `gc` is deleting this blob."""
    return CONDEMNED + digest.removeprefix(DIGEST_PREFIX)


def token(token_id: str) -> str:
    """Key of a token."""
    return f"{TOKENS}{token_id}"
