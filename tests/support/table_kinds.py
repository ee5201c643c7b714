"""Methods that take and give tables of every kind, and what callers send them; travels by value, so it is alone."""

from __future__ import annotations

import datetime
import decimal
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

# --- columns and labels -----------------------------------------------------------------------------------------------


def _some(rng: random.Random, count: int, make: Callable[[], Any], missing: Any = None) -> list[Any]:
    """Values, one in five of them missing."""
    return [missing if rng.random() < 0.2 else make() for _ in range(count)]


def _objects(items: list[Any]) -> Any:
    array = np.empty(len(items), object)
    array[:] = items
    return pd.Series(array)


def _times(rng: random.Random, count: int, unit: str) -> Any:
    numbers = [rng.randrange(10**9) for _ in range(count)]
    return pd.Series(np.array(numbers).view(f"M8[{unit}]"))


def _categories(rng: random.Random, count: int) -> Any:
    known = rng.choice([["x", "y", "z"], ["z", "y", "x"], ["x", "y", "z", "q"]])
    items = _some(rng, count, lambda: rng.choice(known))
    return pd.Series(pd.Categorical(items, known, ordered=rng.random() < 0.3))


COLUMNS: dict[str, Callable[[random.Random, int], Any]] = {
    "int64": lambda rng, n: pd.Series([rng.randrange(10**18) for _ in range(n)]),
    "int8": lambda rng, n: pd.Series([rng.randrange(100) for _ in range(n)], dtype="int8"),
    "float64": lambda rng, n: pd.Series(_some(rng, n, rng.random, np.nan), dtype="float64"),
    "float32": lambda rng, n: pd.Series(_some(rng, n, rng.random, np.nan), dtype="float32"),
    "bool": lambda rng, n: pd.Series([rng.random() < 0.5 for _ in range(n)]),
    "str": lambda rng, n: pd.Series(
        _some(rng, n, lambda: rng.choice(["", "a", "1E5", "NA", "é\0"])), dtype="str"
    ),
    "string": lambda rng, n: pd.Series(_some(rng, n, lambda: rng.choice("ab")), dtype="string"),
    "objects": lambda rng, n: _objects(_some(rng, n, lambda: rng.choice(["a", 1, 2.5, (1, "b"), b"c"]))),
    "category": _categories,
    "Int64": lambda rng, n: pd.Series(_some(rng, n, lambda: rng.randrange(10**18)), dtype="Int64"),
    "boolean": lambda rng, n: pd.Series(_some(rng, n, lambda: rng.random() < 0.5), dtype="boolean"),
    "Float64": lambda rng, n: pd.Series(_some(rng, n, rng.random), dtype="Float64"),
    "time": lambda rng, n: _times(rng, n, rng.choice(["s", "ns"])),
    "zoned": lambda rng, n: _times(rng, n, "s").dt.tz_localize(rng.choice(["UTC", "Asia/Tokyo"])),
    "duration": lambda rng, n: pd.Series(np.array([rng.randrange(10**9) for _ in range(n)]).view("m8[ms]")),
    "period": lambda rng, n: pd.Series(
        pd.arrays.PeriodArray(
            np.array([rng.randrange(900) for _ in range(n)]), pd.PeriodDtype(rng.choice("MD"))
        )
    ),
    "interval": lambda rng, n: pd.Series(
        pd.arrays.IntervalArray.from_tuples([(a, a + 2) for a in [rng.randrange(9) for _ in range(n)]])
    ),
    "sparse": lambda rng, n: pd.Series(pd.arrays.SparseArray([rng.choice([0.0, 1.5]) for _ in range(n)])),
    "dates": lambda rng, n: _objects(_some(rng, n, lambda: datetime.date(2024, 1, rng.randrange(1, 29)))),
    "decimals": lambda rng, n: _objects(_some(rng, n, lambda: decimal.Decimal(rng.randrange(999)) / 100)),
}
"""Kind to what makes a column of so many rows; callers of one kind may have other categories, units and zones."""


def _unlike(rng: random.Random, count: int) -> list[int]:
    return rng.sample(range(10_000), count)


INDEXES: dict[str, Callable[[random.Random, int], Any]] = {
    "default": lambda rng, n: pd.RangeIndex(n),
    "int": lambda rng, n: pd.Index(_unlike(rng, n), name=rng.choice([None, "id"])),
    "shared int": lambda rng, n: pd.Index([rng.randrange(3) for _ in range(n)]),
    "range": lambda rng, n: pd.RangeIndex(start := rng.randrange(1, 50), start + n),
    "text": lambda rng, n: pd.Index([f"r{one}" for one in _unlike(rng, n)], dtype=object, name="row"),
    "time": lambda rng, n: pd.Index(np.array(_unlike(rng, n)).view("M8[s]"), name="when"),
    "category": lambda rng, n: pd.CategoricalIndex([rng.choice("ab") for _ in range(n)], ["a", "b"]),
    "several": lambda rng, n: pd.MultiIndex.from_arrays([_unlike(rng, n), ["x"] * n], names=["k", None]),
}
"""Kind to what makes the labels of so many rows."""

SHARED = frozenset(("shared int", "category"))
"""Labels that callers have in common."""

NAMES: tuple[Any, ...] = ("a", "b c", "", "é", 7, ("t", 1), "index", "level_0")


# --- methods ----------------------------------------------------------------------------------------------------------

RESULTS: dict[str, Callable[[Any], Any]] = {
    "same": lambda x: x,
    "copy": lambda x: x.copy(),
    "first column": lambda x: x.iloc[:, 0],
    "numbered anew": lambda x: x.reset_index(drop=True),
    "labels as columns": lambda x: x.reset_index(names=[f"own {i}" for i in range(x.index.nlevels)]),
    "missing": lambda x: x.isna(),
    "renamed": lambda x: x.set_axis([f"c{i}" for i in range(x.shape[1])], axis=1).rename_axis(
        columns="names"
    ),
    "array": lambda x: x.isna().to_numpy().sum(axis=1),
    "list": lambda x: x.iloc[:, 0].isna().tolist(),
    "pair": lambda x: (x, x.iloc[:, :1].isna()),
    "dict": lambda x: {"rows": x, "first": x.iloc[:, 0]},
    "beside": lambda x: {"rows": x, "n": len(x)},
    "positions": lambda x: pd.DataFrame({"n": np.arange(len(x))}, index=x.index),
    "counts": lambda x: x.isna().sum(),
    "labels": lambda x: x.index,
    "inferred": lambda x: pd.DataFrame({"v": x.iloc[:, 0].tolist()}, index=x.index),
    "own categories": lambda x: x.iloc[:, 0].astype(str).astype("category"),
    "flag": lambda x: pd.Series(np.where(x.iloc[:, 0].isna(), "none", "some"), index=x.index, name="flag"),
}
"""Kind to what a method gives for a table."""

ROWS: dict[str, Any] = {
    "same": {"axis": 0},
    "copy": {"axis": 0},
    "first column": {"axis": 0},
    "numbered anew": {"axis": 0},
    "missing": {"axis": 0},
    "renamed": {"axis": 0},
    "array": {"axis": 0},
    "list": {"axis": 0},
    "pair": [{"axis": 0}, {"axis": 0}],
    "dict": {"rows": {"axis": 0}, "first": {"axis": 0}},
    "flag": {"axis": 0},
}
"""What results follow their rows, whatever the labels are."""


class Model:
    """A method for each contract, called m0, m1 and so on."""

    def __init__(self, contracts: Any) -> None:
        self.contracts = contracts

    def __getattr__(self, name: str) -> Any:
        if name[:1] != "m" or not name[1:].isdigit():
            raise AttributeError(name)
        contract = vars(self)["contracts"][int(name[1:])]

        def method(x: Any) -> Any:
            if not isinstance(x, pd.DataFrame) or list(x.columns) != contract["names"]:
                raise TypeError("not the table of this method")
            return RESULTS[contract["result"]](x)

        return method


def random_contract(rng: random.Random, number: int) -> dict[str, Any]:
    """What one method takes and gives, how much of it is declared, and the rows of its batches.

    Results are dealt in turn, so that each kind is there about as often as any other.
    """
    width = rng.choice([1, 1, 2, 3, 5])
    result = sorted(RESULTS)[5 * number % len(RESULTS)]
    return {
        "names": rng.sample(NAMES, width),
        "columns": [rng.choice(sorted(COLUMNS)) for _ in range(width)],
        "indexes": rng.sample(sorted(INDEXES), rng.choice([1, 1, 2])),
        "result": result,
        "declared": result in ROWS and rng.random() < 0.3,
        "limit": rng.choice([2, 3, 8, 16, 64]),
    }


def random_table(contract: dict[str, Any], rng: random.Random, rows: int) -> pd.DataFrame:
    """A table that a caller of a contract's method sends."""
    columns = {i: COLUMNS[kind](rng, rows) for i, kind in enumerate(contract["columns"])}
    table = pd.DataFrame(columns)
    table.columns = pd.Index(contract["names"], tupleize_cols=False)
    table.index = INDEXES[rng.choice(contract["indexes"])](rng, rows)
    return table


def signature(contract: dict[str, Any]) -> dict[str, Any]:
    """The signature of a contract's method."""
    if not contract["declared"]:
        return {"batchable": True}
    return {"batchable": True, "arguments": {"x": {"kind": "rows"}}, "result": ROWS[contract["result"]]}


def options(contracts: list[dict[str, Any]]) -> dict[str, Any]:
    """Batches of each method's limit, which wait a moment for company, and are filled up to sizes that suit some."""
    limits = {f"m{i}": {"max_batch_size": one["limit"]} for i, one in enumerate(contracts)}
    return {"max_wait_ms": 120, "method_configs": limits, "pad_to": [4, 16]}
