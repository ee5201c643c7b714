"""Every limit of the wire in one place; docs/wire.md quotes them."""

from __future__ import annotations

from typing import Final

PROTOCOL_VERSION: Final = 2
"""Goes into every frame; a frame with another one is refused."""

MAX_HEADER_BYTES: Final = 1024 * 1024
"""Longest msgpack header of a frame; 4,096 entries need about 150 KiB, and 850 KiB with the longest request ids."""

MAX_ENTRIES: Final = 4_096
"""Most entries (requests) in one frame."""

MAX_HEADER_ITEMS: Final = 64
"""Longest array or map inside a header; so also the most gateways in one batch."""

MAX_HEADER_STR_BYTES: Final = 1_024
"""Longest string inside a header, in UTF-8 bytes."""

MAX_REQUEST_ID_BYTES: Final = 128
"""Longest request id of an entry, in UTF-8 bytes."""

TRACE_BYTES: Final = 25
"""A W3C trace context of an entry: 16 bytes of trace id, 8 bytes of span id, 1 byte of flags."""

MAX_HEADER_BIN_BYTES: Final = (1 + MAX_REQUEST_ID_BYTES) * MAX_ENTRIES
"""Longest binary inside a header: a column of one request id per entry."""

MAX_TAGS_BYTES: Final = 32 * 1024
"""Longest list of traits or needs in a header."""

MAX_SIZES: Final = 64
"""Most fixed batch sizes of one method."""

MAX_REPORTS_BYTES: Final = 256 * 1024
"""Longest list of models in a heartbeat."""

MAX_REASON_CHARS: Final = 200
"""Most characters of a reason in a heartbeat."""

MAX_COUNTERS: Final = 64
"""Most counters of one process, or of one model, in a heartbeat."""

MAX_COUNTER_NAME_BYTES: Final = 64
"""Longest name of a counter, in UTF-8 bytes."""

MAX_COUNT: Final = (1 << 64) - 1
"""Largest value of a counter; greater ones are sent as this."""

MAX_VALUE_NODES: Final = 100_000
"""Most msgpack objects in one encoded value; tensors count as one."""

MAX_VALUE_DEPTH: Final = 32
"""Deepest nesting of one encoded value."""

MAX_TABLE_DEPTH: Final = 8
"""Deepest nesting inside of a DataFrame or Series, of which the table itself takes three levels."""

MAX_TENSOR_DIMS: Final = 8
"""Most dimensions of a tensor."""

MAX_IMAGE_PIXELS: Final = 1 << 26
"""Most pixels of an image: what is compressed well is small on the wire and large in memory."""

MAX_DECIMAL_BYTES: Final = 1_024
"""Longest text of a Decimal."""

MAX_DECIMAL_EXPONENT: Final = 9_999
"""Largest exponent of a Decimal: a few bytes of text may mean a billion digits."""

MAX_ZONE_BYTES: Final = 64
"""Longest name of a time zone."""

MAX_ROWS: Final = 1 << 31
"""Rows of one entry stay below this, so that they fit the frame's uint32 columns."""

REPLICA_BITS: Final = 8
"""The low bits of an epoch number a model process among those of its model on one runner; the bits above only grow. So
of two epochs with equal low bits the greater one replaces the other."""

HEARTBEAT_S: Final = 0.5
"""Every gateway, batcher and runner says that it is alive this often, seconds."""

DEAD_AFTER_S: Final = 1.5
"""A process that was silent this long counts as dead, seconds: everybody must agree on it."""
