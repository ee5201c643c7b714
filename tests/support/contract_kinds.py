"""Methods of every kind whose arithmetic is exact, and what callers send them; travels by value, so it is alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd

# --- arguments: rows of two whole numbers each, in many guises --------------------------------------------------------


def _pairs(rng: random.Random, rows: int) -> list[list[int]]:
    return [[rng.randrange(100), rng.randrange(100)] for _ in range(rows)]


ARGUMENTS: dict[str, Any] = {
    "int64": lambda rng, n: np.array(_pairs(rng, n)),
    "float64": lambda rng, n: np.array(_pairs(rng, n), float),
    "float32": lambda rng, n: np.array(_pairs(rng, n), np.float32),
    "int8": lambda rng, n: np.array(_pairs(rng, n), np.int8),
    "bool": lambda rng, n: np.array(_pairs(rng, n)) > 50,
    "cube": lambda rng, n: np.array([[pair, pair[::-1]] for pair in _pairs(rng, n)]),
    "columns": lambda rng, n: np.array(_pairs(rng, n)).T.copy(),
    "strings": lambda rng, n: np.array(["x" * (rng.randrange(9) + 1) for _ in range(n)]),
    "objects": lambda rng, n: np.array(["é" * rng.randrange(9) + "\0" for _ in range(n)], object),
    "list of ints": lambda rng, n: [rng.randrange(100) for _ in range(n)],
    "list of floats": lambda rng, n: [float(rng.randrange(100)) for _ in range(n)],
    "list of bools": lambda rng, n: [rng.random() < 0.5 for _ in range(n)],
    "list of texts": lambda rng, n: ["x" * rng.randrange(9) + "\0" * rng.randrange(2) for _ in range(n)],
    "list of pairs": _pairs,
    "ragged list": lambda rng, n: [[1] * (1 + (rng.randrange(3) + i) % 3) for i in range(n)],
    "mixed list": lambda rng, n: [rng.choice([None, "text", 7, 2.5, True]) for _ in range(n)],
    "list of dicts": lambda rng, n: [{"a": rng.randrange(100), "b": [rng.randrange(9)]} for _ in range(n)],
    "table": lambda rng, n: pd.DataFrame(_pairs(rng, n), columns=["a", "b"]),
    "table with labels": lambda rng, n: pd.DataFrame(
        _pairs(rng, n), columns=["a", "b"], index=[f"r{rng.randrange(1_000)}" for _ in range(n)]
    ),
    "series": lambda rng, n: pd.Series([rng.randrange(100) for _ in range(n)], name="s"),
}
"""Kind to what makes an argument of so many rows."""

PARAMETERS: dict[str, Any] = {
    "none": lambda rng: None,
    "number": lambda rng: rng.randrange(3),
    "text": lambda rng: rng.choice(["a", "bb"]),
    "list": lambda rng: [rng.randrange(3) for _ in range(2)],
    "dict": lambda rng: {"k": rng.randrange(3), "weights": [1, 2]},
}

TYPES = {"int64", "float64", "float32", "int8", "bool", "cube", "columns", "strings", "objects"}
LISTS = {kind for kind in ARGUMENTS if "list" in kind}


def _number(item: Any) -> int:
    if item is None:
        return -1
    if isinstance(item, str):
        return len(item)
    if isinstance(item, dict):
        return int(item["a"]) + sum(item["b"])
    return sum(map(_number, item)) if isinstance(item, list) else int(item * 2)


def numbers(kind: str, x: Any) -> Any:
    """An argument as int64 numbers [rows, 2]; refuses one that is not of its kind, as a strict model does."""
    made = ARGUMENTS[kind](random.Random(0), 1)
    if type(x) is not type(made) or (isinstance(x, np.ndarray) and x.dtype.kind != made.dtype.kind):
        raise TypeError(
            f"{kind} is a {type(made).__name__}, not {type(x).__name__} {getattr(x, 'dtype', '')}"
        )
    if isinstance(x, list):
        plain = {"list of ints": int, "list of floats": float, "list of bools": bool, "list of texts": str}
        if kind in plain and any(type(item) is not plain[kind] for item in x):
            raise TypeError(f"an item of another type than {plain[kind].__name__}")
        flat = np.array([_number(item) for item in x], np.int64)
    elif kind == "columns":
        return x.T.astype(np.int64)
    elif kind in ("strings", "objects"):
        flat = np.array([len(item) for item in x.tolist()], np.int64)
    elif isinstance(x, np.ndarray):
        return x.reshape(len(x), -1)[:, :2].astype(np.int64)
    elif kind == "series":
        flat = x.to_numpy().astype(np.int64)
    else:
        return x.to_numpy().astype(np.int64)
    return np.column_stack([flat, flat * 3])


# --- results ----------------------------------------------------------------------------------------------------------


def _labelled(values: Any, x: Any) -> Any:
    return pd.DataFrame(
        {"sum": values.sum(axis=1), "t": [f"t{v}" for v in values[:, 0].tolist()]},
        index=x.index if hasattr(x, "index") and hasattr(x, "iloc") else None,
    )


RESULTS: dict[str, Any] = {
    "array": lambda v, x: v + 1,
    "vector": lambda v, x: v.sum(axis=1),
    "float32": lambda v, x: (v * 0.5).astype(np.float32),
    "texts": lambda v, x: np.array([f"t{n}" for n in v[:, 0].tolist()]),
    "tuple": lambda v, x: (v, v[:, 0] > 9),
    "dict": lambda v, x: {"a": v[:, :1], "b": v[:, 1]},
    "list of arrays": lambda v, x: [v[:, :1], v * 2],
    "nested": lambda v, x: {"heads": [v, (v[:, 0], v + 5)], "t": [f"{n}" for n in v[:, 0].tolist()]},
    "list": lambda v, x: v.tolist(),
    "list of dicts": lambda v, x: [{"n": n, "t": "x" * (n % 3)} for n in v[:, 0].tolist()],
    "second axis": lambda v, x: np.stack([v, v * 2]),
    "table": _labelled,
    "beside": lambda v, x: {"rows": v, "n": len(v)},
    "constant": lambda v, x: {"rows": v, "classes": ["a", "b"]},
    "pairwise": lambda v, x: v @ v.T,
    "centered": lambda v, x: v - v.sum(axis=0),
    "total": lambda v, x: {"total": int(v.sum())},
    "squeezed": lambda v, x: v[:, :1].squeeze(),
    "ranked": lambda v, x: np.argsort(v[:, 0], kind="stable"),
}
"""Kind to what makes a result of numbers [rows, 2] and the argument itself."""

FORMS: dict[str, Any] = {
    "array": {"axis": 0},
    "vector": {"axis": 0},
    "float32": {"axis": 0},
    "texts": {"axis": 0},
    "tuple": [{"axis": 0}, {"axis": 0}],
    "dict": {"a": {"axis": 0}, "b": {"axis": 0}},
    "list of arrays": [{"axis": 0}, {"axis": 0}],
    "nested": {"heads": [{"axis": 0}, [{"axis": 0}, {"axis": 0}]], "t": {"axis": 0}},
    "list": {"axis": 0},
    "list of dicts": {"axis": 0},
    "second axis": {"axis": 1},
    "table": {"axis": 0},
    "constant": {"rows": {"axis": 0}, "classes": {"same": True}},
}
"""What results follow their rows; all others are never merged."""


def weight(w: Any) -> int:
    """A parameter as a factor."""
    if w is None:
        return 1
    if isinstance(w, dict):
        return int(w["k"]) + sum(w["weights"])
    return len(w) if isinstance(w, str) else sum(w) + 1 if isinstance(w, list) else int(w) + 1


class Model:
    """A method for each contract, called m0, m1 and so on."""

    def __init__(self, contracts: list[dict[str, Any]]) -> None:
        self.contracts = contracts

    def __getattr__(self, name: str) -> Any:
        if name[:1] != "m" or not name[1:].isdigit():
            raise AttributeError(name)
        contract = vars(self)["contracts"][int(name[1:])]

        def method(x: Any, w: Any = None, y: Any = None) -> Any:
            values = numbers(contract["argument"], x)
            if y is not None:
                values = values + numbers(contract["argument"], y)
            return RESULTS[contract["result"]](values * weight(w), x)

        return method


def random_contracts(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """What so many methods take and give, how much of it is declared, and the rows of their batches.

    Each kind comes equally often, with the others in random company.
    """
    dealt = {
        "argument": _dealt(rng, sorted(ARGUMENTS), count),
        "parameter": _dealt(rng, sorted(PARAMETERS), count),
        "second": _dealt(rng, [True, False, False], count),
        "result": _dealt(rng, sorted(RESULTS), count),
        "declared": _dealt(rng, [True, False, False], count),
        "limit": _dealt(rng, [1, 2, 3, 8, 16, 64], count),
    }
    contracts = [dict(zip(dealt, drawn, strict=True)) for drawn in zip(*dealt.values(), strict=True)]
    return [{**one, "declared": one["declared"] and one["result"] in FORMS} for one in contracts]


def _dealt(rng: random.Random, kinds: list[Any], count: int) -> list[Any]:
    """So many kinds in random order, none of them twice as often as another."""
    whole = [kind for _ in range(count // len(kinds)) for kind in kinds]
    drawn = whole + rng.sample(kinds, count - len(whole))
    rng.shuffle(drawn)
    return drawn


def signature(contract: dict[str, Any], *, old: bool = False) -> dict[str, Any]:
    """The signature of a contract's method; as 0.1 knows it if `old`."""
    raw: dict[str, Any] = {"batchable": True}
    if contract["argument"] == "columns":
        raw["batch_dim"] = (1, 0)
    if contract["declared"] and not old:
        raw["arguments"] = {"x": {"kind": "rows"}, "y": {"kind": "rows"}, "w": {"kind": "parameter"}}
        raw["result"] = FORMS[contract["result"]]
    return raw


def options(contracts: list[dict[str, Any]]) -> dict[str, Any]:
    """Batches of each method's limit, which wait a moment for company."""
    limits = {f"m{i}": {"max_batch_size": one["limit"]} for i, one in enumerate(contracts)}
    return {"max_wait_ms": 30, "method_configs": limits}
