"""A CSV file whose columns are of every kind: a model gets of it what it was saved with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("is_column", [True, False], ids=["a column of a table", "bytes alone"])
def test_what_is_not_base64_in_a_column_of_bytes_says_so(tmp_path: Path, is_column: bool) -> None:
    def sizes(files: Any) -> list[int]:
        return [len(file) for file in (files["files"] if is_column else files)]

    example = pd.DataFrame({"files": [b"ab", b"c"]})
    said = {"batchable": True} | ({} if is_column else {"arguments": {"files": {"type": "bytes"}}})
    vtsserving.picklable_model.save_model(
        "sizes", sizes, signatures={"__call__": said}, input_example=example if is_column else [b"ab", b"c"]
    )
    (tmp_path / "in.csv").write_bytes(b"files\nYWJj\nab%\nZA==\n")
    scored = vtsserving.predict_file("sizes", tmp_path / "in.csv", tmp_path / "out.csv")
    assert scored.failed == 1
    assert pd.read_csv(tmp_path / "out.csv")["prediction"].tolist()[::2] == [3, 1]
    (row,) = pd.read_csv(tmp_path / "out.csv.failed.csv").to_dict("records")
    assert (row["row"], row["code"]) == (1, "wrong_type")
    assert "is 'ab%'" in row["error"]
    assert "base64" in row["error"]
