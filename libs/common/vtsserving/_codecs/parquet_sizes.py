"""The claims of a Parquet file's headers: rows, values and bytes, of the file and of each of its pages.

Footer and pages are looked at before anything is decompressed or decoded, since a page of a few bytes may say that it
holds gigabytes, or two billion equal values.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

from vtsserving._codecs.table_limits import MAX_TABLE_BYTES, MAX_TABLE_CELLS, MAX_TABLE_COLUMNS
from vtsserving._codecs.thrift_compact import Reader
from vtsserving.exceptions import BadDtype, BadInput, TooLarge

MAGIC: Final = b"PAR1"
MAX_FOOTER_BYTES: Final = 4 * 2**20
MAX_PAGES: Final = 65_536
"""Most pages of all columns together."""

_TAIL_BYTES: Final = 8
_U32: Final = struct.Struct("<I")

# Fields, as parquet.thrift numbers them.
_NUM_ROWS, _ROW_GROUPS = 3, 4
_COLUMNS = 1
_FILE_PATH, _META_DATA = 1, 3
_TYPE, _PATH, _NUM_VALUES, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE = 1, 3, 5, 7, 9, 11
_PAGE_TYPE, _PAGE_BYTES, _PAGE_COMPRESSED = 1, 2, 3
_HEADERS: Final = {0: 5, 2: 7, 3: 8}
"""Kind of page to the field of its header: data, dictionary, data of version 2."""
_DICTIONARY: Final = 2
_ENCODING: Final = {5: 2, 8: 4}
_DELTA_BYTE_ARRAY: Final = 7
_BYTE_ARRAYS: Final = (6, 7)


class _Total(NamedTuple):
    """The content of pages, counted so far."""

    decompressed: int = 0
    values: int = 0
    pages: int = 0


def check_parquet(body: bytes | bytearray) -> None:
    """Refuse a file that would take more memory than a table may.

    Raises:
        BadInput: it is not a Parquet file, or names another file. TooLarge: it claims too much.
        BadDtype: it has an encoding whose size does not show before it is decoded.
    """
    try:
        _check_file(body)
    except (struct.error, IndexError, TypeError, AttributeError) as error:
        raise BadInput(f"the body is no Parquet file: its headers cannot be read ({error})") from None


def _check_file(body: bytes | bytearray) -> None:
    size = len(body)
    if size < _TAIL_BYTES + len(MAGIC) or bytes(body[:4]) != MAGIC or bytes(body[-4:]) != MAGIC:
        raise BadInput("the body is no Parquet file: these begin and end with PAR1")
    footer_bytes = _U32.unpack_from(body, size - _TAIL_BYTES)[0]
    if footer_bytes > size - _TAIL_BYTES - len(MAGIC):
        raise BadInput("the body is no Parquet file: its footer is longer than the file")
    if footer_bytes > MAX_FOOTER_BYTES:
        raise TooLarge(f"the Parquet file describes itself in more than {MAX_FOOTER_BYTES:,} bytes")
    footer = Reader(memoryview(body)[: size - _TAIL_BYTES], size - _TAIL_BYTES - footer_bytes).structure()
    groups = footer.get(_ROW_GROUPS, [])
    columns = max((len(group.get(_COLUMNS, [])) for group in groups), default=0)
    if columns > MAX_TABLE_COLUMNS:
        raise TooLarge(f"the table has {columns} columns; at most {MAX_TABLE_COLUMNS:,} are possible")
    if footer.get(_NUM_ROWS, 0) * max(columns, 1) > MAX_TABLE_CELLS:
        raise TooLarge(f"the table has more than {MAX_TABLE_CELLS:,} cells, rows times columns")
    total = _Total()
    for group in groups:
        for chunk in group.get(_COLUMNS, []):
            if chunk.get(_FILE_PATH):
                raise BadInput("the Parquet file names another file, which is not opened")
            if chunk.get(_META_DATA):
                total = _check_chunk(body, chunk[_META_DATA], total)


def _check_chunk(body: bytes | bytearray, described: dict[int, Any], total: _Total) -> _Total:
    """The pages of one column in one group of rows."""
    start = described.get(_DATA_PAGE, 0)
    first = described.get(_DICTIONARY_PAGE, 0)
    if 0 < first < start:
        start = first
    end = start + described.get(_COMPRESSED, 0)
    if not 0 <= start <= end <= len(body):
        raise BadInput("the body is no Parquet file: a column lies outside of it")
    if described.get(_NUM_VALUES, 0) > MAX_TABLE_CELLS:
        raise TooLarge(f"a column has more than {MAX_TABLE_CELLS:,} values")
    is_nested_text = described.get(_TYPE) in _BYTE_ARRAYS and len(described.get(_PATH, [])) > 1
    values, dictionary_bytes = 0, 0
    while start < end and values < described.get(_NUM_VALUES, 0):
        reader = Reader(memoryview(body)[:end], start)
        page = reader.structure()
        compressed, plain = page.get(_PAGE_COMPRESSED, 0), page.get(_PAGE_BYTES, 0)
        if compressed < 0 or plain < 0:
            raise BadInput("the body is no Parquet file: a page has a negative size")
        count = _check_page(page)
        if page.get(_PAGE_TYPE) == _DICTIONARY:
            dictionary_bytes = plain
        else:
            values += count
        start = reader.at + compressed
        total = _Total(total.decompressed + plain, total.values + count, total.pages + 1)
        if (
            total.decompressed > MAX_TABLE_BYTES
            or dictionary_bytes * values * is_nested_text > MAX_TABLE_BYTES
        ):
            raise TooLarge(f"the table takes more than {MAX_TABLE_BYTES:,} bytes, decompressed")
        if total.values > 2 * MAX_TABLE_CELLS or total.pages > MAX_PAGES:
            raise TooLarge("the Parquet file has too many values or pages")
    return total


def _check_page(page: dict[int, Any]) -> int:
    """The number of values that a page says it has."""
    field = _HEADERS.get(page.get(_PAGE_TYPE, -1))
    if field is None:
        return 0
    header = page.get(field, {})
    if header.get(_ENCODING.get(field, 0)) == _DELTA_BYTE_ARRAY:
        raise BadDtype(
            "a column has the encoding DELTA_BYTE_ARRAY, which is not taken; write it as plain or dictionary"
        )
    count = header.get(1, 0)
    if count < 0:
        raise BadInput("the body is no Parquet file: a page has a negative number of values")
    return int(count)
