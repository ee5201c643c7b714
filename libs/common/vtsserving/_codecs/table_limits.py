"""Bounds of tables that come in requests, where a few bytes could mean any size."""

from __future__ import annotations

from typing import Final

MAX_TABLE_COLUMNS: Final = 16_384
"""Most columns."""

MAX_TABLE_CELLS: Final = 1 << 24
"""Most cells: rows times columns."""

MAX_TABLE_BYTES: Final = 1 << 28
"""Most bytes after decompression, with dictionaries written out."""

MAX_TABLE_NESTING: Final = 8
"""Deepest nesting of the type of one column."""
