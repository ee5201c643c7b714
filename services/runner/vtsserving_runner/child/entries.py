"""Choosing the entries of a batch that show how results follow rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vtsserving._wire.frames import Batch

MAX_TRIED: Final = 4
"""Most entries in which it is seen how results follow rows; the rest of their batch comes after them."""


def are_equal(batch: Batch, index: Sequence[int]) -> bool:
    """Whether some entries are all equal."""
    first = batch.bodies[index[0]]
    return all(batch.bodies[i] == first for i in index)


def first_unlike(batch: Batch, index: Sequence[int]) -> list[int]:
    """The first entries of a batch, so that not all of them are equal; fewer than two if all are."""
    first = index[0] if index else -1
    other = next((i for i in index[1:] if batch.bodies[i] != batch.bodies[first]), None)
    if other is None:
        return []
    near = [i for i in index[:MAX_TRIED] if i != other][: MAX_TRIED - 1]
    return sorted({*near, other})
