"""Every limit of the wire in one place; docs/wire.md quotes them."""

from __future__ import annotations

from typing import Final

PROTOCOL_VERSION: Final = 1
"""Goes into every frame; a frame with another one is refused."""

MAX_HEADER_BYTES: Final = 512 * 1024
"""Longest msgpack header of a frame; 4,096 entries need about 150 KiB."""

MAX_ENTRIES: Final = 4_096
"""Most entries (requests) in one frame."""

MAX_HEADER_ITEMS: Final = 64
"""Longest array or map inside a header."""

MAX_HEADER_STR_BYTES: Final = 1_024
"""Longest string inside a header, in UTF-8 bytes."""

MAX_VALUE_NODES: Final = 100_000
"""Most msgpack objects in one encoded value; tensors count as one."""

MAX_VALUE_DEPTH: Final = 32
"""Deepest nesting of one encoded value."""

MAX_TENSOR_DIMS: Final = 8
"""Most dimensions of a tensor."""

MAX_ROWS: Final = 1 << 31
"""Rows of one entry stay below this, so that they fit the frame's uint32 columns."""
