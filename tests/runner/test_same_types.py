"""One interface everywhere: what a method gets and what comes back have the same types, batchable or not, local or not.

Each value goes through a method that tells what it got and returns it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import vtsserving
from support.bound_runners import PLACES, placed
from vtsserving.runner.runner import Runner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


METHODS = ("one", "kind", "pair")


class Placed(NamedTuple):
    """The echo in one place: by whether its methods are batchable, and the object itself."""

    runners: dict[bool, Runner]
    echo: Any


def save_echo() -> vtsserving.Model:
    """Methods that return what they get, what it is, several things at once, and no rows at all."""

    class Echo:
        def one(self, value: Any) -> Any:
            return value

        def kind(self, value: Any) -> Any:
            """As text, one for each row: type and, of arrays, dtype."""

            def name(it: Any) -> str:
                if isinstance(it, dict):
                    return "{" + ", ".join(f"{key}: {name(item)}" for key, item in it.items()) + "}"
                if isinstance(it, tuple):
                    return "(" + ", ".join(map(name, it)) + ")"
                return f"{type(it).__module__}.{type(it).__name__} {getattr(it, 'dtype', '')}".strip()

            first = value
            while isinstance(first, (dict, tuple)):
                first = next(iter(first.values())) if isinstance(first, dict) else first[0]
            return [name(value)] * len(first)

        def pair(self, value: Any, factor: Any = 1, *, shift: Any = 0) -> Any:
            return value, list(range(len(value))) if (factor, shift) == (2, "s") else []

    return vtsserving.picklable_model.save_model(
        "echo",
        Echo(),
        signatures={method: {"batchable": True} for method in METHODS},
    )


def rows_frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": ["x", "y"]})


VALUES: dict[str, Callable[[], Any]] = {
    "float64 array": lambda: np.arange(6.0).reshape(2, 3),
    "int8 array": lambda: np.array([[1], [2]], dtype=np.int8),
    "float16 array": lambda: np.array([0.5, 2], dtype=np.float16),
    "bool array": lambda: np.array([True, False]),
    "string array": lambda: np.array(["ä", "longer"]),
    "lists": lambda: [[1, 2.5], ["x", None]],
    "strings": lambda: ["a", "bc"],
    "bytes": lambda: [b"\x00", b"\xff\xfe"],
    "dicts": lambda: [{"a": 1}, {"a": [2]}],
    "frame": rows_frame,
    "named index": lambda: rows_frame().set_index(pd.Index(["r", "s"], name="row")),
    "series": lambda: pd.Series([1.5, 2.5], name="s"),
    "dict of arrays": lambda: {"x": np.arange(2), "y": np.eye(2, dtype=np.float32)},
    "tuple of arrays": lambda: (np.arange(2), np.zeros((2, 2))),
    "tuples": lambda: [(1, "a"), (2, "b")],
}


def torch_tensor() -> Any:
    import torch

    return torch.arange(4, dtype=torch.float32).reshape(2, 2)


def torch_half() -> Any:
    import torch

    return torch.tensor([[0.5], [2.0]], dtype=torch.bfloat16)


def torch_outputs() -> Any:
    import torch

    return {"logits": torch.zeros(2, 3), "ids": torch.tensor([1, 2])}


HEAVY = {"torch tensor": torch_tensor, "torch bfloat16": torch_half, "dict of torch tensors": torch_outputs}
CASES = [pytest.param(make, id=name) for name, make in VALUES.items()] + [
    pytest.param(make, id=name, marks=pytest.mark.frameworks("torch")) for name, make in HEAVY.items()
]


@pytest.fixture(scope="module", params=PLACES)
def placed_echo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Placed]:
    """The echo, put into one place for all values."""
    folder = tmp_path_factory.mktemp("same-types")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", str(folder / "home"))
        model = save_echo()
        single = vtsserving.picklable_model.save_model(
            "single",
            model.load_model(),
            signatures={method: {"batchable": False} for method in METHODS},
        )
        with placed(request.param, folder) as put:
            made = {True: model.to_runner(), False: single.to_runner()}
            for runner in made.values():
                put(runner)
            yield Placed(made, model.load_model())


def same(result: Any, wanted: Any) -> bool:
    """Equal, with the same type all the way down."""
    if type(result) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        return list(result) == list(wanted) and all(same(result[key], wanted[key]) for key in wanted)
    if isinstance(wanted, (list, tuple)):
        return len(result) == len(wanted) and all(map(same, result, wanted))
    if isinstance(wanted, (pd.DataFrame, pd.Series)):
        check: Any = (
            pd.testing.assert_frame_equal
            if isinstance(wanted, pd.DataFrame)
            else pd.testing.assert_series_equal
        )
        check(result, wanted)
        return True
    if hasattr(wanted, "dtype"):
        equal = bool((result == wanted).all())
        return result.dtype == wanted.dtype and result.shape == wanted.shape and equal
    return bool(result == wanted)


@pytest.mark.parametrize("batchable", [True, False], ids=["batchable", "single"])
@pytest.mark.parametrize("make", CASES)
def test_a_value_arrives_and_returns_as_it_is(
    placed_echo: Placed, make: Callable[[], Any], batchable: bool
) -> None:
    runner = placed_echo.runners[batchable]
    result = runner.one.run(make())
    assert same(result, make()), (result, make())
    assert runner.kind.run(make()) == placed_echo.echo.kind(make())


@pytest.mark.parametrize("batchable", [True, False], ids=["batchable", "single"])
@pytest.mark.parametrize("make", [case for case in CASES if "of" not in str(case.id).split()])
def test_several_outputs_come_back_as_a_tuple(
    placed_echo: Placed, make: Callable[[], Any], batchable: bool
) -> None:
    outputs = placed_echo.runners[batchable].pair.run(make(), 2, shift="s")
    assert type(outputs) is tuple
    assert same(outputs, (make(), [0, 1]))


@pytest.mark.parametrize("value", ["text", {"a": 1}, 7, 2.5, None, True, b"raw", ("a", 1)], ids=repr)
@pytest.mark.parametrize("batchable", [True, False], ids=["batchable", "single"])
def test_what_has_no_rows_is_called_alone_and_returns_as_it_is(
    placed_echo: Placed, value: Any, batchable: bool
) -> None:
    assert same(placed_echo.runners[batchable].one.run(value), value)
