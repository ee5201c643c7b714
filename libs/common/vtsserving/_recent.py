"""A bounded memory for what every request looks up."""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class RecentDict(dict[K, V]):
    """A dict of at most `most` items; when it is full, those that were set longest ago leave.

    Reading costs what it costs with a dict, 0.05 us; with `cachetools.LRUCache` it costs 0.4 us, with its `TTLCache`
    2.6 us, several times per request. What is in use is set anew whenever its owner renews it, and so outlives a
    caller who asks for one new thing after the other. Items are to be added by `memory[key] = value` alone.
    """

    __slots__ = ("_most",)

    def __init__(self, most: int) -> None:
        """Start empty.

        Args:
            most: items, at least 1.
        """
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        """Set an item, as the newest."""
        self.pop(key, None)
        if len(self) >= self._most:
            # Several at once: a dict walks over the gaps of all that left before to find its first item.
            for oldest in list(islice(self, max(1, self._most // 16))):
                del self[oldest]
        super().__setitem__(key, value)
