"""The cases behind tests/vectors/wire_v2.json: what each good vector means, and what makes each bad one bad.

The file is frozen: its bytes are what version 2 of the protocol is, whatever the code says. Run as a program, this
adds vectors for cases that have none, and refuses to change one that exists:

    .venv/bin/python tests/support/wire_vectors.py
"""

from __future__ import annotations

import json
import pickle
import struct
import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import numpy as np
import pandas as pd
import scipy.sparse

from support.call_rules import every
from vtsserving._wire import frames
from vtsserving._wire.limits import PROTOCOL_VERSION
from vtsserving._wire.model_reports import ModelReport
from vtsserving._wire.rows import pack_call, split_result
from vtsserving._wire.values import encode_value

PATH: Final = Path(__file__).resolve().parents[1] / "vectors" / "wire_v2.json"

_MODEL: Final = ("iris", "2a3b4c5d6e7f2345", "sha256:" + "ab" * 32)
_PACKED: Final = [pack_call((np.array(x, "<f4"),), {}, every(0)) for x in ([[1.5, 2]], [[3, 4], [5, 6]])]
_RESULT: Final = split_result(np.array([2, 0, 1], "<i8"), [1, 2], 0)
_GATEWAY: Final = "00112233445566ff"
_BATCHER: Final = "8899aabbccddeeff"
_RUNNER: Final = "0123456789abcdef"

_UNLABELLED: Final = ((), (), b"")
_TRACE: Final = bytes(range(1, 25)) + b"\1"
_LABELS: Final = (("order-7", "", ""), (b"", _TRACE, b""), b"\0\0\1")
_REPORTS: Final = [
    ModelReport("iris:1", "ready", replicas=2, counters={"batches_held": 1}),
    ModelReport("digits:2", "failed", "no module 'caf\u00e9'"),
]

FRAMES: Final[dict[str, frames.Frame]] = {
    "request": frames.Request(
        *_MODEL,
        *("predict", 64, 6_291_456, 0, 60_000_000, ()),
        *((1, 2), (1, 2), (30_000_000, 29_000_000), b"\0\1", *_UNLABELLED),
        *(_PACKED[0].head, [packed.body for packed in _PACKED]),
    ),
    "request without a batch axis": frames.Request(
        *(*_MODEL, "predict", 0, 6_291_456, 0, 60_000_000, (), (7,), (0,), (1_000_000,), b"\0"),
        *(*_UNLABELLED, b"", [encode_value([[1], {}])]),
    ),
    "request with labels": frames.Request(
        *(*_MODEL, "predict", 64, 6_291_456, 0, 60_000_000, (1, 8, 64)),
        *((1, 2, 3), (1, 2, 3), (30_000_000, 29_000_000, 28_000_000), b"\0\0\1", *_LABELS),
        *(_PACKED[0].head, [*(packed.body for packed in _PACKED), b"descriptor"]),
    ),
    "batch": frames.Batch(
        *(17, _BATCHER, 513, 1, *_MODEL, "predict", 60_000_000, 64, ()),
        *([f"vts.v2.gw.{_GATEWAY}.reply.0"], b"\0\0"),
        *((1, 2), (1, 2), (29_500_000, 28_500_000), (500, 400), b"\0\1", *_UNLABELLED),
        *(_PACKED[0].head, [packed.body for packed in _PACKED]),
    ),
    "batch with labels": frames.Batch(
        *(18, _BATCHER, 513, 0, *_MODEL, "predict", 60_000_000, 0, (1, 8, 64)),
        *([f"vts.v2.gw.{_GATEWAY}.reply.0"], b"\0\0\0"),
        *((1, 2, 3), (1, 2, 3), (29_500_000, 28_500_000, 27_500_000), (500, 400, 300), b"\0\0\1", *_LABELS),
        *(_PACKED[0].head, [*(packed.body for packed in _PACKED), b"descriptor"]),
    ),
    "reply": frames.Reply(_RUNNER, 3, 1_200, (1, 2), (1, 2), (500, 400), b"", *_RESULT),
    "reply by reference": frames.Reply(
        _RUNNER, 3, 1_200, (1, 2), (1, 2), (500, 400), b"\0\1", _RESULT[0], [_RESULT[1][0], b"descriptor"]
    ),
    "failure": frames.Failure("overloaded", "it would take too long", 1_500, (1, 2**64 - 1)),
    "failure of a whole frame": frames.Failure("bad_frame", "unreadable header: ValueError", 0, (0,)),
    "cancel": frames.Cancel(_GATEWAY, (1, 2, 3)),
    "event credit": frames.Event("credit", _RUNNER, *_MODEL, 513, [0, 1], 0, 0, "", "", 70_000),
    "event done": frames.Event("done", _RUNNER, *_MODEL, 513, [1], 17, 1_200, "", "", 0),
    "event nack": frames.Event("nack", _RUNNER, *_MODEL, 257, [], 18, 0, "stale_credit", "", 0),
    "event gone": frames.Event("gone", _RUNNER, *_MODEL, 513, [], 0, 0, "", "", 0),
    "event failed": frames.Event(
        "failed", _RUNNER, *_MODEL, 0, [], 0, 0, "model_load_failed", "No module named 'caf\u00e9'", 0
    ),
    "control load": frames.Control("load", _BATCHER, *_MODEL, 70_000),
    "heartbeat of a runner": frames.Heartbeat("runner", _RUNNER, "ready", 2**33, _REPORTS, {"batches": 7}),
    "heartbeat of a batcher": frames.Heartbeat("batcher", _BATCHER, "draining", 0, [], {}),
    "result": frames.Result(17, 1_150, True, (1, 0), (2, 1), b"", b"\x90", [b"ab", b""]),
    "fault": frames.Fault(17, 1_150, False, "model_failed", "ValueError: no", (0,)),
    "loaded": frames.Loaded("", "", 12_345_678),
    "event unloaded": frames.Event("unloaded", _RUNNER, *_MODEL, 0, [], 0, 0, "", "", 0),
    "order to unload": frames.Control("unload", _GATEWAY, *_MODEL, 0),
    "report": frames.Report("", "", 0),
    "report of a failure": frames.Report("model_load_failed", "No module named 'caf\u00e9'", 1_000),
    "heartbeat of a batcher that loads": frames.Heartbeat(
        "batcher", _BATCHER, "ready", 0, [ModelReport("iris:1", "loading")], {"waiting": 2**64 - 1}
    ),
    "prepare": frames.Prepare("succeed", _GATEWAY, *_MODEL, ["python=3.11", "scikit-learn=1", "gpu"]),
    "prepare without needs": frames.Prepare("release", _GATEWAY, *_MODEL, []),
    "traits": frames.Traits(_RUNNER, ["python=3.11", "scikit-learn=1", "gpu", "gpu=0"]),
}

VALUES: Final[dict[str, Any]] = {
    "None": None,
    "true": True,
    "small int": 5,
    "largest int": 2**64 - 1,
    "smallest int": -(2**63),
    "float": 1.5,
    "NaN": float("nan"),
    "negative infinity": float("-inf"),
    "str": "caf\u00e9",
    "bytes": b"\x00\xff",
    "list": [1, "a", None],
    "tuple": (1, (2,)),
    "dict": {"b": 1, "a": [True]},
    "int16 array": np.array([[1, 2], [3, 4]], "<i2"),
    "big-endian array": np.array([1, 2], ">i2"),
    "column-major array": np.asfortranarray(np.array([[1, 2], [3, 4]], "u1")),
    "0-d array": np.array(1.5, "<f4"),
    "array without rows": np.zeros((0, 3), "<f8"),
    "bool array": np.array([True, False]),
    "float16 array": np.array([1.5, np.inf], "<f2"),
    "str array": np.array([["a"], ["caf\u00e9"]]),
    "numpy scalar": np.float32(1.5),
    "dict with int and bool keys": {7: "a", -2: "b", True: "c", "7": "d"},
    "date": date(2026, 12, 3),
    "time": time(23, 59, 59, 999_999),
    "datetime": datetime(2026, 10, 25, 2, 30, fold=1),
    "datetime with an offset": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
    "datetime in a zone": datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")),
    "timedelta": timedelta(microseconds=-1),
    "Decimal": Decimal("-0.10"),
    "Decimal NaN": Decimal("NaN"),
    "UUID": UUID("12345678-1234-5678-1234-567812345678"),
    "csr matrix": scipy.sparse.csr_matrix(np.array([[0, 1.5], [0, 0]])),
    "csc array": scipy.sparse.csc_array(np.array([[0, 1], [2, 0]], "u1")),
    "coo matrix with a value twice": scipy.sparse.coo_matrix(
        ([1, 2], ([0, 0], [1, 1])), shape=(2, 2), dtype="i8"
    ),
    "dia array": scipy.sparse.dia_array((np.array([[1.0, 2.0]], "f4"), [1]), shape=(2, 2)),
    "lil matrix": scipy.sparse.lil_matrix(np.array([[True, False]])),
    "str scalar with a NUL": np.str_("a\0"),
    "str array with a NUL": np.array(["a\0", "b"], dtype=object),
    "Series": pd.Series([1, 2], dtype="int64", name="s"),
    "DataFrame": pd.DataFrame(
        {
            "number": np.array([1.5, 2.5]),
            "object": pd.Series(["x", None], dtype=object),
            "time": np.array([0, 1], "datetime64[s]"),
        },
        index=pd.Index([10, 20], dtype="int64", name="id"),
    ),
    "dict with other keys": {2.5: 1, None: 2, (1, "a"): 3},
    "days": np.array(["2024-01-02", "NaT"], "M8[D]"),
    "bytes array": np.array([b"ab", b"c"]),
    "records": np.array([(1, 2.5)], [("n", "<i4"), ("x", "<f8")]),
    "objects": np.array([1, None, "a"], dtype=object),
    "masked array": np.ma.masked_array([1, 2], [False, True], dtype="<i4", fill_value=7),
    "complex number": np.complex64(1 + 2j),
    "NA": pd.NA,
    "NaT": pd.NaT,
    "Index": pd.Index([3, 1], dtype="int64", name="i"),
    "MultiIndex": pd.MultiIndex.from_arrays([np.array([1, 2]), np.array([True, False])], names=["a", None]),
    "Series of categories": pd.Series(
        pd.Categorical.from_codes([0, -1], categories=pd.Index([5, 3], dtype="int64"))
    ),
    "Series of Int64": pd.Series([1, None], dtype="Int64"),
    "Series with a zone": pd.Series(pd.DatetimeIndex(np.array([0, 1], "M8[s]"), tz="Europe/Berlin")),
    "Series of periods": pd.Series(pd.PeriodIndex(["2024-01"], freq="M")),
    "Series of intervals": pd.Series(pd.arrays.IntervalArray.from_breaks(np.array([0, 1, 2]))),
    "sparse Series": pd.Series(pd.arrays.SparseArray(np.array([0.0, 1.5]), fill_value=0.0)),
    "DataFrame with named columns": pd.DataFrame({"a": np.array([1])}).rename_axis(columns="c"),
}

CALLS: Final[dict[str, tuple[tuple[Any, ...], dict[str, Any], int | None]]] = {
    "one array on axis 0": ((np.array([[1, 2], [3, 4]], "<i8"),), {}, 0),
    "one array on axis 1": ((np.array([[5], [6]], "<i8"),), {}, 1),
    "a list": (([1, "a"],), {}, 0),
    "strings": ((np.array(["ab", "c"]),), {}, 0),
    "two arrays and a fixed argument": ((np.zeros((1, 2), "<f4"), {"x": np.ones(1, "u1")}), {"k": 3}, 0),
    "a Series": ((pd.Series([1.5, 2.5]),), {}, 0),
    "no batch axis": ((1,), {"k": "v"}, None),
    "rows of a csr matrix": ((scipy.sparse.csr_array(np.array([[0, 1.5], [2, 0]])),), {}, 0),
    "bytes": ((np.array([b"ab", b"c"]),), {}, 0),
    "a table with labels": (
        (pd.DataFrame({"a": np.array([1])}, index=pd.Index([7], dtype="int64", name="id")),),
        {},
        0,
    ),
    "a table of numbers": ((pd.DataFrame(np.array([[1.5, 2], [3, 4]]), columns=["b", "a"]),), {}, 0),
    "a table of records": (
        (
            pd.DataFrame(
                {
                    "number": [0.5, -1.0],
                    "flag": [True, False],
                    "many": pd.array([2**62 + 1, None], dtype="Int64"),
                    "text": pd.array(["é", None], dtype="string"),
                    "kind": pd.Categorical(["b", None], ["b", "a"], ordered=True),
                    "day": np.array([0, 86_400], "M8[s]"),
                }
            ),
        ),
        {},
        0,
    ),
}


def _frame(kind: int, header: bytes, body: bytes = b"", *, version: int = 2, magic: bytes = b"VT") -> bytes:
    return struct.pack("<2sBBI", magic, version, kind, len(header)) + header + body


def _tensor(spec: str, data: str) -> bytes:
    content = bytes.fromhex(spec + data)
    return bytes((0xC7, len(content), 1)) + content


def _numbers(spec: str, names: bytes) -> bytes:
    """A head that is a table of numbers."""
    content = bytes.fromhex(spec) + names
    return bytes((0xC7, len(content), 22)) + content


def _records(kind: Any) -> bytes:
    """A head that is a table of records."""
    content: bytes = msgpack.packb(kind)
    return bytes((0xC7, len(content), 23)) + content


_CANCEL: Final = frames.encode(FRAMES["cancel"])
_HEADER: Final = b"\x92\xa2gw\xc4\x08\1\0\0\0\0\0\0\0"
_HOLE: Final = "00 04 00 01 0000000000000000"


def _batch(**changes: bytes) -> bytes:
    """The batch with labels, with some of its fields as they go into the header."""
    frame = FRAMES["batch with labels"]
    prefix, header, *body = frames.encode_parts(frame)
    fields = dict(zip(frame._fields, msgpack.unpackb(header), strict=True)) | changes
    return _frame(prefix[3], msgpack.packb(list(fields.values())), b"".join(body))


def _beat(models: object, counters: object) -> bytes:
    packed = [value if isinstance(value, bytes) else msgpack.packb(value) for value in (models, counters)]
    return _frame(8, msgpack.packb(["runner", _RUNNER, "ready", 0, *packed]))


def _bad_labels() -> dict[str, tuple[str, bytes, bytes, int, str]]:
    """What version 2 brought, malformed."""
    bad = {
        "request ids for fewer entries": _batch(request_ids=b"\1a"),
        "request id longer than its column": _batch(request_ids=b"\1a\0\5b"),
        "request id of 129 bytes": _batch(request_ids=b"\0\0\x81" + b"a" * 129),
        "request id not UTF-8": _batch(request_ids=b"\0\0\2\xff\xff"),
        "trace of 24 bytes": _batch(traces=bytes(50) + _TRACE[:24]),
        "traces for fewer entries": _batch(traces=_TRACE),
        "trace without a trace id": _batch(traces=bytes(50 + 16) + _TRACE[16:]),
        "trace without a span id": _batch(traces=bytes(50) + _TRACE[:16] + bytes(8) + b"\1"),
        "kinds of bodies for fewer entries": _batch(body_kinds=b"\0"),
        "sizes of 7 bytes": _batch(sizes=bytes(7)),
        "size 0": _batch(sizes=struct.pack("<2I", 0, 8)),
        "sizes that fall": _batch(sizes=struct.pack("<2I", 8, 8)),
        "65 sizes": _batch(sizes=struct.pack("<65I", *range(1, 66))),
        "models that are a map": _beat({}, {}),
        "model of 4 fields": _beat([["iris:1", "ready", "", 1]], {}),
        "model with a number for its tag": _beat([[1, "ready", "", 1, {}]], {}),
        "model with -1 replicas": _beat([["iris:1", "ready", "", -1, {}]], {}),
        "models, truncated": _beat(b"\x91\x95", {}),
        "counter below 0": _beat([], {"batches": -1}),
        "counter that is a float": _beat([], {"batches": 1.0}),
        "counter named by a number": _beat([], b"\x81\1\1"),
        "counter with a name of 65 bytes": _beat([], {"a" * 65: 1}),
        "counters that are an array": _beat([], []),
        "65 counters": _beat([], {str(number): 1 for number in range(65)}),
        "models by the line": _frame(8, msgpack.packb(["runner", _RUNNER, "ready", 0, b"iris:1", b"\x80"])),
    }
    return {f"frame, {name}": ("frame", data, b"", 0, "bad_frame") for name, data in bad.items()}


def _extension(code: int, data: bytes) -> bytes:
    return bytes(msgpack.packb(msgpack.ExtType(code, data)))


def _bad_values() -> dict[str, tuple[str, bytes, bytes, int, str]]:
    """The values that version 2 brought, malformed."""
    day, clock = struct.pack("<I", 1), struct.pack("<QB", 0, 0)
    bad = {
        "date 0": _extension(6, bytes(4)),
        "date beyond the year 9999": _extension(6, struct.pack("<I", 3_652_060)),
        "date of 3 bytes": _extension(6, bytes(3)),
        "time of 24 hours": _extension(7, struct.pack("<QBB", 86_400_000_000, 0, 0)),
        "time with a fold of 2": _extension(7, struct.pack("<QBB", 0, 2, 0)),
        "time without a zone byte": _extension(7, clock),
        "datetime, zone of an unknown kind": _extension(8, day + clock + b"\3"),
        "datetime, something after no zone": _extension(8, day + clock + b"\0\0"),
        "datetime, offset of 24 hours": _extension(
            8, day + clock + b"\1" + struct.pack("<q", 86_400_000_000)
        ),
        "datetime, zone that climbs": _extension(8, day + clock + b"\2../../etc/passwd"),
        "datetime, zone that is absolute": _extension(8, day + clock + b"\2/etc/passwd"),
        "datetime, zone that is a folder": _extension(8, day + clock + b"\2Europe"),
        "datetime, zone of 65 bytes": _extension(8, day + clock + b"\2" + b"a" * 65),
        "duration of 86,400 seconds": _extension(9, struct.pack("<iII", 0, 86_400, 0)),
        "duration of 1,000,000,000 days": _extension(9, struct.pack("<iII", 10**9, 0, 0)),
        "decimal of letters": _extension(10, b"one"),
        "decimal with an underscore": _extension(10, b"1_0"),
        "decimal with a large exponent": _extension(10, b"1E+10000"),
        "decimal of 1,025 digits": _extension(10, b"1" * 1_025),
        "UUID of 15 bytes": _extension(11, bytes(15)),
        "sparse, not an array": _extension(12, b"\1"),
        "sparse, too few fields": _sparse("csr", False, [1, 1]),
        "sparse, unknown format": _sparse("xyz", False, [1, 1], "<f8 1.", "<i4 0", "<i4 0 1"),
        "sparse, negative size": _sparse("csr", False, [-1, 1], "<f8 1.", "<i4 0", "<i4 0 1"),
        "sparse, index beyond its shape": _sparse("csr", False, [1, 1], "<f8 1.", "<i4 1", "<i4 0 1"),
        "sparse, index below 0": _sparse("csc", False, [1, 1], "<f8 1.", "<i4 -1", "<i4 0 1"),
        "sparse, rows that run back": _sparse("csr", False, [2, 1], "<f8 1.", "<i4 0", "<i4 0 2 1"),
        "sparse, rows that do not end": _sparse("csr", False, [1, 1], "<f8 1.", "<i4 0", "<i4 0 9"),
        "sparse, values without indices": _sparse("coo", True, [2, 2], "<f8 1. 2.", "<i4 0", "<i4 0"),
        "sparse, coordinate beyond its shape": _sparse("coo", True, [2, 2], "<f8 1.", "<i4 2", "<i4 0"),
        "sparse, indices of floats": _sparse("coo", True, [2, 2], "<f8 1.", "<f8 0.", "<i4 0"),
        "sparse, text for values": _sparse("coo", True, [2, 2], "U1 a", "<i4 0", "<i4 0"),
        "sparse, matrix of one dimension": _sparse("coo", False, [2], "<f8 1.", "<i4 0"),
        "sparse, a diagonal twice": _sparse("dia", False, [1, 1], np.ones((2, 1)), "<i4 0 0"),
        "sparse, block of nothing": _sparse("bsr", False, [1, 1], np.ones((0, 0, 1)), "<i4", "<i4 0 0"),
    }
    return {f"value, {name}": ("value", data, b"", 0, "bad_frame") for name, data in bad.items()}


def _sparse(form: str, is_array: bool, shape: list[int], *parts: Any) -> bytes:
    """A sparse matrix of arrays, or of a dtype and items in words."""

    def array(words: str) -> np.ndarray[Any, Any]:
        dtype, *items = words.split()
        return np.array(items, "U1" if dtype == "U1" else "<f8").astype(dtype)

    arrays = [array(part) if isinstance(part, str) else part for part in parts]
    return _extension(12, encode_value([form, is_array, shape, *arrays]))


# Name: (what it should have been, bytes, and after them a byte so many times, the code of the error).
def _of_fields(code: int, fields: list[Any]) -> bytes:
    return bytes(msgpack.packb(msgpack.ExtType(code, encode_value(fields))))


def _of_mapping(*items: Any) -> bytes:
    return _of_fields(13, list(items))


def _of_array(*fields: Any) -> bytes:
    return _of_fields(21, list(fields))


def _of_pandas(*fields: Any) -> bytes:
    return _of_fields(15, list(fields))


MALFORMED: Final[dict[str, tuple[str, bytes, bytes, int, str]]] = {
    "frame, empty": ("frame", b"", b"", 0, "bad_frame"),
    "frame, truncated in the prefix": ("frame", _CANCEL[:5], b"", 0, "bad_frame"),
    "frame, truncated in the header": ("frame", _CANCEL[:-1], b"", 0, "bad_frame"),
    "frame, truncated in the body": ("frame", frames.encode(FRAMES["request"])[:-1], b"", 0, "bad_frame"),
    "frame, bytes after it": ("frame", _CANCEL + b"\0", b"", 0, "bad_frame"),
    "frame, wrong magic": ("frame", _frame(5, _HEADER, magic=b"VX"), b"", 0, "bad_frame"),
    "frame, protocol version 1": ("frame", _frame(5, _HEADER, version=1), b"", 0, "unsupported_version"),
    "frame, protocol version 3": ("frame", _frame(5, _HEADER, version=3), b"", 0, "unsupported_version"),
    "frame, unknown kind": ("frame", _frame(99, _HEADER), b"", 0, "bad_frame"),
    "frame, header of 4 GiB": ("frame", struct.pack("<2sBBI", b"VT", 2, 5, 2**32 - 1), b"", 0, "bad_frame"),
    "frame, array of 2**32-1": ("frame", _frame(5, b"\xdd\xff\xff\xff\xff"), b"", 0, "bad_frame"),
    "frame, map of 2**32-1": ("frame", _frame(5, b"\xdf\xff\xff\xff\xff"), b"", 0, "bad_frame"),
    "frame, bin of 2**32-1": ("frame", _frame(5, b"\x92\xa2gw\xc6\xff\xff\xff\xff"), b"", 0, "bad_frame"),
    "frame, bytes after the header": ("frame", _frame(5, _HEADER + b"\xc0"), b"", 0, "bad_frame"),
    "frame, 10 MB of empty maps": (
        *(
            "frame",
            struct.pack("<2sBBI", b"VT", 2, 5, 10_000_005) + b"\xdd\0\x98\x96\x80",
            b"\x80",
            10_000_000,
        ),
        "bad_frame",
    ),
    "frame, 600 levels": ("frame", struct.pack("<2sBBI", b"VT", 2, 5, 600), b"\x91", 600, "bad_frame"),
    "frame, extension": ("frame", _frame(5, b"\x92\xa2gw\xd7\1" + bytes(8)), b"", 0, "bad_frame"),
    "frame, bad timestamp": ("frame", _frame(5, b"\x92\xa2gw\xc7\3\xff" + bytes(3)), b"", 0, "bad_frame"),
    "frame, field missing": ("frame", _frame(5, b"\x91\xa2gw"), b"", 0, "bad_frame"),
    "frame, field too many": ("frame", _frame(5, b"\x93" + _HEADER[1:] + b"\xc0"), b"", 0, "bad_frame"),
    "frame, map for a header": ("frame", _frame(5, b"\x80"), b"", 0, "bad_frame"),
    "frame, number for a str": ("frame", _frame(5, b"\x92\7" + _HEADER[4:]), b"", 0, "bad_frame"),
    "frame, str not UTF-8": ("frame", _frame(5, b"\x92\xa2\xff\xff" + _HEADER[4:]), b"", 0, "bad_frame"),
    "frame, column of 7 bytes": ("frame", _frame(5, b"\x92\xa2gw\xc4\7" + bytes(7)), b"", 0, "bad_frame"),
    "frame, no entries": ("frame", _frame(5, b"\x92\xa2gw\xc4\0"), b"", 0, "bad_frame"),
    "frame, pickle": ("frame", pickle.dumps({"a": 1}, 4), b"", 0, "bad_frame"),
    **_bad_labels(),
    "value, empty": ("value", b"", b"", 0, "bad_frame"),
    "value, truncated": ("value", b"\x93\1\2", b"", 0, "bad_frame"),
    "value, bytes after it": ("value", b"\1\2", b"", 0, "bad_frame"),
    "value, array of 2**32-1": ("value", b"\xdd\xff\xff\xff\xff", b"", 0, "bad_frame"),
    "value, map of 2**32-1": ("value", b"\xdf\xff\xff\xff\xff", b"", 0, "bad_frame"),
    "value, bin of 2**32-1": ("value", b"\xc6\xff\xff\xff\xff", b"", 0, "bad_frame"),
    "value, 10 MB of empty maps": ("value", b"\xdd\0\x98\x96\x80", b"\x80", 10_000_000, "bad_frame"),
    "value, 10 MB of nils": ("value", b"\xdd\0\x98\x96\x80", b"\xc0", 10_000_000, "bad_frame"),
    "value, 100,001 objects": ("value", b"\xdd\0\1\x86\xa0", b"\xc0", 100_000, "bad_frame"),
    "value, 33 levels": ("value", b"\x91" * 32, b"\x90", 1, "too_deep"),
    "value, 600 levels": ("value", b"", b"\x91", 600, "too_deep"),
    "value, unused type byte": ("value", b"\xc1", b"", 0, "bad_frame"),
    "value, unknown extension": ("value", b"\xd4\x63\0", b"", 0, "bad_frame"),
    "value, timestamp": ("value", b"\xd6\xff\0\0\0\0", b"", 0, "bad_frame"),
    "value, float key": ("value", b"\x81\xcb" + bytes(8) + b"\2", b"", 0, "bad_frame"),
    "value, 1 and true as keys": ("value", b"\x82\1\2\xc3\2", b"", 0, "bad_frame"),
    **_bad_values(),
    "value, duplicate key": ("value", b"\x82\xa1a\1\xa1a\2", b"", 0, "bad_frame"),
    "value, str not UTF-8": ("value", b"\xa1\xff", b"", 0, "bad_frame"),
    "value, tuple of no array": ("value", b"\xd4\2\1", b"", 0, "bad_frame"),
    "value, tuple longer than its array": ("value", b"\xd5\2\x90\x90", b"", 0, "bad_frame"),
    "value, pickle": ("value", pickle.dumps({"a": 1}, 4), b"", 0, "bad_frame"),
    "tensor, a byte short": ("value", _tensor("02 00 01 0200000000000000", "010002"), b"", 0, "bad_tensor"),
    "tensor, a byte long": (
        "value",
        _tensor("02 00 01 0200000000000000", "0100020003"),
        b"",
        0,
        "bad_tensor",
    ),
    "tensor, unknown dtype": ("value", _tensor("0e 00 00", "00"), b"", 0, "bad_tensor"),
    "tensor, unknown container": ("value", _tensor("01 03 00", "00"), b"", 0, "bad_tensor"),
    "tensor, 9 dimensions": (
        "value",
        _tensor("01 00 09" + "0100000000000000" * 9, "00"),
        b"",
        0,
        "bad_tensor",
    ),
    "tensor, 2**62 items": ("value", _tensor("01 00 01 0000000000000040", "00"), b"", 0, "bad_tensor"),
    "tensor, 2**64-1 items of nothing": (
        *("value", _tensor("01 00 02 ffffffffffffffff 0000000000000000", ""), b"", 0, "bad_tensor"),
    ),
    "tensor, bool of 2": ("value", _tensor("00 00 00", "02"), b"", 0, "bad_tensor"),
    "tensor, str not UTF-8": ("value", _tensor("0d 00 00", "01000000 ff"), b"", 0, "bad_tensor"),
    "tensor, strings that do not add up": ("value", _tensor("0d 00 00", "02000000 61"), b"", 0, "bad_tensor"),
    "head, empty": ("head", b"", b"", 0, "bad_frame"),
    "head, no hole": ("head", b"\x92\x90\x80", b"", 0, "bad_frame"),
    "head, axis beyond the dimensions": (
        *("head", b"\xc7\x0c\x10" + bytes.fromhex(_HOLE.replace("00 04", "01 04", 1)), b"", 0, "bad_tensor"),
    ),
    "head, hole a byte long": ("head", b"\xc7\x0d\x10" + bytes.fromhex(_HOLE) + b"\0", b"", 0, "bad_tensor"),
    "head, 600 levels": ("head", b"", b"\x91", 600, "too_deep"),
    "value, mapping with a key twice": ("value", _of_mapping(1, 2, True, 3), b"", 0, "bad_frame"),
    "value, mapping without a value": ("value", _of_mapping(1, 2, 3), b"", 0, "bad_frame"),
    "value, mapping with a list for a key": ("value", _of_mapping([1], 2), b"", 0, "bad_frame"),
    "value, array of objects by their addresses": (
        "value",
        _of_array("raw", [1], "|O", bytes(8)),
        b"",
        0,
        "bad_frame",
    ),
    "value, array with bytes left": ("value", _of_array("raw", [1], "<M8[D]", bytes(9)), b"", 0, "bad_frame"),
    "value, array of an unknown form": (
        "value",
        _of_array("view", [1], "<M8[D]", bytes(8)),
        b"",
        0,
        "bad_frame",
    ),
    "value, masked array with a short mask": (
        "value",
        _of_array("masked", [2], np.zeros(2), np.zeros(1, bool), 0.0),
        b"",
        0,
        "bad_frame",
    ),
    "value, category with a code too many": (
        "value",
        _of_pandas("array", ["category", [np.array([1], "i1"), ["tensor", np.zeros(1)], False]]),
        b"",
        0,
        "bad_frame",
    ),
    "value, value of pandas of an unknown class": ("value", _of_pandas("frame", []), b"", 0, "bad_frame"),
    "value, Arrow data of an unknown class": (
        "value",
        _of_fields(14, ["pyarrow.Tensor", "", b""]),
        b"",
        0,
        "bad_frame",
    ),
    "head, table of numbers without a name": (
        *("head", _numbers("01 00 02 0000000000000000 0100000000000000", b"\x90"), b"", 0, "bad_frame"),
    ),
    "head, table of numbers with rows": (
        *("head", _numbers("01 00 02 0100000000000000 0100000000000000", b"\x91\xa1a"), b"", 0, "bad_frame"),
    ),
    "head, table of numbers under a number": (
        *("head", _numbers("01 00 02 0000000000000000 0100000000000000", b"\x91\x07"), b"", 0, "bad_frame"),
    ),
    "head, table of strings": (
        *("head", _numbers("0d 00 02 0000000000000000 0100000000000000", b"\x91\xa1a"), b"", 0, "bad_frame"),
    ),
    "head, table of records of an unknown dtype": (
        *("head", _records([["a"], ["float65"], None]), b"", 0, "bad_frame"),
    ),
    "head, table of records under a fraction": (
        *("head", _records([[0.5], ["int8"], None]), b"", 0, "bad_frame"),
    ),
    "head, table of records without the name of its labels": (
        *("head", _records([["a"], ["int8"], ["int8"]]), b"", 0, "bad_frame"),
    ),
}


def describe(value: Any) -> str:
    """A value in words that tell it from every other one; what the `means` of a vector says."""
    if isinstance(value, pd.DataFrame):
        columns = ", ".join(f"{name!r}: {describe(value[name])}" for name in value.columns)
        return f"DataFrame({{{columns}}})"
    if isinstance(value, pd.Series):
        items = ", ".join(map(str, value.tolist()))
        return f"Series({value.name!r}, {value.dtype}, [{items}], index {value.index.name!r} {value.index.tolist()})"
    if scipy.sparse.issparse(value):
        kind = type(value).__name__
        return f"{kind}({value.dtype}, {value.shape}, {value.tocoo().data.tolist()} at {_places(value)})"
    if isinstance(value, np.ndarray):
        dtype = "str" if value.dtype.kind in "UO" else value.dtype.newbyteorder("=").name
        return f"array({dtype}, {list(value.shape)}, {value.tolist()})"
    if isinstance(value, np.str_):
        return f"str_({str.__repr__(value)})"
    if isinstance(value, np.generic):
        return f"{value.dtype.name}({value.item()})"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(describe, value))
        return f"[{inner}]" if isinstance(value, list) else f"tuple({inner})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {describe(item)}" for key, item in value.items()) + "}"
    return repr(value)


def _places(matrix: Any) -> list[Any]:
    return np.argwhere(matrix.toarray()).tolist()


def fields_of(frame: Any) -> dict[str, Any]:
    """A frame's fields as JSON; bytes are hex."""

    def plain(value: Any) -> Any:
        if isinstance(value, (bytes, memoryview)):
            return bytes(value).hex()
        if isinstance(value, Mapping):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return {name: plain(value) for name, value in zip(frame._fields, frame, strict=True)}


def vectors() -> Iterator[tuple[str, dict[str, Any]]]:
    """(section, vector) for every case, as this version of the code makes them."""
    for name, frame in FRAMES.items():
        data = frames.encode(frame)
        yield (
            "frames",
            {"name": name, "kind": type(frame).__name__, "fields": fields_of(frame), "hex": data.hex()},
        )
    for name, value in VALUES.items():
        yield "values", {"name": name, "means": describe(value), "hex": encode_value(value).hex()}
    for name, (args, kwargs, axis) in CALLS.items():
        packed = pack_call(args, kwargs, every(axis))
        hexes = {"head": packed.head.hex(), "body": bytes(packed.body).hex()}
        means = describe([list(args), kwargs])
        yield "calls", {"name": name, "axis": axis, "means": means, "rows": packed.rows, **hexes}
    for name, (of, data, byte, times, code) in MALFORMED.items():
        repeated = {"then": byte.hex(), "times": times} if times else {}
        yield "malformed", {"name": name, "of": of, "hex": data.hex(), **repeated, "error": code}


def load() -> dict[str, list[dict[str, Any]]]:
    """The frozen vectors by section."""
    loaded: dict[str, list[dict[str, Any]]] = json.loads(PATH.read_text())["vectors"]
    return loaded


def data_of(vector: dict[str, Any]) -> bytes:
    """The bytes of a malformed vector."""
    return bytes.fromhex(vector["hex"]) + bytes.fromhex(vector.get("then", "")) * vector.get("times", 0)


def main() -> int:
    frozen = load() if PATH.exists() else {}
    known = {(section, vector["name"]): vector for section, listed in frozen.items() for vector in listed}
    changed = [
        vector["name"]
        for section, vector in vectors()
        if known.setdefault((section, vector["name"]), vector) != vector
    ]
    if changed:
        print("these differ from what version 2 is:", *changed, sep="\n  ", file=sys.stderr)
        return 1
    sections: dict[str, list[dict[str, Any]]] = {}
    for (section, _), vector in known.items():
        sections.setdefault(section, []).append(vector)
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(
        json.dumps({"protocol_version": PROTOCOL_VERSION, "vectors": sections}, indent=1, ensure_ascii=False)
        + "\n"
    )
    print(f"{len(known)} vectors in {PATH.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
