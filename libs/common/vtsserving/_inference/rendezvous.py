"""Which batcher owns a model: rendezvous hashing, so that all who see the same batchers agree.

Highest random weight, Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM
Transactions on Networking 6(1), 1998.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b


def rendezvous_hash(tag: str, batchers: Iterable[str]) -> str:
    """The batcher that owns a model.

    Args:
        tag: `name:version`.
        batchers: ids of the live ones, at least one.

    Returns:
        The id with the greatest hash of (id, tag).
    """
    return max(batchers, key=lambda id: (blake2b(f"{id} {tag}".encode(), digest_size=8).digest(), id))
