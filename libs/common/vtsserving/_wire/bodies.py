"""Kinds of bodies: the bytes themselves, or a reference to where they lie; what this side cannot read, it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vtsserving._wire.kinds import Failure, Reply
from vtsserving.exceptions import UnsupportedBody

INLINE: Final = 0
"""The body is the bytes."""

SHARED_MEMORY: Final = 1
"""The body is a descriptor of shared memory; no release writes or reads it yet."""

READ: Final[frozenset[int]] = frozenset((INLINE,))
"""Kinds that this release reads."""


def unreadable(kinds: bytes) -> list[int]:
    """Positions of the entries whose bodies cannot be read here.

    Args:
        kinds: `body_kinds` of a frame; empty when all bodies are bytes.
    """
    return [position for position, kind in enumerate(kinds) if kind not in READ]


def refusal(kinds: Iterable[int]) -> UnsupportedBody:
    """The error of entries with bodies of these kinds."""
    given = ", ".join(map(str, sorted(set(kinds) - READ)))
    read = ", ".join(map(str, sorted(READ)))
    return UnsupportedBody(
        f"a body of kind {given} came; {read} can be read here. Run one release everywhere"
    )


def readable(reply: Reply) -> tuple[Reply, Failure]:
    """A reply without the entries whose bodies cannot be read here, and the failure that these end with."""
    refused = unreadable(reply.body_kinds)
    kept = [position for position in range(len(reply.ids)) if position not in refused]
    error = refusal(reply.body_kinds)
    rest = reply._replace(
        ids=tuple([reply.ids[position] for position in kept]),
        rows=tuple([reply.rows[position] for position in kept]),
        queued_us=tuple([reply.queued_us[position] for position in kept]),
        body_kinds=b"",
        bodies=[reply.bodies[position] for position in kept],
    )
    return rest, Failure(error.code, error.message, 0, tuple([reply.ids[position] for position in refused]))
