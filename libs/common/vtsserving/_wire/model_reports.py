"""What heartbeats say of models, one record each, and the counters of a process or a model: pure.

    reports  = a msgpack array of records
    record   = [tag:str, state:str, reason:str, replicas:int, counters, ...]
    counters = a msgpack map of str to unsigned 64-bit integers

A later release may append to a record and may have more states: a reader ignores what follows the counters, and
leaves a record alone whose state it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgpack

from vtsserving._wire.limits import (
    MAX_COUNT,
    MAX_COUNTER_NAME_BYTES,
    MAX_COUNTERS,
    MAX_ENTRIES,
    MAX_HEADER_STR_BYTES,
    MAX_REASON_CHARS,
    MAX_REPORTS_BYTES,
)
from vtsserving._wire.vocabulary import ModelStateName
from vtsserving.exceptions import BadFrame

NO_COUNTERS: Final[Mapping[str, int]] = MappingProxyType({})

_ARRAY_HEADER_BYTES: Final = 5


class ModelReport(NamedTuple):
    """How one model is.

    Attributes:
        tag: `name:version`.
        state: what becomes of it; may be a word of a later release.
        reason: why, for people, at most 200 characters on one line; of `failed`, else empty.
        replicas: of runners, its processes that compute now.
        counters: numbers about it, by name.
    """

    tag: str
    state: ModelStateName
    reason: str = ""
    replicas: int = 0
    counters: Mapping[str, int] = NO_COUNTERS


def ready_tags(reports: Iterable[ModelReport]) -> frozenset[str]:
    """`name:version` of the models that compute."""
    return frozenset([report.tag for report in reports if report.state == "ready"])


def one_line(reason: str) -> str:
    """A reason as a heartbeat carries it."""
    return " ".join(reason.split())[:MAX_REASON_CHARS]


def pack_reports(reports: Sequence[ModelReport]) -> bytes:
    """As many records as a heartbeat may carry, in their order."""
    packed: list[bytes] = []
    left_bytes = MAX_REPORTS_BYTES - _ARRAY_HEADER_BYTES
    for tag, state, reason, replicas, counters in reports[:MAX_ENTRIES]:
        record = [tag, state, _sendable(one_line(reason)), replicas, _bounded(counters)]
        packed.append(msgpack.packb(record))
        left_bytes -= len(packed[-1])
        if left_bytes < 0:
            packed.pop()
            break
    header: bytes = msgpack.Packer().pack_array_header(len(packed))
    return header + b"".join(packed)


def unpack_reports(data: Any) -> list[ModelReport]:
    """The records that `pack_reports` packed; BadFrame if they are none."""
    records = _unpack(data, MAX_REPORTS_BYTES)
    if type(records) is not list:
        raise BadFrame("the models of a heartbeat are not an array")
    return list(_reports(records))


def pack_counters(counters: Mapping[str, int]) -> bytes:
    """As many counters as a heartbeat may carry, in their order."""
    packed: bytes = msgpack.packb(_bounded(counters))
    return packed


def unpack_counters(data: Any) -> dict[str, int]:
    """The counters that `pack_counters` packed; BadFrame if they are none."""
    return _counters(_unpack(data, MAX_REPORTS_BYTES))


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _bounded(counters: Mapping[str, int]) -> dict[str, int]:
    names = [name for name in counters if len(name.encode()) <= MAX_COUNTER_NAME_BYTES][:MAX_COUNTERS]
    return {name: min(max(counters[name], 0), MAX_COUNT) for name in names}


def _unpack(data: Any, max_bytes: int) -> Any:
    if type(data) is not bytes or len(data) > max_bytes:
        raise BadFrame(f"expected a bin of at most {max_bytes} bytes")
    try:
        return msgpack.unpackb(
            data,
            max_array_len=MAX_ENTRIES,
            max_map_len=MAX_COUNTERS,
            max_str_len=MAX_HEADER_STR_BYTES,
            max_bin_len=0,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise BadFrame(f"unreadable records: {type(error).__name__}") from error


def _reports(records: list[Any]) -> Iterator[ModelReport]:
    for record in records:
        if type(record) is not list or len(record) < len(ModelReport._fields):
            raise BadFrame("a model's record has too few fields")
        tag, state, reason, replicas, counters = record[: len(ModelReport._fields)]
        if any(type(text) is not str for text in (tag, state, reason)):
            raise BadFrame("tag, state or reason of a model is not a str")
        if type(replicas) is not int or replicas < 0:
            raise BadFrame("the replicas of a model are not an integer >= 0")
        yield ModelReport(tag, state, reason, replicas, _counters(counters))


def _counters(counters: Any) -> dict[str, int]:
    if type(counters) is not dict:
        raise BadFrame("counters are not a map")
    for name, count in counters.items():
        if type(name) is not str or len(name.encode()) > MAX_COUNTER_NAME_BYTES:
            raise BadFrame("the name of a counter is not a short str")
        if type(count) is not int or not 0 <= count <= MAX_COUNT:
            raise BadFrame("a counter is not an unsigned 64-bit integer")
    return counters
