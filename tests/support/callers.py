"""Several callers of one method, one after the other or at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np

import vtsserving
from vtsserving._codecs.json_write import to_json

TIMES = 3
"""Calls of each caller: the first batch of a kind shows how its results follow rows."""

Given = tuple[tuple[Any, ...], dict[str, Any]]


def all_at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def one_by_one(count: int, call: Callable[[int], Any]) -> list[Any]:
    return [call(i) for i in range(count)]


ORDERS = {"alone": one_by_one, "merged": all_at_once}


def check_client(
    url: str, tag: str, method: str, calls: Sequence[Given], right: Callable[[Given], Any]
) -> None:
    """Call by the Python client, alone and merged; every answer is that of the object in process."""
    with vtsserving.Client(url, timeout=60) as client:
        for order in ORDERS.values():
            for _ in range(TIMES):
                found = order(len(calls), lambda i: client.call_model(tag, method, *calls[i]))
                for given, got in zip(calls, found, strict=True):
                    assert is_close(got, right(given)), f"{given!r:.200} gave {got!r}, not {right(given)!r}"


def check_json(
    url: str, tag: str, method: str, calls: Sequence[Given], right: Callable[[Given], Any]
) -> None:
    """The same by JSON."""
    with httpx2.Client(trust_env=False, timeout=60) as client:

        def call(i: int) -> Any:
            args, kwargs = calls[i]
            body = to_json({"args": list(args), "kwargs": kwargs})
            headers = {"content-type": "application/json"}
            answer = client.post(f"{url}/v1/models/{tag}/{method}", content=body, headers=headers)
            assert answer.status_code == 200, answer.text
            return answer.json()

        for order in ORDERS.values():
            for _ in range(TIMES):
                for given, got in zip(calls, order(len(calls), call), strict=True):
                    expected = json.loads(to_json(right(given)))
                    assert is_close(got, expected), f"{given!r:.200} gave {got!r}, not {expected!r}"


def is_close(one: Any, other: Any) -> bool:
    """Equal in type, shape and dtype; fractions up to what other sums of a batch change."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        is_plain = one.dtype.kind not in "fc"
        same = np.array_equal(one, other) if is_plain else np.allclose(one, other, rtol=1e-4, atol=1e-6)
        return one.dtype == other.dtype and one.shape == other.shape and bool(same)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_close(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(is_close, one, other))
    return (
        bool(np.isclose(one, other, rtol=1e-4, atol=1e-6)) if isinstance(one, float) else bool(one == other)
    )
