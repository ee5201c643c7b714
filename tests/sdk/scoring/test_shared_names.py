"""Files that name a column more than once: taken by position where the method has the very same columns."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vtsserving
from support.scored_models import save_trouble
from vtsserving.exceptions import BadInput, BadShape

pytestmark = pytest.mark.slow

TABLE = b"a,a,b\n01067,1,0.5\n1E5,-2,\n"
RIGHT = ["01067|1|0.5", "1E5|-2|nan"]


def save_shared(*names: Any) -> None:
    """A function of a table with the columns a, a and b: text, a whole number, a fraction."""

    def shown(frame: Any) -> list[str]:
        return ["|".join(map(str, row)) for row in frame.itertuples(index=False, name=None)]

    example = pd.DataFrame({0: ["01067", "x"], 1: [1, 2], 2: [0.5, 1.5]})
    example.columns = list(names or ("a", "a", "b"))
    vtsserving.picklable_model.save_model(
        "shared", shown, signatures={"__call__": {"batchable": True}}, input_example=example
    )


def predictions(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [row["prediction"] for row in csv.DictReader(file)]


def score(folder: Path, text: bytes, **options: Any) -> Any:
    (folder / "in.csv").write_bytes(text)
    return vtsserving.predict_file("shared", folder / "in.csv", folder / "out.csv", **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_rows": 1}, {"processes": 2}, {"rows_as": "table"}],
    ids=["plain", "row by row", "two processes", "as a table"],
)
def test_columns_that_share_a_name_go_by_position(tmp_path: Path, options: dict[str, Any]) -> None:
    save_shared()
    scored = score(tmp_path, TABLE, **options)
    assert (scored.rows, scored.failed) == (2, 0)
    assert predictions(tmp_path / "out.csv") == RIGHT


def test_a_gateway_gives_the_same(tmp_path: Path) -> None:
    save_shared()
    with vtsserving.serve("shared", port=0) as server:
        assert score(tmp_path, TABLE, url=server.url).failed == 0
    assert predictions(tmp_path / "out.csv") == RIGHT


def test_tabs_and_columns_named_by_numbers_do_too(tmp_path: Path) -> None:
    save_shared(0, 0, 1)
    (tmp_path / "in.tsv").write_bytes(TABLE.replace(b",", b"\t").replace(b"a\ta\tb", b"0\t0\t1"))
    vtsserving.predict_file("shared", tmp_path / "in.tsv", tmp_path / "out.csv")
    assert predictions(tmp_path / "out.csv") == RIGHT


def test_other_columns_can_be_kept_beside_them(tmp_path: Path) -> None:
    save_shared()
    score(tmp_path, b"a,id,a,b\n01067,7,1,0.5\n", keep=["id"])
    assert (tmp_path / "out.csv").read_text().splitlines() == ["id,prediction", "7,01067|1|0.5"]


def test_a_row_that_does_not_fit_fails_alone(tmp_path: Path) -> None:
    save_shared()
    assert score(tmp_path, TABLE + b"x,1.5,1\ny,NA,2\n").failed == 2
    assert predictions(tmp_path / "out.csv") == [*RIGHT, "", ""]
    failed = (tmp_path / "out.csv.failed.csv").read_text()
    assert "column 'a' is 1.5; expected an integer" in failed
    assert "column 'a' is missing; send a value" in failed
    assert "\0" not in failed


@pytest.mark.parametrize(
    "text", [b"a,b,a\n01067,0.5,1\n", b"a,b,b\nx,1,1\n", b"a,a,b,b\nx,1,1,1\n", b"a,a\nx,1\n"]
)
def test_other_columns_or_another_order_are_refused_with_the_names(tmp_path: Path, text: bytes) -> None:
    save_shared()
    with pytest.raises(BadShape, match="must be 'a', 'a', 'b' in this order") as raised:
        score(tmp_path, text)
    assert "\0" not in raised.value.message
    with pytest.raises(BadShape, match="must be 'a', 'a', 'b' in this order"):
        score(tmp_path, b"a,b\nx,1\n")


@pytest.mark.parametrize("options", [{"keep": ["a"]}, {"keep": "all"}], ids=["kept", "all kept"])
def test_what_is_kept_needs_a_name_of_its_own(tmp_path: Path, options: dict[str, Any]) -> None:
    save_shared()
    with pytest.raises(BadInput, match="'a' twice; a column that is kept needs a name of its own"):
        score(tmp_path, TABLE, **options)


def test_columns_cannot_be_chosen_by_a_name_that_two_have(tmp_path: Path) -> None:
    save_shared()
    with pytest.raises(
        BadShape, match=r"would get the columns 'a', 'b'; .* must be 'a', 'a', 'b' in this order"
    ):
        score(tmp_path, TABLE, columns=["a", "b"])


def test_a_method_without_such_columns_refuses_them(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    (tmp_path / "in.csv").write_bytes(b"a,a\n1,2\n")
    with pytest.raises(BadInput, match="has the column 'a' twice; each needs a name of its own"):
        vtsserving.predict_file("trouble", tmp_path / "in.csv", tmp_path / "out.csv")
    np.save(tmp_path / "in.npy", np.array([[1.0, 2.0]]))
    assert vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy").failed == 0
