"""One row for each framework module: a small model, an input, and what must come out.

A new framework joins the contract suite with a function here and a line in CASES. Frameworks are imported inside the
functions, so that a row costs nothing where its framework is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from support.sdk import iris_classifier, iris_rows


@dataclass(frozen=True)
class Case:
    """A model and one call of it.

    Attributes:
        model: what is passed to `save_model`.
        method: the default signature.
        args: arguments of the call, as a client sends them.
        expected: what the model gives for them, computed without saving it.
        runs_code: whether loading it runs its author's code.
        wrong: an object that `save_model` must refuse; None where any object is fine.
    """

    model: Any
    method: str
    args: tuple[Any, ...]
    expected: Any
    runs_code: bool
    wrong: Any = Path()


def add_one(rows: Any) -> Any:
    return np.asarray(rows) + 1


def picklable_model(_: Path) -> Case:
    rows = iris_rows()[:5]
    return Case(add_one, "__call__", (rows,), rows + 1, runs_code=True, wrong=None)


def sklearn(_: Path) -> Case:
    model, rows = iris_classifier(), iris_rows()[::10]
    return Case(model, "predict", (rows,), model.predict(rows), runs_code=True)


def xgboost_classifier(_: Path) -> Case:
    import xgboost

    rows, target = iris_rows(), np.repeat([0, 1, 2], 50)
    model = xgboost.XGBClassifier(n_estimators=5, max_depth=3).fit(rows, target)
    return Case(model, "predict", (rows,), model.predict(rows), runs_code=False)


def xgboost_booster(_: Path) -> Case:
    import xgboost

    rows, target = iris_rows(), np.repeat([0.0, 1.0, 2.0], 50)
    names = ["a", "b", "c", "d"]
    model = xgboost.train({"max_depth": 3}, xgboost.DMatrix(rows, target, feature_names=names), 5)
    expected = model.predict(xgboost.DMatrix(rows, feature_names=names))
    return Case(model, "predict", (rows,), expected, runs_code=False)


def lightgbm_booster(_: Path) -> Case:
    import lightgbm

    rows, target = iris_rows(), np.repeat([0.0, 1.0, 2.0], 50)
    model = lightgbm.train({"verbosity": -1, "num_leaves": 4}, lightgbm.Dataset(rows, target), 5)
    return Case(model, "predict", (rows,), model.predict(rows), runs_code=False)


def lightgbm_classifier(_: Path) -> Case:
    import lightgbm

    rows, target = iris_rows(), np.repeat([0, 1, 2], 50)
    model = lightgbm.LGBMClassifier(n_estimators=5, num_leaves=4, verbosity=-1).fit(rows, target)
    return Case(model, "predict", (rows,), model.predict(rows), runs_code=True)


def catboost(_: Path) -> Case:
    from catboost import CatBoostClassifier

    rows, target = iris_rows(), np.repeat([0, 1, 2], 50)
    model = CatBoostClassifier(iterations=5, depth=2, verbose=False, allow_writing_files=False).fit(
        rows, target
    )
    return Case(model, "predict", (rows,), model.predict(rows), runs_code=False)


def onnx(_: Path) -> Case:
    from onnx import TensorProto, helper, numpy_helper

    weights = np.arange(8, dtype=np.float32).reshape(4, 2)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "W"], ["Y"])],
        "linear",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(weights, "W")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rows = iris_rows()[:7].astype(np.float32)
    return Case(model, "run", (rows,), rows @ weights, runs_code=False)


def _linear() -> Any:
    import torch

    torch.manual_seed(7)
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5), torch.nn.ReLU())


def _torch_case(model: Any, plain: Any, runs_code: bool) -> Case:
    import torch

    rows = iris_rows()[:7].astype(np.float32)
    with torch.inference_mode():
        expected = plain.eval()(torch.from_numpy(rows)).numpy()
    plain.train()
    return Case(model, "__call__", (rows,), expected, runs_code=runs_code)


def pytorch(_: Path) -> Case:
    model = _linear()
    return _torch_case(model, model, runs_code=False)


def pytorch_own_class(_: Path) -> Case:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _linear()

        def forward(self, rows: Any) -> Any:
            return self.layers(rows)

    model = Net()
    return _torch_case(model, model, runs_code=True)


def torchscript(_: Path) -> Case:
    import torch

    plain = _linear()
    example = torch.zeros(2, 4)
    return _torch_case(torch.jit.trace(plain.eval(), example), plain, runs_code=False)


def pytorch_lightning(_: Path) -> Case:
    import pytorch_lightning

    class Net(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = _linear()

        def forward(self, rows: Any) -> Any:
            return self.layers(rows)

    model = Net()
    return _torch_case(model, model, runs_code=True)


def transformers(path: Path) -> Case:
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertTokenizerFast,
        TextClassificationPipeline,
    )

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "very"]
    vocabulary = path / "vocab.txt"
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
    text = ["very good", "bad"]
    return Case(pipeline, "__call__", (text,), pipeline(text), runs_code=False)


LIGHT: dict[str, tuple[str, Callable[[Path], Case]]] = {
    "sklearn": ("sklearn", sklearn),
    "picklable_model": ("picklable_model", picklable_model),
}
"""Framework module and builder of what `make test` installs."""

HEAVY: dict[str, tuple[str, Callable[[Path], Case]]] = {
    "xgboost classifier": ("xgboost", xgboost_classifier),
    "xgboost booster": ("xgboost", xgboost_booster),
    "lightgbm booster": ("lightgbm", lightgbm_booster),
    "lightgbm classifier": ("lightgbm", lightgbm_classifier),
    "catboost": ("catboost", catboost),
    "onnx": ("onnx", onnx),
    "pytorch, torch's layers": ("pytorch", pytorch),
    "pytorch, own class": ("pytorch", pytorch_own_class),
    "torchscript": ("torchscript", torchscript),
    "pytorch_lightning": ("pytorch_lightning", pytorch_lightning),
    "transformers": ("transformers", transformers),
}
"""The same for `make test-frameworks`."""
