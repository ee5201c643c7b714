"""Functions and models of many kinds of input, as users save them; their module is saved with them."""

from __future__ import annotations

from typing import Any

import numpy as np


def doubled(x: Any) -> Any:
    return x * 2


def weighted(x: Any, weights: Any) -> Any:
    return x @ weights


def scaled(x: Any, *, factor: float) -> Any:
    return x * factor


def lengths(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


def sizes(files: list[bytes]) -> list[int]:
    if not all(isinstance(file, bytes) for file in files):
        raise TypeError("bytes are expected")
    return [len(file) for file in files]


def total(order: dict[str, Any]) -> float:
    return float(order["price"] * order["count"])


def sums(named: dict[str, Any]) -> Any:
    return named["a"].sum(axis=1) + named["b"]


def columns(x: Any) -> Any:
    """Rows along the second axis."""
    return x.sum(axis=0)


def scores(x: Any) -> Any:
    """Not one row depends on itself alone."""
    return (x - x.mean(axis=0)) / x.std(axis=0)


def of_several(x: Any) -> Any:
    """Refuses one row."""
    if len(x) < 2:
        raise ValueError("at least two rows are needed")
    return x


def spectrum(x: Any) -> Any:
    return np.fft.fft(x)


def cells(df: Any) -> list[str]:
    return [" ".join(f"{cell!r}" for cell in row) for row in df.itertuples(index=False)]


def months(df: Any) -> list[int]:
    return [int(month) for month in df["at"].dt.month]


def upper(words: Any) -> list[str]:
    """Takes a Series alone."""
    return [str(word) for word in words.str.upper()]
