"""How packed custom Runnables are called in a store, and the models that they need.

A packed class is a hidden model, `packed.<runner>:<fingerprint>`: it is served like a model and shown only when asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vtsserving._model.tag import HIDDEN_PREFIX, MAX_PART_CHARS, Tag
from vtsserving.exceptions import IntegrityError, InvalidTag

if TYPE_CHECKING:
    from vtsserving.runner.runner import Runner

VERSION_CHARS: Final = 32
"""Of the fingerprint, hexadecimal: 128 bits."""

NEEDS: Final = "needs"
"""The key of the manifest's `extra` with the models that the class uses."""

MAX_NEEDS: Final = 64
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Need(NamedTuple):
    """A model that must be there where a packed class runs.

    Attributes:
        tag: exact.
        digest: of its manifest, `sha256:` and 64 hexadecimal digits.
        aliases: that pointed to it when the class was packed.
    """

    tag: Tag
    digest: str
    aliases: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {"tag": str(self.tag), "digest": self.digest, "aliases": list(self.aliases)}


def packed_tag(runner: Runner) -> Tag:
    """Where the packed class of a runner is, if it was packed.

    Raises:
        InvalidArgument: a parameter of the class has no content that could be named.
    """
    from vtsserving._packing.fingerprint import fingerprint

    name = f"{HIDDEN_PREFIX}{runner.name}"[:MAX_PART_CHARS].rstrip("-._")
    return Tag(name, fingerprint(runner)[:VERSION_CHARS])


def dependencies_of(extra: Mapping[str, Any]) -> tuple[Need, ...]:
    """The models that a manifest says are needed.

    Raises:
        IntegrityError: it says something impossible.
    """
    raw = extra.get(NEEDS, ())
    try:
        if len(raw) > MAX_NEEDS:
            raise ValueError("too many")
        return tuple([_need(one) for one in raw])
    except (TypeError, KeyError, ValueError, InvalidTag) as error:
        raise IntegrityError(f"the manifest needs models that cannot be: {error}") from error


def _need(raw: Mapping[str, Any]) -> Need:
    tag, digest = Tag.parse(str(raw["tag"])), str(raw["digest"])
    if not tag.is_exact_form or not _DIGEST.fullmatch(digest):
        raise ValueError(f"{tag} {digest:.80}")
    return Need(tag, digest, tuple(str(alias) for alias in raw["aliases"]))
