"""What time it is where the objects lie.

How old a lease or a blob is must be asked of the clock that dated it: by the clock of a replica that is an hour ahead,
every live push would have given up long ago, and `gc` would take its blobs away.
"""

from __future__ import annotations

import secrets

from vtsserving import _clock
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore


def now_s(objects: ObjectStore) -> float:
    """Seconds since 1970 on the storage's clock; costs three small requests.

    Read from a listing, as the ages that it is compared with: where an answer about one object dates it in whole
    seconds (HTTP's form) and a listing in milliseconds, new objects would lie in the future for up to a second.
    """
    key = keys.PROBES + secrets.token_hex(8)
    objects.put(key, b"")
    try:
        written = next(objects.entries(key), None)
    finally:
        objects.delete(key)
    return _clock.wall_s() if written is None else written.modified_s
