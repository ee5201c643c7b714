"""Stretches of rows that follow each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise


def ranges(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive stretches of `counts` rows."""
    ends = list(accumulate(counts, initial=0))
    return pairwise(ends)
