"""Methods whose rows, parameters, names and results are easily mistaken, and what callers send; travels by value.

What is right is what the same object gives in process on the caller's own arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

ROWS = {"batchable": True}


class RowCase(NamedTuple):
    """One method and the calls of its callers.

    Attributes:
        function: what the method does.
        calls: (args, kwargs) of each caller.
        signature: of the method.
        merges: whether callers of equal kind share batches once it is known how results follow rows.
        fails: callers who get an error, alone and merged.
        oip: argument names, if the case is also tried by OIP.
    """

    function: Callable[..., Any]
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]]
    signature: dict[str, Any] = ROWS
    merges: bool = True
    fails: frozenset[int] = frozenset()
    oip: tuple[str, ...] = ()

    @property
    def has_tables(self) -> bool:
        return any(isinstance(value, pd.DataFrame) for args, _ in self.calls for value in args)

    @property
    def rows(self) -> list[int]:
        """Of each caller."""
        return [len(args[0]) for args, _ in self.calls]


def arrays(counts: tuple[int, ...] = (1, 1, 1, 2, 3), width: int = 3) -> list[Any]:
    """Arrays [n, width] of different whole numbers as float64."""
    starts = np.cumsum((0, *counts))[:-1]
    return [
        np.arange(n * width, dtype=float).reshape(n, width) ** 2 + 7 * s
        for n, s in zip(counts, starts, strict=True)
    ]


def each(values: list[Any], **named: Any) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    return [((value,), dict(named)) for value in values]


# --- results that follow rows along an axis of their own, or along none -----------------------------------------------


def heads(x: Any) -> Any:
    """One array (n, classes) for each target, in a list, as forests of several targets answer."""
    return [np.stack([x[:, 0], -x[:, 1]], axis=1), np.stack([x[:, 2], x[:, 0] * 2, x[:, 1]], axis=1)]


def states(x: Any) -> Any:
    """A recurrent network's outputs (n, steps), and its states (layers, n, hidden)."""
    return np.cumsum(x, axis=1), (np.stack([x, x * 2]), np.stack([x - 1, x + 1]))


def with_covariance(x: Any, return_cov: bool = False) -> Any:
    """A mean for each row, and the covariance of all rows."""
    return (x.sum(axis=1), x @ x.T) if return_cov else x.sum(axis=1)


def similarity(images: Any, texts: Any) -> Any:
    """Each against each: (images, texts)."""
    return images @ texts.T


def with_values_of_batch(x: Any) -> Any:
    return {"logits": x * 3, "loss": float(x.sum()), "n": len(x)}


def with_constant(x: Any) -> Any:
    return {"scores": x * 3, "labels": ["low", "high"]}


def standardized(x: Any) -> Any:
    return (x - x.mean(axis=0)) / (x.std(axis=0) + 1)


def ranked(x: Any) -> Any:
    return x[:, 0].argsort().argsort()


def differences(x: Any) -> Any:
    return np.diff(x, axis=0, prepend=0.0)


def largest_first(x: Any) -> Any:
    return x[np.argsort(-x[:, 0])]


def one_hot(x: Any) -> Any:
    """Columns named after the values, as `get_dummies` makes them."""
    return pd.get_dummies(pd.Series(x[:, 0].astype(int))).astype(int).rename(columns=str)


def squeezed(x: Any) -> Any:
    return x[:, :1].squeeze()


def without_negative(x: Any) -> Any:
    """Drops rows, and says by no index which."""
    return x[(x >= 0).all(axis=1)]


def complete_rows(x: Any) -> Any:
    """Drops rows of a table; the index says which."""
    return x.dropna()


# --- arguments that are no rows ---------------------------------------------------------------------------------------


def weighted(rows: Any, weights: Any) -> Any:
    return (np.asarray(rows) * np.asarray(weights)[: np.asarray(rows).shape[1]]).sum(axis=1)


def at_quantiles(x: Any, quantiles: Any = (0.5,)) -> Any:
    return np.quantile(x, quantiles, axis=1).T


def by_candidates(texts: Any, candidate_labels: Any = ()) -> Any:
    """As a zero-shot pipeline: one dict for one text, a list of them for a list."""
    if isinstance(texts, str):
        return {"sequence": texts, "scores": [len(texts) * len(label) for label in candidate_labels]}
    return [by_candidates(text, candidate_labels) for text in texts]


def reply(messages: Any, temperature: float = 1.0) -> Any:
    """A conversation is one input, however many messages it has."""
    return {
        "role": "assistant",
        "content": f"{len(messages)} messages, {temperature}: " + messages[-1]["content"],
    }


def up_to(x: Any, iteration_range: Any = (0, 1)) -> Any:
    return x * (iteration_range[1] - iteration_range[0])


def scaled_by_dict(x: Any, settings: Any) -> Any:
    return x * settings["factor"] + len(settings["names"])


# --- texts and lists --------------------------------------------------------------------------------------------------


def lengths(inputs: Any) -> Any:
    """Takes a text or a list of texts and nothing else, as pipelines do."""
    if isinstance(inputs, str):
        return {"n": len(inputs)}
    if type(inputs) is list and all(type(text) is str for text in inputs):
        return [{"n": len(text)} for text in inputs]
    raise ValueError(f"text input must be str or list[str], not {type(inputs).__name__}")


def kinds(items: Any) -> Any:
    """The type of each item, by name."""
    if type(items) is not list:
        raise TypeError(f"a list is needed, not {type(items).__name__}")
    return [type(item).__name__ for item in items]


def same(items: Any) -> Any:
    return items


def ten_of_ids(ids: Any, mask: Any) -> Any:
    return ids * 10 + mask


IDS = [(np.array([[7 + i, 8]]), np.array([[1, i]])) for i in range(4)]
TABLES = [
    pd.DataFrame({"a": [1.0 + i, np.nan if i == 2 else 5.0], "b": [2.0, 3.0]}, index=[f"r{i}", f"s{i}"])
    for i in range(4)
]
COUNTS = (1, 1, 2, 3)

CASES: dict[str, RowCase] = {
    "a list of heads": RowCase(heads, each(arrays())),
    "as many callers as heads": RowCase(heads, each(arrays((1, 1)))),
    "states along the second axis": RowCase(states, each(arrays())),
    "the same, cut at the limit": RowCase(states, each(arrays((20, 1, 1)))),
    "a covariance": RowCase(with_covariance, each(arrays((2, 2, 3)), return_cov=True), merges=False),
    "a mean beside callers who want covariances": RowCase(
        with_covariance, [*each(arrays((1, 2))), *each(arrays((1, 2)), return_cov=True)], merges=False
    ),
    "each against each": RowCase(
        similarity, [((x, y), {}) for x, y in zip(arrays(COUNTS), arrays(COUNTS), strict=True)], merges=False
    ),
    "arguments of different lengths": RowCase(
        similarity, [((x, y), {}) for x, y in zip(arrays((1, 2, 3)), arrays((2, 4, 2)), strict=True)], merges=False
    ),
    "values of the batch beside rows": RowCase(with_values_of_batch, each(arrays()), merges=False),
    "a constant beside rows": RowCase(with_constant, each(arrays()), merges=False),
    "a constant that is declared": RowCase(
        with_constant,
        each(arrays()),
        signature={"batchable": True, "result": {"scores": {"axis": 0}, "labels": {"same": True}}},
    ),
    "standardized": RowCase(standardized, each(arrays((2, 3, 4))), merges=False),
    "the same, more rows than a batch": RowCase(standardized, each(arrays((40,))), merges=False),
    "ranks": RowCase(ranked, each(arrays((2, 3, 4))), merges=False),
    "differences": RowCase(differences, each(arrays((2, 3, 4))), merges=False),
    "sorted rows": RowCase(largest_first, each(arrays((2, 3, 4))), merges=False),
    "columns named after values": RowCase(one_hot, each(arrays((1, 2, 2))), merges=False),
    "one row loses its axis": RowCase(squeezed, each(arrays((1, 1, 2, 3))), merges=False),
    "rows that are dropped": RowCase(
        without_negative,
        each([np.ones((2, 3)), np.array([[1.0, 2, 3], [-1, 2, 3]]), np.full((1, 3), 5.0)]),
        fails=frozenset({1}),
        merges=False,
    ),
    "rows that are dropped, by index": RowCase(
        complete_rows, each(TABLES), fails=frozenset({2})
    ),
    "weights": RowCase(
        weighted, [((x,), {"weights": [1.0 + i, 2.0, 0.5]}) for i, x in enumerate(arrays())], merges=False
    ),
    "equal weights": RowCase(weighted, each(arrays(), weights=[1.0, 2.0, 0.5])),
    "lists and weights": RowCase(
        weighted, [((x.tolist(), [1.0 + i, 2.0, 0.5]), {}) for i, x in enumerate(arrays())], merges=False
    ),
    "quantiles": RowCase(
        at_quantiles, [((x,), {"quantiles": [0.1 * i, 0.9]}) for i, x in enumerate(arrays())], merges=False
    ),
    "equal quantiles": RowCase(at_quantiles, each(arrays(), quantiles=[0.25, 0.75])),
    "candidate labels": RowCase(
        by_candidates,
        [((["one", "of two"],), {"candidate_labels": ["a", "b" * (i + 1)]}) for i in range(3)],
        merges=False,
    ),
    "equal candidate labels": RowCase(
        by_candidates, each([["one", "of two"], ["three"]], candidate_labels=["a", "bb"])
    ),
    "conversations": RowCase(
        reply,
        [(([{"role": "user", "content": "x" * n} for n in range(1, i + 2)],), {"temperature": 0.5}) for i in range(3)],
        signature={"batchable": True, "parameters": ["messages", "temperature"]},
        merges=False,
    ),
    "iterations": RowCase(
        up_to, [((x,), {"iteration_range": [0, 1 + i]}) for i, x in enumerate(arrays())], merges=False
    ),
    "a dict of settings": RowCase(
        scaled_by_dict,
        [((x,), {"settings": {"factor": i, "names": ["x"] * i}}) for i, x in enumerate(arrays())],
        merges=False,
    ),
    "texts": RowCase(lengths, each([["very good", "bad"], ["x\0", "\0"], ["", "äö\U0001f600"]]), oip=("inputs",)),
    "one text": RowCase(lengths, each(["very good", "bad\0"]), signature={"batchable": False}, merges=False),
    "mixed items": RowCase(kinds, each([[1, "b"], [None, "a"], [True, 2.5, 3]])),
    "lists of many forms": RowCase(same, each([[[1], [2, 3]], [["a"], []], [[1, "b"]], [[0.5, None]]])),
    "objects": RowCase(same, each([[{"a": 1}], [{"a": [1, 2]}, {"b": None}]])),
    "two named inputs": RowCase(
        ten_of_ids, [(pair, {}) for pair in IDS], oip=("ids", "mask")
    ),
}  # fmt: skip
"""Name to case."""


class Model:
    """Two methods for each case: `m0` without a word about its arguments, `j0` whose arrays are declared as such."""

    def __init__(self) -> None:
        self.functions = [case.function for case in CASES.values()]

    def __getattr__(self, name: str) -> Any:
        if name[:1] not in ("m", "j") or not name[1:].isdigit():
            raise AttributeError(name)
        return vars(self)["functions"][int(name[1:])]


def declared(case: RowCase) -> dict[str, Any]:
    """The signature with which JSON's lists are what the callers' arguments are."""
    args, kwargs = case.calls[0]
    named = {**dict(zip(inspect.signature(case.function).parameters, args, strict=False)), **kwargs}
    tensors = {
        name: {"type": "tensor", "dtype": value.dtype.name}
        for name, value in named.items()
        if isinstance(value, np.ndarray)
    }
    return {**case.signature, "arguments": tensors} if tensors else case.signature


METHODS = {name: f"m{i}" for i, name in enumerate(CASES)}
METHODS_OF_JSON = {
    name: f"j{i}" if declared(case) != case.signature else f"m{i}"
    for i, (name, case) in enumerate(CASES.items())
}
SIGNATURES = {METHODS[name]: case.signature for name, case in CASES.items()} | {
    METHODS_OF_JSON[name]: declared(case) for name, case in CASES.items()
}
