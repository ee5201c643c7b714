"""ONNX models of several files, and above the size of a protobuf: saved whole, and nothing else with them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support.sdk import files_below
from vtsserving._saving import onnx_files
from vtsserving._saving.framework import load_for_serving
from vtsserving.exceptions import BadShape, InvalidArgument

pytestmark = [
    pytest.mark.frameworks("onnx"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

WIDTH = 300
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def weights() -> np.ndarray:
    return np.random.default_rng(6).normal(size=(4, WIDTH)).astype(np.float32)


def two_layers() -> Any:
    """X @ A + B, with a branch inside of an If whose tensor is a constant of a node."""
    from onnx import TensorProto, helper, numpy_helper

    inner = numpy_helper.from_array(np.full((1, WIDTH), 2, dtype=np.float32), "inner")
    constant = helper.make_node("Constant", [], ["two"], value=inner)
    branch = helper.make_graph(
        [constant, helper.make_node("Add", ["XA", "two"], ["then"])],
        "yes",
        [],
        [helper.make_tensor_value_info("then", TensorProto.FLOAT, ["rows", WIDTH])],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["XA"], ["else"])],
        "no",
        [],
        [helper.make_tensor_value_info("else", TensorProto.FLOAT, ["rows", WIDTH])],
    )
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["X", "A"], ["XA"]),
            helper.make_node("If", ["yes"], ["added"], then_branch=branch, else_branch=other),
            helper.make_node("Add", ["added", "B"], ["Y"]),
        ],
        "two layers",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["rows", WIDTH])],
        [
            numpy_helper.from_array(weights(), "A"),
            numpy_helper.from_array(np.arange(WIDTH, dtype=np.float32), "B"),
            numpy_helper.from_array(np.array(True), "yes"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


EXPECTED = ROWS @ weights() + 2 + np.arange(WIDTH, dtype=np.float32)


def saved_outside(folder: Path, *, one_file: bool, name: str = "weights.bin") -> Path:
    """The model as an exporter writes it: its tensors in one file beside it, or in one each."""
    import onnx

    path = folder / "net.onnx"
    onnx.save_model(
        two_layers(),
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=one_file,
        location=name if one_file else None,
        size_threshold=100,
    )
    return path


def answers(saved: vtsserving.Model) -> Any:
    return load_for_serving(saved.path).run(ROWS)


@pytest.mark.parametrize("one_file", [True, False], ids=["one file", "a file for each tensor"])
def test_files_of_tensors_are_saved_with_the_graph(one_file: bool, tmp_path: Path) -> None:
    path = saved_outside(tmp_path, one_file=one_file)
    outside = len(list(tmp_path.iterdir())) - 1
    saved = vtsserving.onnx.save_model("net", path)
    for file in tmp_path.iterdir():
        if file.is_file():
            file.unlink()
    assert (
        len([entry for entry in saved.manifest.files if entry.path.startswith("external_data/")]) == outside
    )
    assert np.allclose(answers(saved), EXPECTED, atol=1e-4)
    vtsserving.models.verify(saved.tag)


@pytest.mark.parametrize(
    "name", ["data/deep/weights.bin", "model.yaml", "manifest.json", "Model.ONNX", "a b:c.bin"]
)
def test_files_of_tensors_may_have_any_name_and_meet_none_of_ours(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    saved = vtsserving.onnx.save_model("net", str(saved_outside(tmp_path, one_file=True, name=name)))
    assert np.allclose(answers(saved), EXPECTED, atol=1e-4)
    assert saved.info.module == "vtsserving.onnx"


def renamed(path: Path, location: str) -> Path:
    """The same graph, with another name for every file of its tensors."""
    import onnx

    graph = onnx.load_model(str(path), load_external_data=False)
    for tensor in onnx_files._tensors(graph):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(graph.SerializeToString())
    return path


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/hostname", "data/../../secret.bin", "", "..\\secret.bin", "gone.bin", "."],
)
def test_a_file_elsewhere_is_never_read(location: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = saved_outside(inside, one_file=True)
    shutil.copy(inside / "weights.bin", tmp_path / "secret.bin")
    with pytest.raises(InvalidArgument, match=r"the model's tensor '.*' is in the file"):
        vtsserving.onnx.save_model("net", renamed(path, location))
    assert vtsserving.models.list() == []


def test_a_link_out_of_the_directory_is_refused_and_one_of_a_cache_followed(tmp_path: Path) -> None:
    inside, blobs, cached = tmp_path / "inside", tmp_path / "blobs", tmp_path / "cached"
    for folder in (inside, blobs, cached):
        folder.mkdir()
    path = saved_outside(inside, one_file=True)
    shutil.move(inside / "weights.bin", tmp_path / "secret.bin")
    (inside / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(InvalidArgument, match="link to outside"):
        vtsserving.onnx.save_model("net", path)
    # Caches of model hubs have links to files whose names are digests, all in one folder.
    shutil.copy(path, blobs / "aa")
    shutil.copy(tmp_path / "secret.bin", blobs / "bb")
    (cached / "net.onnx").symlink_to(blobs / "aa")
    (cached / "weights.bin").symlink_to(blobs / "bb")
    saved = vtsserving.onnx.save_model("net", cached / "net.onnx")
    assert np.allclose(answers(saved), EXPECTED, atol=1e-4)


def test_a_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = saved_outside(tmp_path, one_file=True)
    os.truncate(tmp_path / "weights.bin", 100)
    with pytest.raises(InvalidArgument, match=r"'weights.bin' has 100 bytes"):
        vtsserving.onnx.save_model("net", path)


def test_a_message_whose_tensors_are_in_files_is_saved_from_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    path = saved_outside(tmp_path, one_file=True)
    graph = onnx.load_model(str(path), load_external_data=False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for model in (graph, path.read_bytes()):
        with pytest.raises(InvalidArgument, match=r"not in the working directory; save the path"):
            vtsserving.onnx.save_model("net", model)
    monkeypatch.chdir(tmp_path)
    for model in (graph, path.read_bytes()):
        assert np.allclose(answers(vtsserving.onnx.save_model("net", model)), EXPECTED, atol=1e-4)


def test_a_message_that_is_about_to_be_written_into_files_is_saved_and_stays_as_it_is(tmp_path: Path) -> None:
    import onnx

    graph = two_layers()
    onnx.external_data_helper.convert_model_to_external_data(graph, location="later.bin", size_threshold=0)
    before = graph.SerializeToString()
    saved = vtsserving.onnx.save_model("net", graph)
    assert np.allclose(answers(saved), EXPECTED, atol=1e-4)
    assert graph.SerializeToString() == before
    assert not any(entry.path.startswith("external_data/") for entry in saved.manifest.files)


def test_a_message_above_the_limit_is_saved_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx import numpy_helper

    monkeypatch.setattr(onnx_files, "MAX_INLINE_BYTES", 3_000)
    graph = two_layers()
    listed = graph.graph.initializer.add(
        name="unused", dims=[400], data_type=1, float_data=[float(number) for number in range(400)]
    )
    before = graph.SerializeToString()
    saved = vtsserving.onnx.save_model("net", graph)
    assert graph.SerializeToString() == before
    assert [entry.path for entry in saved.manifest.files if "external" in entry.path] == [
        "external_data/tensors.bin"
    ]
    assert (saved.path / "model.onnx").stat().st_size < 3_000
    assert np.allclose(answers(saved), EXPECTED, atol=1e-4)
    assert numpy_helper.to_array(listed).tobytes() in files_below(saved.path)["external_data/tensors.bin"]


def table_of(rows: int, *, outside: str = "") -> Any:
    """A model that looks up a row of 1 KiB in a table, which is most of it."""
    from onnx import TensorProto, helper

    table = TensorProto(name="table", dims=[rows, 1024], data_type=TensorProto.UINT8)
    if outside:
        table.data_location = TensorProto.EXTERNAL
        table.external_data.add(key="location", value=outside)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "at"], ["row"])],
        "look up",
        [helper.make_tensor_value_info("at", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("row", TensorProto.UINT8, ["n", 1024])],
        [table],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if not outside:
        # Not before: a message above 2 GiB cannot be copied into another one.
        model.graph.initializer[0].raw_data = bytes(1024 * (rows - 1)) + bytes(range(256)) * 4
    return model


ABOVE_2_GIB_ROWS = 2**21 + 100


@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.parametrize("form", ["path", "message"])
def test_a_model_above_2_gib_is_saved_whole(form: str, tmp_path: Path) -> None:
    if form == "path":
        with (tmp_path / "table.bin").open("wb") as file:
            file.truncate(1024 * (ABOVE_2_GIB_ROWS - 1))
            file.seek(0, os.SEEK_END)
            file.write(bytes(range(256)) * 4)
        model: Any = tmp_path / "lookup.onnx"
        model.write_bytes(table_of(ABOVE_2_GIB_ROWS, outside="table.bin").SerializeToString())
    else:
        model = table_of(ABOVE_2_GIB_ROWS)
    try:
        saved = vtsserving.onnx.save_model("large", model)
        del model
        assert saved.size_bytes > 2**31
        (row,) = load_for_serving(saved.path, verified=True).run(np.array([ABOVE_2_GIB_ROWS - 1]))
        assert row.tolist() == [*range(256)] * 4
    finally:
        shutil.rmtree(tmp_path)


def test_an_unreadable_model_is_refused_without_a_temporary_path(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"this is not a model")
    with pytest.raises(InvalidArgument, match="onnxruntime cannot read the model") as caught:
        vtsserving.onnx.save_model("net", tmp_path / "net.onnx")
    assert "/.tmp/" not in str(caught.value)
    with pytest.raises(InvalidArgument, match="is not a file"):
        vtsserving.onnx.save_model("net", tmp_path / "gone.onnx")


@pytest.mark.frameworks("torch")
def test_an_export_of_torch_with_its_defaults_is_saved_and_served(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(3)
    net = torch.nn.Sequential(torch.nn.Linear(4, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, 2)).eval()
    path = tmp_path / "exported.onnx"
    torch.onnx.export(net, (torch.zeros(2, 4),), str(path), dynamo=True, verbose=False)
    assert (tmp_path / "exported.onnx.data").exists(), "torch keeps its weights elsewhere by now"
    saved = vtsserving.onnx.save_model("exported", path)
    with torch.inference_mode():
        expected = net(torch.from_numpy(ROWS)).numpy()
    assert np.allclose(answers(saved), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("first", "counts"), [(2, {1: False, 2: True, 3: False}), ("rows", {1: True, 3: True})]
)
def test_a_graph_of_a_fixed_number_of_rows_takes_no_other(first: Any, counts: dict[int, bool]) -> None:
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Neg", ["X"], ["Y"])],
        "fixed",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [first, 4])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [first, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    vtsserving.onnx.save_model("fixed", model, signatures={"run": {"batchable": True}})
    runner = vtsserving.models.get("fixed").to_runner()
    runner.init_local()
    for rows, is_right in counts.items():
        sent = np.ones((rows, 4), dtype=np.float32)
        if is_right:
            assert np.array_equal(runner.run.run(sent), -sent)
        else:
            with pytest.raises(BadShape, match=rf"X: expected shape \[2, 4\], got \[{rows}, 4\]"):
                runner.run.run(sent)
