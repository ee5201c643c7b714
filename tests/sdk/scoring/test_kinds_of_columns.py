"""A CSV file whose columns are of every kind: a model gets of it what it was saved with."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import vtsserving
from support import shown_models
from support.value_kinds import installed

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*PeriodDtype.*:FutureWarning")]

IN_OTHER_TEXT = ("column of bytes",)
"""Kinds that pandas writes into CSV as Python shows them."""


def test_a_file_s_columns_are_what_the_example_held(tmp_path: Path) -> None:
    kinds = [kind for kind in installed() if kind.column and kind.name not in IN_OTHER_TEXT]
    frame = pd.DataFrame({kind.name: kind.make() for kind in kinds})
    assert frame.shape[1] > 18
    vtsserving.picklable_model.save_model(
        "cells",
        shown_models.cells,
        signatures={"__call__": {"batchable": True}},
        input_example=frame,
        external_modules=[shown_models],
    )
    frame.to_csv(tmp_path / "in.csv", index=False)
    scored = vtsserving.predict_file("cells", tmp_path / "in.csv", tmp_path / "out.csv")
    assert (scored.rows, scored.failed) == (2, 0)
    assert pd.read_csv(tmp_path / "out.csv")["prediction"].tolist() == shown_models.cells(frame)
