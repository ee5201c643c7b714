"""Rows that fail are written aside, all others are answered; and files of which no row could be right."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import vtsserving
from support.runner_models import DROP_ROW, LEAVE, RAISE, SEGFAULT
from support.scored_models import people, save_echo, save_people, save_riders, save_trouble
from vtsserving.exceptions import (
    BadInput,
    BadModelOutput,
    BadShape,
    InvalidArgument,
    MethodNotFound,
    ModelFailed,
    ModelNotFound,
)

pytestmark = pytest.mark.slow


def listed(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("processes", [None, 2], ids=["here", "two processes"])
def test_only_the_rows_that_raise_are_without_answer(tmp_path: Path, processes: int | None) -> None:
    save_trouble(tmp_path)
    rows = np.arange(4_000.0).reshape(-1, 2) + 1_000
    bad = {3: RAISE, 700: LEAVE, 701: RAISE, 1_999: RAISE}
    for row, code in bad.items():
        rows[row, 0] = code
    np.save(tmp_path / "in.npy", rows)
    scored = vtsserving.predict_file(
        "trouble", tmp_path / "in.npy", tmp_path / "out.npy", processes=processes, batch_rows=300
    )
    found = np.load(tmp_path / "out.npy")
    right = [row for row in range(2_000) if row not in bad]
    assert np.array_equal(found[right], rows[right] * 2)
    assert np.isnan(found[list(bad)]).all()
    assert scored.failed_file == tmp_path / "out.npy.failed.csv"
    failed = listed(scored.failed_file)
    assert [int(one["row"]) for one in failed] == sorted(bad)
    assert failed[0] == {"row": "3", "code": "model_failed", "error": "ValueError: poison"}
    assert failed[1]["error"] == "SystemExit: 4"
    assert (scored.rows, scored.failed) == (2_000, 4)


def test_a_row_that_ends_its_process_fails_alone(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    rows = np.arange(32.0).reshape(-1, 2) + 1_000
    rows[11, 0] = SEGFAULT
    np.save(tmp_path / "in.npy", rows)
    vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.csv", processes=2, batch_rows=4)
    failed = listed(tmp_path / "out.csv.failed.csv")
    assert [(one["row"], one["code"]) for one in failed] == [("11", "model_crashed")]
    assert "SIGSEGV" in failed[0]["error"]
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[12] == ","
    assert [lines[1], lines[11], lines[13]] == ["2000.0,2002.0", "2040.0,2042.0", "2048.0,2050.0"]


def test_a_model_that_drops_a_row_fails_with_that_row(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    rows = np.full((64, 2), 1.0)
    rows[40, 0] = DROP_ROW
    np.save(tmp_path / "in.npy", rows)
    vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.csv")
    failed = listed(tmp_path / "out.csv.failed.csv")
    assert [(one["row"], one["code"], one["error"]) for one in failed] == [
        ("40", "bad_model_output", "the model returned 0 rows for 1")
    ]


@pytest.mark.parametrize("bad", [0, 1, 250, 299])
def test_a_cell_that_is_no_number_fails_alone_and_keeps_its_id(tmp_path: Path, bad: int) -> None:
    save_people()
    frame = people(300)
    frame.insert(0, "id", [f"{number:04d}" for number in range(300)])
    lines = frame.to_csv(index=False).splitlines()
    lines[1 + bad] = f"{bad:04d},10,much,NA"
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    vtsserving.predict_file("people", tmp_path / "in.csv", tmp_path / "out.csv", keep=["id"], batch_rows=128)
    out = listed(tmp_path / "out.csv")
    assert [one["id"] for one in out] == frame["id"].tolist()
    assert [number for number, one in enumerate(out) if not one["prediction"]] == [bad]
    failed = listed(tmp_path / "out.csv.failed.csv")
    assert [one["row"] for one in failed] == [str(bad)]
    assert "much" in failed[0]["error"]


def test_a_missing_whole_number_is_nan_in_npy_where_float64_holds_the_others(tmp_path: Path) -> None:
    save_echo("lengths")
    (tmp_path / "in.csv").write_text('text\nab\n""\ncde\n')
    vtsserving.predict_file("echo", tmp_path / "in.csv", tmp_path / "out.npy")
    assert np.array_equal(np.load(tmp_path / "out.npy"), [2.0, np.nan, 3.0], equal_nan=True)
    (tmp_path / "in.csv").write_text('text\nhuge\n""\ncde\n')
    with pytest.raises(BadModelOutput, match=r"write \.parquet"):
        vtsserving.predict_file("echo", tmp_path / "in.csv", tmp_path / "out.npy")


def test_a_file_whose_columns_do_not_fit_is_refused_before_the_model_is_called(tmp_path: Path) -> None:
    save_people()
    people(5).drop(columns="fare").to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(BadShape, match="misses 'fare'"):
        vtsserving.predict_file("people", tmp_path / "in.csv", tmp_path / "out.csv")
    people(5).assign(more=1).to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(BadShape, match="unknown 'more'"):
        vtsserving.predict_file("people", tmp_path / "in.csv", tmp_path / "out.csv")
    save_trouble(tmp_path)
    calls = (tmp_path / "calls").read_text() if (tmp_path / "calls").exists() else ""
    np.save(tmp_path / "in.npy", np.ones((5, 3)))
    with pytest.raises(BadShape, match=r"expected shape \[-1, 2\], got \[5, 3\]"):
        vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy")
    (tmp_path / "in.csv").write_text("id,a,b\n7,1,2\n")
    with pytest.raises(
        BadShape, match="the method gets 'id', 'a', 'b': choose its columns, or keep the others"
    ):
        vtsserving.predict_file("trouble", tmp_path / "in.csv", tmp_path / "out.npy")
    assert calls == ((tmp_path / "calls").read_text() if calls else "")
    assert not list(tmp_path.glob("*out*"))


def test_a_run_ends_where_no_row_of_the_first_chunk_is_answered(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    np.save(tmp_path / "in.npy", np.full((9, 2), RAISE))
    with pytest.raises(
        ModelFailed, match=r"none of the first 9 rows was answered; row 0: ValueError: poison"
    ):
        vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy")
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("content", [b"", b"no npy", b"\x93NUMPY\x01\x00"])
def test_what_is_no_npy_is_refused(tmp_path: Path, content: bytes) -> None:
    save_trouble(tmp_path)
    (tmp_path / "in.npy").write_bytes(content)
    with pytest.raises(BadInput, match="cannot be read"):
        vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy")


def test_a_pickle_in_npy_is_not_loaded(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    np.save(tmp_path / "in.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(BadInput, match="Python objects"):
        vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy")


def test_models_and_methods_that_do_not_exist_are_named(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    np.save(tmp_path / "in.npy", np.ones((5, 2)))
    with pytest.raises(ModelNotFound):
        vtsserving.predict_file("nobody", tmp_path / "in.npy", tmp_path / "out.npy")
    with pytest.raises(MethodNotFound, match="no method 'score'; it has predict"):
        vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy", method="score")


def test_a_result_whose_name_is_that_of_a_kept_column_is_refused(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    (tmp_path / "in.csv").write_text("prediction_0,a,b\n7,1,2\n")
    options = {"keep": ["prediction_0"]}
    with pytest.raises(ModelFailed, match="'prediction_0', and so have the kept ones"):
        vtsserving.predict_file("trouble", tmp_path / "in.csv", tmp_path / "out.csv", **options)  # type: ignore[arg-type]
    vtsserving.predict_file(
        "trouble", tmp_path / "in.csv", tmp_path / "out.csv", keep=["prediction_0"], result_name="double"
    )
    assert (tmp_path / "out.csv").read_text() == "prediction_0,double_0,double_1\n7,2.0,4.0\n"


def test_a_result_without_rows_is_refused(tmp_path: Path) -> None:
    save_echo("mean")
    (tmp_path / "in.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises((ModelFailed, InvalidArgument), match="has no rows"):
        vtsserving.predict_file("echo", tmp_path / "in.csv", tmp_path / "out.csv")


@pytest.mark.parametrize("processes", [None, 2], ids=["here", "two processes"])
def test_a_record_that_does_not_fit_has_the_error_that_it_has_online(
    tmp_path: Path, processes: int | None
) -> None:
    save_riders()
    lines = ["n,kind,x", "1,a,0.5", "1.5,a,0.5", "2.0,b,", ",a,1", "4,c,1", "5,b,much", "6,b,2"]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    scored = vtsserving.predict_file(
        "riders", tmp_path / "in.csv", tmp_path / "out.csv", processes=processes, result_name="sum"
    )
    assert [one["sum"] for one in listed(tmp_path / "out.csv")] == ["1.5", "", "nan", "", "", "", "8.0"]
    failed = listed(tmp_path / "out.csv.failed.csv")
    assert [(one["row"], one["code"]) for one in failed] == [(str(row), "wrong_type") for row in (1, 3, 4, 5)]
    assert [one["error"] for one in failed] == [
        "input, column 'n' is 1.5; expected an integer",
        "input, column 'n' is missing; send a value, or save the model with 'nullable': True for it",
        "input, column 'kind' is 'c', which is not among its categories 'a', 'b'",
        "input, column 'x' is 'much'; expected a number",
    ]
    assert scored.failed == 4


def test_an_error_of_a_column_that_is_not_for_the_method_says_what_to_do(tmp_path: Path) -> None:
    save_riders()
    (tmp_path / "in.csv").write_text("n,kind,x,target\n1,a,0.5,1\n")
    with pytest.raises(
        BadShape, match=r"unknown 'target'.*; keep what is not for the method, --keep 'target'"
    ):
        vtsserving.predict_file("riders", tmp_path / "in.csv", tmp_path / "out.csv")
    scored = vtsserving.predict_file("riders", tmp_path / "in.csv", tmp_path / "out.csv", keep=["target"])
    assert (scored.rows, scored.failed) == (1, 0)


def test_a_text_that_is_missing_fails_alone_and_the_error_says_so(tmp_path: Path) -> None:
    words = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["good", "bad"] * 3, ["p", "n"] * 3)
    vtsserving.sklearn.save_model("words", words)
    (tmp_path / "in.csv").write_text('text\ngood\n""\n01067 bad\n')
    vtsserving.predict_file("words", tmp_path / "in.csv", tmp_path / "out.csv")
    assert [one["prediction"] for one in listed(tmp_path / "out.csv")] == ["p", "", "n"]
    assert listed(tmp_path / "out.csv.failed.csv") == [
        {"row": "1", "code": "wrong_type", "error": "the column 'text' is missing; expected a string"}
    ]
    with pytest.raises(InvalidArgument, match="for all are kept; choose what it gets, too: --column 'text'"):
        vtsserving.predict_file("words", tmp_path / "in.csv", tmp_path / "out.csv", keep=["text"])
    vtsserving.predict_file(
        "words", tmp_path / "in.csv", tmp_path / "out.csv", keep=["text"], columns=["text"]
    )
    assert [one["text"] for one in listed(tmp_path / "out.csv")] == ["good", "", "01067 bad"]
