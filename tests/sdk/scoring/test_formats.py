"""Files of CSV and .npy in and out, for methods that take arrays, tables, lists and several arguments."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vtsserving
from support.scored_models import people, save_echo, save_people, save_trouble
from vtsserving.exceptions import InvalidArgument

pytestmark = pytest.mark.slow


def cells(path: Path, delimiter: str = ",") -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


@pytest.mark.parametrize("processes", [None, 2], ids=["here", "two processes"])
def test_an_array_gives_an_array(tmp_path: Path, processes: int | None) -> None:
    save_trouble(tmp_path)
    rows = np.arange(2_000.0).reshape(-1, 2) + 1_000
    np.save(tmp_path / "in.npy", rows)
    scored = vtsserving.predict_file(
        "trouble", tmp_path / "in.npy", tmp_path / "out.npy", processes=processes, batch_rows=64
    )
    assert (scored.rows, scored.failed, scored.failed_file) == (1_000, 0, None)
    assert np.array_equal(np.load(tmp_path / "out.npy"), rows * 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls", "in.npy", "out.npy"]


def test_an_array_gives_a_table(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    np.save(tmp_path / "in.npy", np.array([[1.5, 2.25], [3.0, 0.1]]))
    vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.csv")
    assert cells(tmp_path / "out.csv") == [
        ["prediction_0", "prediction_1"],
        ["3.0", "4.5"],
        ["6.0", "0.2"],
    ]


def test_columns_give_an_array_in_the_order_that_is_chosen(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    (tmp_path / "in.csv").write_text("b,id,a\n2,007,1\n4,008,3\n")
    vtsserving.predict_file(
        "trouble", tmp_path / "in.csv", tmp_path / "out.csv", columns=["a", "b"], keep=["id"]
    )
    assert cells(tmp_path / "out.csv") == [
        ["id", "prediction_0", "prediction_1"],
        ["007", "2.0", "4.0"],
        ["008", "6.0", "8.0"],
    ]
    vtsserving.predict_file("trouble", tmp_path / "in.csv", tmp_path / "out.npy", columns=["a", "b"])
    assert np.load(tmp_path / "out.npy").tolist() == [[2.0, 4.0], [6.0, 8.0]]


@pytest.mark.parametrize("processes", [None, 2], ids=["here", "two processes"])
def test_a_table_gives_what_the_model_gives_for_its_frame(tmp_path: Path, processes: int | None) -> None:
    saved = save_people()
    frame = people(700)
    frame.insert(0, "id", [f"{number:06d}" for number in range(700)])
    frame.to_csv(tmp_path / "in.csv", index=False)
    model = vtsserving.sklearn.load_model(saved.tag)
    options = {"keep": ["id"], "processes": processes, "batch_rows": 100}
    vtsserving.predict_file("people", tmp_path / "in.csv", tmp_path / "out.csv", **options)
    found = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert found["id"].tolist() == frame["id"].tolist()
    assert found["prediction"].tolist() == model.predict(frame.drop(columns="id")).tolist()
    options["method"] = "predict_proba"
    vtsserving.predict_file("people", tmp_path / "in.csv", tmp_path / "out.tsv", **options)
    wanted = model.predict_proba(frame.drop(columns="id"))
    shares = np.array([[float(cell) for cell in row[1:]] for row in cells(tmp_path / "out.tsv", "\t")[1:]])
    assert np.allclose(shares, wanted, rtol=1e-12)


def test_columns_are_found_by_name_in_any_order_and_all_can_be_kept(tmp_path: Path) -> None:
    saved = save_people()
    frame = people(60)
    mixed = frame.assign(note="x, y")[["town", "note", "fare", "age"]]
    mixed.to_csv(tmp_path / "in.csv", index=False)
    vtsserving.predict_file("people", tmp_path / "in.csv", tmp_path / "out.csv", keep="all")
    found = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert list(found.columns) == ["town", "note", "fare", "age", "prediction"]
    assert found.drop(columns="prediction").equals(mixed.astype(str))
    wanted = vtsserving.sklearn.load_model(saved.tag).predict(frame)
    assert found["prediction"].tolist() == wanted.tolist()


def test_text_stays_text_and_long_ids_keep_their_digits(tmp_path: Path) -> None:
    save_echo("table")
    (tmp_path / "in.csv").write_text(
        'plz,n,id,x\n01067,1,9007199254740993,0.1\nNA,,9007199254740995,2\n"a ""b"",\nc",3,,NaN\n'
    )
    vtsserving.predict_file("echo", tmp_path / "in.csv", tmp_path / "out.csv", batch_rows=1)
    shown = [row[0] for row in cells(tmp_path / "out.csv")[1:]]
    assert shown[0] == "{'plz': '01067', 'n': 1.0, 'id': 9007199254740993, 'x': 0.1}"
    assert shown[1].startswith("{'plz': 'NA', 'n': nan, 'id': 9007199254740995")
    assert shown[2] == "{'plz': 'a \"b\",\\nc', 'n': 3.0, 'id': None, 'x': nan}"


def test_one_column_of_texts_is_a_list_for_a_method_of_texts(tmp_path: Path) -> None:
    save_echo("texts")
    (tmp_path / "in.csv").write_text('text\nhello\n"a, b"\nNA\n')
    vtsserving.predict_file("echo", tmp_path / "in.csv", tmp_path / "out.csv", result_name="shown")
    assert cells(tmp_path / "out.csv") == [["shown"], ["'hello'"], ["'a, b'"], ["'NA'"]]


def test_a_list_of_objects_gives_a_column_for_each_key(tmp_path: Path) -> None:
    save_echo("labelled")
    (tmp_path / "in.csv").write_text("text\nhello\nworlds\n")
    vtsserving.predict_file("echo", tmp_path / "in.csv", tmp_path / "out.csv")
    assert cells(tmp_path / "out.csv") == [["label", "score"], ["h", "5"], ["w", "6"]]


def test_columns_named_as_the_arguments_are_these(tmp_path: Path) -> None:
    save_echo("two")
    (tmp_path / "in.csv").write_text("b,a\n10,1\n20,2\n")
    vtsserving.predict_file("echo", tmp_path / "in.csv", tmp_path / "out.csv")
    assert cells(tmp_path / "out.csv") == [
        ["sum", "both_0", "both_1"],
        ["11", "1", "10"],
        ["22", "2", "20"],
    ]


def test_rows_that_a_model_returns_in_another_order_go_to_their_places(tmp_path: Path) -> None:
    save_echo("shuffled")
    (tmp_path / "in.csv").write_text("a,b\n1,x\n2,y\n3,z\n")
    vtsserving.predict_file("echo", tmp_path / "in.csv", tmp_path / "out.csv")
    assert cells(tmp_path / "out.csv") == [["a", "b"], ["1", "x"], ["2", "y"], ["3", "z"]]


def test_a_file_without_rows_gives_one_without_rows(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    (tmp_path / "in.csv").write_text("a,b\n")
    scored = vtsserving.predict_file("trouble", tmp_path / "in.csv", tmp_path / "out.csv", keep=["a"])
    assert (scored.rows, (tmp_path / "out.csv").read_text()) == (0, "a,prediction\n")
    np.save(tmp_path / "in.npy", np.zeros((0, 2)))
    vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy").shape == (0,)


def test_an_existing_output_is_replaced_and_an_old_list_of_failed_rows_goes(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    np.save(tmp_path / "in.npy", np.ones((3, 2)))
    (tmp_path / "out.npy").write_text("old")
    (tmp_path / "out.npy.failed.csv").write_text("old")
    vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy")
    assert np.load(tmp_path / "out.npy").tolist() == [[2.0, 2.0]] * 3
    assert not (tmp_path / "out.npy.failed.csv").exists()


@pytest.mark.parametrize(
    ("source", "target", "options", "said"),
    [
        ("in.txt", "out.csv", {}, "does not tell a format"),
        ("in.csv", "in.csv", {}, "replace the input"),
        ("gone.csv", "out.csv", {}, "there is no file"),
        ("in.csv", "no/out.csv", {}, "there is no folder"),
        ("in.csv", "out.csv", {"keep": ["c"]}, "no column 'c'; it has 'a', 'b'"),
        ("in.csv", "out.csv", {"keep": ["a", "b"]}, "no column is left"),
        ("in.csv", "out.npy", {"keep": ["a"]}, "no room for columns"),
        ("in.csv", "out.csv", {"rows_as": "rows"}, "rows_as is array"),
        ("in.csv", "out.csv", {"batch_rows": 0}, "batch_rows is a number from 1"),
        ("in.csv", "out.csv", {"processes": 65}, "processes is a number from 1 to 64"),
    ],
)
def test_an_impossible_command_says_what_to_do(
    tmp_path: Path, source: str, target: str, options: dict[str, object], said: str
) -> None:
    save_trouble(tmp_path)
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidArgument, match=said):
        vtsserving.predict_file("trouble", tmp_path / source, tmp_path / target, **options)  # type: ignore[arg-type]
    assert [
        path.name for path in tmp_path.iterdir() if "unfinished" in path.name or "lock" in path.name
    ] == []


@pytest.mark.parametrize("example", [None, ["good", "bad"]], ids=["without example", "with example"])
def test_a_text_pipeline_takes_a_column_of_texts(tmp_path: Path, example: list[str] | None) -> None:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(CountVectorizer(), MultinomialNB()).fit(["very good", "so bad"], ["pos", "neg"])
    vtsserving.sklearn.save_model("mood", model, signatures={"predict": {}}, input_example=example)
    (tmp_path / "in.csv").write_text('id,text\n1,"good, really"\n2,bad\n')
    vtsserving.predict_file("mood", tmp_path / "in.csv", tmp_path / "out.csv", keep=["id"])
    assert cells(tmp_path / "out.csv") == [["id", "prediction"], ["1", "pos"], ["2", "neg"]]


def test_a_file_with_the_contract_s_missing_values_gives_what_pandas_gives(tmp_path: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    frame = people(300)[["age", "fare"]].astype("float64")
    frame.loc[::7, "age"] = np.nan
    model = HistGradientBoostingClassifier(max_iter=5).fit(frame, frame["fare"] > 0.5)
    vtsserving.sklearn.save_model("trees", model, signatures={"predict": {}})
    frame.to_csv(tmp_path / "in.csv", index=False)
    vtsserving.predict_file("trees", tmp_path / "in.csv", tmp_path / "out.npy", batch_rows=50)
    assert np.array_equal(np.load(tmp_path / "out.npy"), model.predict(frame))
