"""Values of every kind that callers send and methods return, and what becomes of them in each form.

docs/values.md is written from this table, and the tests run each of its rows.
"""

from __future__ import annotations

import datetime
import decimal
import importlib.util
import uuid
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

AS_IT_IS = "the same"
NONE = "406"
OF_JSON = "BYTES, each JSON"
"""A tensor whose items are the JSON of those of the result."""


class ValueKind(NamedTuple):
    """One kind of value.

    Attributes:
        name: for people.
        make: makes one; of two rows, if it has rows.
        json: its JSON.
        npy: dtype of its .npy; NONE if it has none.
        arrow: whether it has an Arrow form.
        oip: datatypes of its tensors; empty if it has none.
        client: what the client, msgpack and a model get where it is not the same type.
        rows: whether calls with it are merged along its rows.
        sendable: whether the client can send it.
        needs: the package that it is of, where that is not always there.
        column: whether it may be a column of a table that an input example records: then JSON and CSV of it are read
            as what it was.
    """

    name: str
    make: Callable[[], Any]
    json: Any
    npy: str = NONE
    arrow: bool = False
    oip: str = ""
    client: str = AS_IT_IS
    rows: bool = True
    sendable: bool = True
    needs: str = ""
    column: bool = False


def _series(values: Any, **options: Any) -> Callable[[], Any]:
    return lambda: pd.Series(values() if callable(values) else values, **options)


def _objects(*items: Any) -> Any:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _frame() -> pd.DataFrame:
    return pd.DataFrame({"a": np.array([0.1, 2], np.float32), "b": ["x", "y"]})


def _labelled() -> pd.DataFrame:
    return _frame().set_axis(pd.Index([7, 3], name="id"), axis=0)


def _records() -> Any:
    return np.array([(1, 0.1, "a"), (2, 0.2, "b")], [("n", "i4"), ("x", "f4"), ("t", "U2")])


def _bfloat16() -> Any:
    import ml_dtypes

    return np.array([0.5, 2], ml_dtypes.bfloat16)


def _texts() -> Any:
    return np.array(["a", "bc"], np.dtypes.StringDType())


def _arrow_backed() -> Any:
    import pyarrow as pa

    return pd.Series(pd.array([1, None], dtype=pd.ArrowDtype(pa.int32())))


def _polars() -> Any:
    import polars

    return polars.DataFrame({"a": [1, None], "b": ["x", "y"]})


def _pyarrow() -> Any:
    import pyarrow as pa

    return pa.table({"a": [1, None], "b": ["x", "y"]})


def _tensor(dtype: str) -> Callable[[], Any]:
    def make() -> Any:
        import torch

        return torch.tensor([[0.5], [2.0]], dtype=getattr(torch, dtype))

    return make


DAY = datetime.date(2024, 1, 2)
NOON = datetime.datetime(2024, 1, 2, 12, tzinfo=datetime.timezone.utc)
UUID = uuid.UUID(int=5)
CSR = {"shape": [2, 2], "indices": [1, 0], "indptr": [0, 1, 2], "data": [1.5, 2.0]}
DATES = ["2024-01-02T00:00:00", None]

KINDS: tuple[ValueKind, ...] = (
    # numbers and texts
    ValueKind("float64 array", lambda: np.array([[0.1], [2]]), [[0.1], [2.0]], "<f8", True, "FP64"),
    ValueKind("float32 array", lambda: np.float32([[0.1], [2]]), [[0.1], [2.0]], "<f4", True, "FP32"),
    ValueKind("float16 array", lambda: np.float16([0.5, 2]), [0.5, 2.0], "<f2", True, "FP32"),
    ValueKind("bfloat16 array", _bfloat16, [0.5, 2.0], "<f4", False, "FP32", needs="ml_dtypes"),
    ValueKind("int8 array", lambda: np.array([1, -2], np.int8), [1, -2], "|i1", True, "INT8"),
    ValueKind("uint64 array", lambda: np.array([1, 2**64 - 1], np.uint64), [1, 2**64 - 1], "<u8", True, "UINT64"),
    ValueKind("bool array", lambda: np.array([True, False]), [True, False], "|b1", True, "BOOL"),
    ValueKind("text array", lambda: np.array(["a", "bc"]), ["a", "bc"], "<U2", True, "BYTES"),
    ValueKind("StringDType array", _texts, ["a", "bc"], "<U2", True, "BYTES"),
    ValueKind("bytes array", lambda: np.array([b"ab", b"c"]), ["YWI=", "Yw=="], "|S2", True, "BYTES"),
    ValueKind("object array", lambda: _objects(1, None), [1, None], NONE, True, "FP64"),
    ValueKind("object array of texts and numbers", lambda: _objects("a", 1), ["a", 1], NONE, False, "BYTES"),
    ValueKind("masked array", lambda: np.ma.masked_array([1, 2], [False, True]), [1, None], NONE, False, "FP64"),
    ValueKind("structured array", _records, [{"n": 1, "x": 0.1, "t": "a"}, {"n": 2, "x": 0.2, "t": "b"}],
              "[('n', '<i4'), ('x', '<f4'), ('t', '<U2')]", True, "INT32 FP32 BYTES"),
    ValueKind("complex array", lambda: np.array([1j, 2]), None, "<c16", False),
    ValueKind("float32 number", lambda: np.float32(0.1), 0.1, "<f4", False, "FP32", rows=False),
    ValueKind("float", lambda: 0.1, 0.1, NONE, False, "FP64", rows=False),
    # times
    ValueKind("datetime64[D] array", lambda: np.array(["2024-01-02", "NaT"], "M8[D]"), ["2024-01-02", None],
              "<M8[D]", True, OF_JSON),
    ValueKind("datetime64[ns] array", lambda: np.array(["2024-01-02", "2024-01-02T03:04:05.000000006"], "M8[ns]"),
              ["2024-01-02T00:00:00", "2024-01-02T03:04:05.000000006"], "<M8[ns]", True, "BYTES"),
    ValueKind("timedelta64[s] array", lambda: np.array([1, 90_061], "m8[s]"), ["P0DT0H0M1S", "P1DT1H1M1S"],
              "<m8[s]", True, "BYTES"),
    ValueKind("datetime64 number", lambda: np.datetime64("2024-01"), "2024-01", "<M8[M]", False, "BYTES", rows=False),
    ValueKind("date", lambda: DAY, "2024-01-02", NONE, False, "BYTES", rows=False),
    ValueKind("datetime", lambda: NOON, "2024-01-02T12:00:00+00:00", NONE, False, "BYTES", rows=False),
    ValueKind("time", lambda: datetime.time(1, 2), "01:02:00", NONE, False, "BYTES", rows=False),
    ValueKind("timedelta", lambda: datetime.timedelta(1, 2.5), "P1DT0H0M2.5S", NONE, False, "BYTES", rows=False),
    ValueKind("Timestamp", lambda: pd.Timestamp("2024-01-02", tz="Europe/Berlin"), "2024-01-02T00:00:00+01:00", NONE,
              False, "BYTES", rows=False),
    ValueKind("Timedelta", lambda: pd.Timedelta("1h"), "P0DT1H0M0S", NONE, False, "BYTES", rows=False),
    ValueKind("NaT", lambda: pd.NaT, None, NONE, False, rows=False),
    ValueKind("NA", lambda: pd.NA, None, NONE, False, rows=False),
    # plain values
    ValueKind("None", lambda: None, None, NONE, False, rows=False),
    ValueKind("bytes", lambda: b"ab", "YWI=", NONE, False, "BYTES", rows=False),
    ValueKind("Decimal", lambda: decimal.Decimal("1.20"), "1.20", NONE, False, "BYTES", rows=False),
    ValueKind("UUID", lambda: UUID, str(UUID), NONE, False, "BYTES", rows=False),
    ValueKind("list of numbers", lambda: [1, 2.5], [1, 2.5], "<f8", False, "FP64"),
    ValueKind("ragged list", lambda: [[1], [2, 3]], [[1], [2, 3]], NONE, False, OF_JSON),
    ValueKind("list of objects", lambda: [{"a": 1}, {"a": None}], [{"a": 1}, {"a": None}], NONE, False, OF_JSON),
    ValueKind("tuple", lambda: (1, "a"), [1, "a"], NONE, False, "INT64 BYTES", rows=False),
    ValueKind("dict with whole numbers as keys", lambda: {0: 0.25, 1: 0.75}, {"0": 0.25, "1": 0.75}, NONE, False,
              "FP64 FP64", rows=False),
    ValueKind("dict with other keys", lambda: {DAY: 1, 2.5: 2, None: 3}, {"2024-01-02": 1, "2.5": 2, "null": 3}, NONE,
              False, "INT64 INT64 INT64", rows=False),
    ValueKind("generator", lambda: (i for i in range(3)), [0, 1, 2], "<i8", False, "INT64", "a list", False, False),
    ValueKind("range", lambda: range(3), [0, 1, 2], "<i8", False, "INT64", "a list", False, False),
    # matrices and tables
    ValueKind("sparse matrix (csr)", lambda: scipy.sparse.csr_matrix([[0, 1.5], [2, 0]]), CSR, NONE, False,
              "INT64 INT64 INT64 FP64"),
    ValueKind("sparse array (coo)", lambda: scipy.sparse.coo_array([[0, 1.5], [2, 0]]), CSR, NONE, False,
              "INT64 INT64 INT64 FP64", rows=False),
    ValueKind("DataFrame", _frame, [{"a": 0.1, "b": "x"}, {"a": 2.0, "b": "y"}], NONE, True, "FP32 BYTES"),
    ValueKind("DataFrame with labels", _labelled, [{"a": 0.1, "b": "x"}, {"a": 2.0, "b": "y"}], NONE, True,
              "FP32 BYTES"),
    ValueKind("Series", _series(np.float32([0.1, 2]), name="s"), [0.1, 2.0], "<f4", True, "FP32", column=True),
    ValueKind("Index", lambda: pd.Index(["a", "b"], name="i"), ["a", "b"], NONE, True, "BYTES"),
    ValueKind("categories", _series(lambda: pd.Categorical(["x", None], ["y", "x"])), ["x", None], NONE, True, OF_JSON,
              column=True),
    ValueKind("Categorical of pd.cut", lambda: pd.cut(np.array([1, 5]), [0, 3, 6]), ["(0, 3]", "(3, 6]"], NONE, True,
              "BYTES", column=True),
    ValueKind("Int64", _series([2**62 + 1, None], dtype="Int64"), [2**62 + 1, None], NONE, True, "", column=True),
    ValueKind("boolean", _series([True, None], dtype="boolean"), [True, None], NONE, True, "FP64", column=True),
    ValueKind("Float32", _series([0.1, None], dtype="Float32"), [0.1, None], "<f4", True, "FP32", column=True),
    ValueKind("string", _series(["a", None], dtype="string"), ["a", None], NONE, True, OF_JSON, column=True),
    ValueKind("datetime64[s]", _series(np.array(["2024-01-02", "NaT"], "M8[s]")), DATES, "<M8[s]", True, OF_JSON,
              column=True),
    ValueKind("times with a zone", _series(lambda: pd.DatetimeIndex(["2024-01-02", None], tz="Europe/Berlin")),
              ["2024-01-02T00:00:00+01:00", None], NONE, True, OF_JSON, column=True),
    ValueKind("timedelta64[ns]", _series(np.array([3_600 * 10**9, 1], "m8[ns]")),
              ["P0DT1H0M0S", "P0DT0H0M0.000000001S"], "<m8[ns]", True, "BYTES", column=True),
    ValueKind("periods", _series(lambda: pd.PeriodIndex(["2024-01", "2024-02"], freq="M")), ["2024-01", "2024-02"],
              NONE, True, "BYTES", column=True),
    ValueKind("intervals", _series(lambda: pd.arrays.IntervalArray.from_breaks([0, 1, 2])), ["(0, 1]", "(1, 2]"], NONE,
              True, "BYTES", column=True),
    ValueKind("sparse column", _series(lambda: pd.arrays.SparseArray([0, 1.5])), [0.0, 1.5], "<f8", True, "FP64",
              column=True),
    ValueKind("dates", _series(lambda: _objects(DAY, None)), ["2024-01-02", None], NONE, True, OF_JSON, column=True),
    ValueKind("Decimals", _series(lambda: _objects(decimal.Decimal("1.20"), decimal.Decimal(3))), ["1.20", "3"], NONE,
              True, "BYTES", column=True),
    ValueKind("UUIDs", _series(lambda: _objects(UUID, UUID)), [str(UUID)] * 2, NONE, True, "BYTES", column=True),
    ValueKind("times of day", _series(lambda: _objects(datetime.time(1, 2), None)), ["01:02:00", None], NONE, True,
              OF_JSON, column=True),
    ValueKind("column of bytes", _series(lambda: _objects(b"ab", b"c")), ["YWI=", "Yw=="], NONE, True, "BYTES",
              column=True),
    ValueKind("categories of times", _series(lambda: pd.Categorical(np.array(["2024-01-02", "NaT"], "M8[us]"))),
              ["2024-01-02T00:00:00", None], "<M8[us]", True, OF_JSON, column=True),
    ValueKind("categories of periods", _series(lambda: pd.Categorical(pd.PeriodIndex(["2024", "2025"], freq="Y"))),
              ["2024", "2025"], NONE, True, "BYTES", column=True),
    ValueKind("intervals of times", _series(lambda: pd.interval_range(pd.Timestamp("2024-01-01"), periods=2)),
              ["(2024-01-01 00:00:00, 2024-01-02 00:00:00]", "(2024-01-02 00:00:00, 2024-01-03 00:00:00]"], NONE, True,
              "BYTES", column=True),
    ValueKind("Arrow-backed column", _arrow_backed, [1, None], NONE, True, "FP64", needs="pyarrow", column=True),
    ValueKind("polars table", _polars, [{"a": 1, "b": "x"}, {"a": None, "b": "y"}], NONE, True, "FP64 BYTES",
              needs="polars"),
    ValueKind("pyarrow table", _pyarrow, [{"a": 1, "b": "x"}, {"a": None, "b": "y"}], NONE, True, "FP64 BYTES",
              needs="pyarrow"),
    ValueKind("torch tensor", _tensor("float32"), [[0.5], [2.0]], "<f4", True, "FP32",
              "an array in a result; a tensor where the model gets it", needs="torch"),
    ValueKind("torch tensor of bfloat16", _tensor("bfloat16"), [[0.5], [2.0]], "<f4", False, "FP32",
              "an array in a result; a tensor where the model gets it", needs="torch"),
)  # fmt: skip


def installed() -> list[ValueKind]:
    """The kinds whose packages are installed."""
    return [kind for kind in KINDS if all(map(importlib.util.find_spec, kind.needs.split()))]


def _endless() -> Iterator[int]:
    while True:
        yield 1


ENDLESS = ValueKind("endless generator", _endless, None, sendable=False)


def kind_named(name: str) -> ValueKind:
    """The kind of this name."""
    if name == ENDLESS.name:
        return ENDLESS
    return next(kind for kind in KINDS if kind.name == name)


def is_read_to_its_end(value: Any) -> bool:
    """Whether a result comes as a list of what it gives."""
    return isinstance(value, Generator | range)


def check_same(got: Any, right: Any) -> None:
    """AssertionError unless two values are alike in type, dtype, labels, names and content."""
    if isinstance(right, pd.DataFrame):
        pd.testing.assert_frame_equal(got, right, check_exact=True, check_column_type=True, check_freq=False)
        assert got.index.dtype == right.index.dtype
    elif isinstance(right, pd.Series):
        pd.testing.assert_series_equal(got, right, check_exact=True, check_freq=False)
        assert got.index.dtype == right.index.dtype
    elif isinstance(right, pd.Index):
        pd.testing.assert_index_equal(got, right, exact="equiv")
    elif isinstance(right, pd.api.extensions.ExtensionArray):
        assert type(got) is type(right)
        pd.testing.assert_series_equal(pd.Series(got), pd.Series(right))
    elif scipy.sparse.issparse(right):
        assert (type(got), got.dtype, got.shape) == (type(right), right.dtype, right.shape)
        assert (got != right).nnz == 0
    elif isinstance(right, np.ndarray | np.generic):
        _check_same_arrays(got, right)
    elif right is pd.NaT or right is pd.NA or right is None:
        assert got is right
    elif hasattr(right, "equals"):
        assert type(got) is type(right)
        assert got.equals(right)
    else:
        assert (type(got), got) == (type(right), right)


def _check_same_arrays(got: Any, right: Any) -> None:
    assert type(got) is type(right), (got, right)
    assert got.shape == right.shape, (got, right)
    # An array of texts is as wide as its longest, in each answer.
    assert got.dtype == right.dtype or got.dtype.kind == right.dtype.kind == "U", (got, right)
    if isinstance(right, np.ma.MaskedArray):
        assert np.array_equal(np.ma.getmaskarray(got), np.ma.getmaskarray(right))
        assert got.tolist() == right.tolist()
    elif right.dtype.kind in "mM":
        assert np.array_equal(got, right, equal_nan=True)
    else:
        assert np.asarray(got).tolist() == np.asarray(right).tolist()


class Values:
    """Gives values of each kind, and returns what it gets."""

    def predict(self, kind: Any) -> Any:
        return kind_named(kind[0] if isinstance(kind, list) else kind).make()

    def echo(self, x: Any) -> Any:
        return x

    def sees(self, x: Any) -> str:
        return f"{type(x).__module__}.{type(x).__qualname__} {getattr(x, 'dtype', '')}"

    def rows(self, x: Any) -> Any:
        return x
