"""The models that `make.py` saves with release 0.1.0: each small, with one fixed input.

Weights and inputs are small whole numbers and powers of two wherever a framework lets them be, so that the answers are
the same to the last bit on every processor.
"""

from __future__ import annotations

import datetime
import functools
import operator
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import vtsserving

HERE = sys.modules[__name__]
ROWS = [[1.0, 2.0, 0.5, 4.0], [3.0, 1.0, 2.0, 0.25], [0.0, 5.0, 1.0, 1.0], [2.0, 2.0, 8.0, 0.5]]


class Made(NamedTuple):
    """A saved model and one call of it.

    Attributes:
        tag: exact.
        method: of the model; empty where it is not served.
        body: of the request, as JSON.
        exact: whether the answer has the same bits on every machine.
    """

    tag: str
    method: str
    body: Any
    exact: bool = True


class Rule:
    """An object whose class no server has."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def fits(self, value: float) -> bool:
        return value < self.limit


def taxed(rows: Any) -> Any:
    """A model that is a function, carried by value."""
    return np.asarray(rows) * 1.25 + 1


def made(model: Any, method: str, body: Any, *, exact: bool = True) -> Made:
    return Made(str(model.tag), method, body, exact)


def sklearn() -> Iterator[Made]:
    """Two versions: one with everything that a record can hold, one with nothing."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows = np.array(ROWS)
    batchable = {"batchable": True, "batch_dim": 0}
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(rows, [0, 1, 2, 1])
    yield made(
        vtsserving.sklearn.save_model(
            "iris",
            tree,
            signatures={"predict": batchable, "predict_proba": batchable},
            labels={"team": "risk", "stage": "prod"},
            metadata={
                "accuracy": 0.9375,
                "trained": datetime.datetime(2026, 11, 29, 12, 30, tzinfo=datetime.timezone.utc),
                "columns": ["a", "b", "c", "d"],
                "note": "größer als ŝ",
            },
            options={"max_batch_size": 32, "method_configs": {"predict_proba": {"max_batch_size": 4}}},
            input_example=rows,
            description="A tree of two levels.",
        ),
        "predict",
        ROWS,
    )
    plain = DecisionTreeRegressor(max_depth=2, random_state=0).fit(rows, [1.0, 2.5, 4.0, 8.0])
    yield made(vtsserving.sklearn.save_model("iris:second", plain), "predict", ROWS)


def picklable_model() -> Iterator[Made]:
    """Functions by value and by reference, and one that is batched along its second axis."""
    save = vtsserving.picklable_model.save_model
    batchable = {"__call__": {"batchable": True}}
    yield made(
        save(
            "taxed",
            taxed,
            signatures=batchable,
            custom_objects={"rule": Rule(3), "Rates/É": {"de": 19, "fr": 20}},
            external_modules=[HERE],
        ),
        "__call__",
        ROWS,
    )
    sums = functools.partial(np.cumsum, axis=0)
    columns = {"__call__": {"batchable": True, "batch_dim": 1}}
    yield made(save("columns", sums, signatures=columns, input_example=np.array(ROWS).T), "__call__", ROWS)
    with_plain = {"plain": ["text", 1, None]}
    twice = functools.partial(operator.mul, 2)
    yield made(save("twice", twice, custom_objects=with_plain), "__call__", {"args": [21]})


def files() -> Iterator[Made]:
    """Files that no framework module wrote."""
    with vtsserving.models.create("files", labels={"kind": "files"}) as new:
        new.path_of("sub").mkdir()
        new.path_of("weights.bin").write_bytes(bytes(range(256)))
        new.path_of("sub/words.txt").write_text("one\ntwo\n")
    assert new.model is not None
    yield made(new.model, "", None)


def xgboost() -> Iterator[Made]:
    """A Booster that knows its columns' names."""
    import xgboost

    table = xgboost.DMatrix(np.array(ROWS), [1.0, 2.0, 4.0, 8.0], feature_names=["a", "b", "c", "d"])
    parameters = {"max_depth": 2, "base_score": 0.5, "seed": 0, "nthread": 1}
    booster = xgboost.train(parameters, table, 3)
    yield made(vtsserving.xgboost.save_model("xgb", booster, input_example=np.array(ROWS)), "predict", ROWS)


def lightgbm() -> Iterator[Made]:
    """A Booster."""
    import lightgbm

    rows = np.array(ROWS * 4)
    parameters = {"verbosity": -1, "num_leaves": 4, "min_data_in_leaf": 1, "num_threads": 1, "seed": 0}
    target = np.array([1.0, 2.0, 4.0, 8.0] * 4)
    booster = lightgbm.train(parameters, lightgbm.Dataset(rows, target), 3)
    yield made(vtsserving.lightgbm.save_model("lgb", booster), "predict", ROWS)


def catboost() -> Iterator[Made]:
    """A regressor."""
    from catboost import CatBoostRegressor

    model = CatBoostRegressor(
        iterations=3, depth=2, verbose=False, allow_writing_files=False, random_seed=0, thread_count=1
    )
    model.fit(np.array(ROWS), [1.0, 2.0, 4.0, 8.0])
    yield made(vtsserving.catboost.save_model("cat", model), "predict", ROWS)


def onnx() -> Iterator[Made]:
    """A product of matrices."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "W"], ["Y"])],
        "linear",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(4, 2), "W")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    signatures = {"run": {"batchable": True}}
    yield made(vtsserving.onnx.save_model("linear-onnx", model, signatures=signatures), "run", ROWS)


def _layers() -> Any:
    import torch

    layers = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.ReLU())
    with torch.no_grad():
        layers[0].weight.copy_(torch.tensor([[1.0, -0.5, 2.0, 0.25], [0.0, 1.0, -1.0, 4.0]]))
        layers[0].bias.copy_(torch.tensor([0.5, -2.0]))
    return layers.eval()


def pytorch() -> Iterator[Made]:
    """A module of torch's own layers, read as data, and one of a class that is carried by value."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _layers()

        def forward(self, rows: Any) -> Any:
            return self.layers(rows) * 2

    save = functools.partial(
        vtsserving.pytorch.save_model, signatures={"__call__": {"batchable": True}}, external_modules=[HERE]
    )
    example = np.array(ROWS, dtype=np.float32)
    yield made(save("layers", _layers(), input_example=example), "__call__", ROWS)
    yield made(save("net", Net()), "__call__", ROWS)


def torchscript() -> Iterator[Made]:
    """A traced module."""
    import torch

    traced = torch.jit.trace(_layers(), torch.zeros(2, 4))
    yield made(vtsserving.torchscript.save_model("script", traced), "__call__", ROWS)


def pytorch_lightning() -> Iterator[Made]:
    """A LightningModule of a class that is carried by value."""
    import pytorch_lightning

    class Net(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _layers()

        def forward(self, rows: Any) -> Any:
            return self.layers(rows) + 1

    model = vtsserving.pytorch_lightning.save_model("lightning", Net(), external_modules=[HERE])
    yield made(model, "__call__", ROWS)


def transformers(folder: Path) -> Iterator[Made]:
    """A pipeline around a tiny model with random weights."""
    import torch
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertTokenizerFast,
        TextClassificationPipeline,
    )

    torch.manual_seed(7)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "very"]
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(words))
    tokenizer = BertTokenizerFast(vocab_file=str(vocabulary), vocab=str(vocabulary), model_max_length=16)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
    )
    model = BertForSequenceClassification(config).eval()
    pipeline = TextClassificationPipeline(model=model, tokenizer=tokenizer, device="cpu")
    saved = vtsserving.transformers.save_model("words", pipeline)
    yield made(saved, "__call__", {"args": ["very good"]}, exact=False)


LIGHT: tuple[Callable[[], Iterator[Made]], ...] = (sklearn, picklable_model, files)
HEAVY: tuple[Callable[[], Iterator[Made]], ...] = (
    xgboost, lightgbm, catboost, onnx, pytorch, torchscript, pytorch_lightning,
)  # fmt: skip
