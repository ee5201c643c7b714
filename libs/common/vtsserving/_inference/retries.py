"""How often, and how soon, what was lost or handed back is sent again."""

from __future__ import annotations

from typing import Final

MAX_ATTEMPTS: Final = 2
"""How often a part is sent at most; the second time after its batcher was lost."""

RETRY_DELAY_S: Final = 0.05
"""Pause before a part goes to another batcher, so that all have heard of the change."""

MAX_BOUNCES: Final = 14
"""How often a part may be handed back by batchers that take another one for its owner: for about 5 seconds.

They agree as soon as all have missed the heartbeats of one that died.
"""


def bounce_delay_s(bounces: int) -> float:
    """Pause before a part is sent that was handed back `bounces` times before; it grows up to eight times."""
    return float(RETRY_DELAY_S * 2 ** min(bounces, 3))
