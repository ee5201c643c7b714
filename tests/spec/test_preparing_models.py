"""Every code block of docs/preparing-models.rst, run as it stands; shell blocks must print what the page shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support.command_line import CommandLine
from support.rst_blocks import Block, code_blocks
from support.sdk import iris_classifier
from support.stores import ACCESS_KEY, SECRET_KEY, Bucket, ThreadedStore, bucket_of_its_own, store_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "preparing-models.rst"
BLOCKS = {block.key: block for block in code_blocks(PAGE)}


SHOWN_VERSION = "2uo5fkgxj27exuqj"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "vtsserving"))
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    return tmp_path


@pytest.fixture
def iris(home: Path) -> vtsserving.Model:
    return vtsserving.sklearn.save_model("iris_clf", iris_classifier())


@pytest.fixture
def service(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadedStore(store_settings(home / "service")) as running:
        monkeypatch.setenv("VTSSERVING_STORE_URL", running.url)
        yield


@pytest.fixture
def bucket(home: Path, monkeypatch: pytest.MonkeyPatch, s3_endpoint: str) -> Bucket:
    # What a user sets who has another S3 than Amazon's.
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return bucket_of_its_own(s3_endpoint)


def run(key: str, replaced: dict[str, str] | None = None, **names: Any) -> dict[str, Any]:
    """Run a Python block in a namespace with what a reader would have; returns the namespace."""
    text = BLOCKS[key].text
    for shown, real in (replaced or {}).items():
        assert shown in text
        text = text.replace(shown, real)
    namespace: dict[str, Any] = {"vtsserving": vtsserving, "np": np, **names}
    exec(compile(text, f"{PAGE.name}: {key}", "exec"), namespace)
    return namespace


def expected(key: str) -> tuple[str, str]:
    """The command line of a shell block, and what the page says that it prints."""
    prompt, _, output = BLOCKS[key].text.partition("\n")
    return prompt.removeprefix("> "), output.strip("\n") + "\n"


def test_every_block_of_the_page_is_run_by_a_test() -> None:
    tests = Path(__file__).read_text()
    assert len(BLOCKS) == 27
    assert [key for key in BLOCKS if f'"{key}"' not in tests.partition("def expected")[2]] == []


def test_saving_prints_the_tag(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("Save A Trained Model/1", clf=iris_classifier())
    shown = BLOCKS["Save A Trained Model/1"].text.rpartition("# ")[2]
    printed = capsys.readouterr().out.strip()
    assert re.fullmatch(re.escape(shown).replace(SHOWN_VERSION, "[2-7a-z]{16}"), printed)


def test_loading_gives_the_estimator(iris: vtsserving.Model) -> None:
    model = run("Retrieve a saved model/1")["model"]
    assert model.predict([[5.9, 3.0, 5.1, 1.8]]).tolist() == [2]


def test_getting_gives_the_record_and_a_runner(
    iris: vtsserving.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run("Retrieve a saved model/2")
    assert capsys.readouterr().out.splitlines() == [str(iris.tag), str(iris.path), "{}", "{}", "{}"]
    assert isinstance(names["my_runner"], vtsserving.Runner)


def cells(line: str) -> list[str]:
    return re.split(r"  +", line.strip())


def test_the_list_has_the_columns_of_the_page(iris: vtsserving.Model, vts: CommandLine) -> None:
    command, output = expected("Managing Models/1")
    printed = vts(*shlex.split(command)[1:]).out.splitlines()
    header, row, _ = output.splitlines()
    assert cells(printed[0]) == cells(header)
    assert len(printed) == 2
    for got, shown in zip(cells(printed[1]), cells(row), strict=True):
        assert shape(got) == shape(shown) or got.endswith(f"/models/iris_clf/{iris.tag.version}")
    assert cells(printed[1])[0] == str(iris.tag)


def shape(cell: str) -> str:
    """A cell with every number and generated version replaced, to compare its form."""
    return re.sub(r"\d+", "0", re.sub(r"[2-7a-z]{16}", "V", cell))


def test_get_prints_the_keys_of_the_page_in_their_order(iris: vtsserving.Model, vts: CommandLine) -> None:
    command, output = expected("Managing Models/2")
    printed = vts(*shlex.split(command)[1:]).out
    assert [keys(line) for line in printed.splitlines()] == [keys(line) for line in output.splitlines()]


def keys(line: str) -> tuple[str, str]:
    """A line of YAML with the kind of its value instead of the value."""
    key, _, value = line.partition(":")
    kind = "number" if re.match(r" '?[\d.]", value) or "version" in key else value
    return key, kind


def test_delete_says_the_sentence_of_the_page(iris: vtsserving.Model, vts: CommandLine) -> None:
    command, output = expected("Managing Models/3")
    ended = vts(*shlex.split(command)[1:])
    assert ended.out + ended.err == output.replace(SHOWN_VERSION, str(iris.tag.version))
    assert vtsserving.models.list() == []


def test_export_and_import_say_the_sentences_of_the_page(iris: vtsserving.Model, vts: CommandLine) -> None:
    for key in ("Model Import and Export/1", "Model Import and Export/2"):
        command, output = expected(key)
        version = str(iris.tag.version)
        ended = vts(*shlex.split(command.replace(SHOWN_VERSION, version))[1:])
        assert (ended.code, ended.out) == (0, output.replace(SHOWN_VERSION, version))


def test_a_model_is_exported_to_a_bucket(iris: vtsserving.Model, vts: CommandLine, bucket: Bucket) -> None:
    install, export = BLOCKS["Model Import and Export/3"].text.splitlines()
    assert shlex.split(install, comments=True) == ["pip", "install", "vtsserving[s3]"]
    where = f"s3://{bucket.name}/my_prefix/"
    ended = vts(*shlex.split(export.replace("s3://my_bucket/my_prefix/", where))[1:])
    assert ended.code == 0, ended.err
    file = f"{where}iris_clf-{iris.tag.version}.vtsmodel"
    run("Model Management API/5", {"s3://my_bucket/folder/my_model.vtsmodel": file})


def test_push_and_pull_say_the_sentences_of_the_page(
    iris: vtsserving.Model, vts: CommandLine, service: None
) -> None:
    for key in ("Push and Pull/1", "Push and Pull/2"):
        command, output = expected(key)
        ended = vts(*shlex.split(command)[1:])
        assert (ended.code, ended.out) == (0, output.replace(SHOWN_VERSION, str(iris.tag.version)))
        if key.endswith("1"):
            vtsserving.models.delete(iris.tag)
    assert vtsserving.models.list() == [iris]


def test_the_management_api_gets_and_lists(
    iris: vtsserving.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    run("Model Management API/1")
    assert capsys.readouterr().out.splitlines() == [str(iris.path), "{}", "{}"]
    assert run("Model Management API/2")["models"] == [iris]


def test_the_management_api_exports_and_imports(iris: vtsserving.Model, home: Path) -> None:
    real = {"/path/to/folder": str(home / "folder")}
    run("Model Management API/3", real)
    assert (home / "folder" / "my_model.vtsmodel").is_file()
    vtsserving.models.delete(iris.tag)
    run("Model Management API/4", real)
    assert vtsserving.models.list() == [iris]


def test_the_management_api_pushes_pulls_and_deletes(iris: vtsserving.Model, service: None) -> None:
    run("Model Management API/6")
    run("Model Management API/8")
    assert vtsserving.models.list() == []
    run("Model Management API/7")
    assert vtsserving.models.list() == [iris]


def test_a_service_calls_a_runner(iris: vtsserving.Model) -> None:
    from vtsserving.io import NumpyNdarray

    names = run("Using Model Runner/1")
    names = run("Using Model Runner/2", NumpyNdarray=NumpyNdarray, iris_clf_runner=names["iris_clf_runner"])
    names["iris_clf_runner"].init_local()
    assert "classify" in names["svc"].apis
    assert names["classify"](np.array([[5.9, 3.0, 5.1, 1.8]])).tolist() == [2]


def test_a_local_runner_gives_what_the_model_gives(iris: vtsserving.Model) -> None:
    runner = run("Using Model Runner/3")["iris_clf_runner"]
    assert runner.predict.run([[5.9, 3.0, 5.1, 1.8]]).tolist() == [2]


def linear_model() -> Any:
    """A torch module that can also be called by the names that the page uses."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 3)

        def forward(self, rows: Any) -> Any:
            return self.layer(rows)

        def classify(self, rows: Any) -> Any:
            return self(rows).argmax(dim=1)

        def predict(self, rows: Any) -> Any:
            return rows * 2

    return Net()


@pytest.mark.frameworks("torch")
def test_labels_metadata_and_custom_objects_are_saved(home: Path) -> None:
    tokenizer = {"hello": 1}
    scores = {"folds": np.array([0.5, 1.0])}
    run(
        "Save A Trained Model/2",
        trained_model=linear_model(),
        acc=np.float32(0.5),
        cv_stats=scores,
        tokenizer_object=tokenizer,
    )
    model = vtsserving.models.get("demo_mnist:latest")
    assert model.info.labels == {"owner": "nlp_team", "stage": "dev"}
    assert model.info.metadata == {
        "acc": 0.5,
        "cv_stats": {"folds": [0.5, 1.0]},
        "dataset_version": "20210820",
    }
    assert model.custom_objects == {"tokenizer": tokenizer}


@pytest.mark.frameworks("torch")
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(("Model Signatures/1", lambda net, rows: net.classify(rows)), id="classify"),
        pytest.param(("Model Signatures/2", lambda net, rows: net(rows)), id="call"),
        pytest.param(("Batching/1", lambda net, rows: net(rows)), id="batchable"),
    ],
)
def test_signatures_of_a_torch_module_are_called(
    home: Path, call: tuple[str, Callable[[Any, Any], Any]]
) -> None:
    import torch

    key, directly = call
    net, rows = linear_model(), np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    names = run(key, trained_model=net, MODEL_INPUT=rows)
    with torch.inference_mode():
        assert_same(last_value(BLOCKS[key], names), directly(net, torch.from_numpy(rows)).numpy())


@pytest.mark.frameworks("torch")
def test_batch_dimensions_are_recorded(home: Path) -> None:
    names = run("Batching/2", model_0=linear_model(), model_1=linear_model())
    assert names["runner0"].signatures["predict"].batch_dim == (0, 0)
    assert names["runner1"].signatures["predict"].batch_dim == (1, 1)
    assert_same(names["runner1"].predict.run(np.array([[5], [6]])), np.array([[10], [12]]))


def last_value(block: Block, names: dict[str, Any]) -> Any:
    """The value of the expression that a block ends with."""
    return eval(block.text.splitlines()[-1].strip(), names)


def assert_same(result: Any, wanted: np.ndarray) -> None:
    assert result.dtype == wanted.dtype
    assert np.array_equal(result, wanted)
