"""Which models have to leave: those that nobody asks for, and the least recently used when memory is short. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Resident(NamedTuple):
    """One loaded model.

    Attributes:
        key: names it.
        used_s: when it was last used.
        rss_bytes: what its processes take.
        may_leave: whether it may be unloaded now: warm, without batches, and not to be kept.
    """

    key: str
    used_s: float
    rss_bytes: int
    may_leave: bool


def idle(residents: Iterable[Resident], now_s: float, idle_s: float) -> list[str]:
    """Models that were not used for too long.

    Args:
        residents: all models.
        now_s: on the clock of `used_s`.
        idle_s: how long is too long; 0 means that no time is.
    """
    if not idle_s:
        return []
    return [model.key for model in residents if model.may_leave and now_s - model.used_s > idle_s]


def surplus(residents: Sequence[Resident], limit_bytes: int, needed_bytes: int = 0) -> list[str]:
    """Models that have to leave so that the rest, and what is to be loaded, stays within a limit.

    Args:
        residents: all models.
        limit_bytes: for all together; 0 means no limit.
        needed_bytes: of a model that is about to be loaded.

    Returns:
        The least recently used first. Not enough of them when the others may not leave: then the limit is passed
        rather than a model refused that could have been served.
    """
    over_bytes = sum(model.rss_bytes for model in residents) + needed_bytes - limit_bytes
    leaving: list[str] = []
    if not limit_bytes:
        return leaving
    for model in sorted(residents, key=lambda model: model.used_s):
        if over_bytes <= 0:
            break
        if model.may_leave:
            leaving.append(model.key)
            over_bytes -= model.rss_bytes
    return leaving
