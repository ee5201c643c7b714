"""Models that were compiled for certain numbers of rows get exactly those, and nobody sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.runner_models import save
from vtsserving._model.options import ModelOptions
from vtsserving.exceptions import InvalidArgument
from vtsserving_runner.child.padding import padded, surplus_rows

SIZES = (2, 8)


def compiled(axis: int = 0) -> Any:
    """A model that knows batches of 2 and 8 rows only; each answer is the doubled row, and how many it came with."""

    class Compiled:
        def predict(self, x: Any) -> Any:
            import numpy as np

            if x.shape[axis] not in (2, 8):
                raise ValueError(f"compiled for 2 and 8 rows, not {x.shape[axis]}")
            return np.where(x == -1, x.shape[axis], x * 2)

    return Compiled()


@pytest.mark.parametrize(("rows", "surplus"), [(1, 1), (2, 0), (3, 5), (8, 0), (9, 0)], ids=str)
def test_a_batch_is_filled_up_to_the_next_size(rows: int, surplus: int) -> None:
    assert surplus_rows(rows, SIZES) == surplus


@pytest.mark.parametrize("axis", [0, 1])
def test_every_request_gets_its_own_rows_and_none_of_the_surplus(with_runner: Any, axis: int) -> None:
    signatures = {"predict": {"batchable": True, "batch_dim": axis}}
    model = save("compiled", compiled(axis), options={"pad_to": [8, 2]}, signatures=signatures)

    async def scenario(rig: Any) -> None:
        grant = await rig.batcher.load(model)
        calls = [(np.full((3, 3) if i == 1 else ((1, 3), (3, 1))[axis], float(i)),) for i in range(3)]
        answers = await rig.batcher.done(rig.batcher.send(model, grant, calls))
        for (array,), answer in zip(calls, answers, strict=True):
            assert np.array_equal(answer, 2 * array)
        (alone,) = await rig.batcher.done(rig.batcher.send(model, grant, [(np.full((1, 1), -1.0),)]))
        assert alone.tolist() == [[2.0]]

    with_runner(scenario)


def test_arguments_of_every_kind_are_filled_up_and_others_left_alone() -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    value = {
        "list": ["x", "y"],
        "pair": (np.array([[1], [2]], "i2"), 0.5),
        "frame": frame,
        "series": frame["a"],
    }
    filled = padded(value, 2, 0)
    assert filled["list"] == ["x", "y", "y", "y"]
    assert (filled["pair"][0].tolist(), filled["pair"][0].dtype) == ([[1], [2], [2], [2]], np.dtype("i2"))
    assert filled["pair"][1] == 0.5
    assert filled["frame"]["a"].tolist() == filled["series"].tolist() == [1, 2, 2, 2]
    assert value["list"] == ["x", "y"]


def test_sizes_are_checked_when_the_model_is_saved() -> None:
    assert ModelOptions(pad_to=[8, 1, 8]).pad_to == (1, 8)  # type: ignore[arg-type]
    for wrong in ([], [0], 8, ["8"]):
        with pytest.raises(InvalidArgument, match="pad_to"):
            ModelOptions(pad_to=wrong)  # type: ignore[arg-type]


def test_a_model_is_warmed_up_in_all_its_sizes(with_runner: Any, tmp_path: Any) -> None:
    seen = str(tmp_path / "seen")

    class Recorder:
        def predict(self, x: Any) -> Any:
            with open(seen, "a") as file:
                file.write(f"{len(x)} ")
            return x

    model = save("recorder", Recorder(), options={"pad_to": [4, 16]}, input_example=np.ones((2, 1)))
    (tmp_path / "seen").unlink()

    async def scenario(rig: Any) -> None:
        await rig.batcher.load(model)
        assert (tmp_path / "seen").read_text().split() == ["4", "16"]

    with_runner(scenario)
