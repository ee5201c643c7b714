"""What the gateway of most tests serves: models of every kind, as plain functions, behind small limits."""

from __future__ import annotations

import numpy as np

from support.backend import entry, rows_spec
from support.served_gateway import post
from vtsserving._model.signature import ModelSignature
from vtsserving.exceptions import ModelLoadFailed, ModelLoading, QueueFull

BATCHABLE = ModelSignature(batchable=True)

ENTRIES = [
    entry("iris", "old", input_specs=rows_spec(4)),
    entry("iris", input_specs=rows_spec(4)),
    entry("single", input_specs=rows_spec(2, "float32")),
    entry("bytes", input_specs=rows_spec(2, "uint8")),
    entry("long", input_specs=rows_spec(2, "int64")),
    entry("free"),
    entry("whole", methods={"__call__": ModelSignature()}),
    entry("many", methods={"first": BATCHABLE, "second": BATCHABLE}),
    entry("mixed", methods={"__call__": ModelSignature(), "other": ModelSignature()}),
    entry("failing", methods={name: BATCHABLE for name in ("raises", "loading", "failed", "full")}),
]


def _raise(error: Exception) -> object:
    raise error


LIMITS = {"max_body_bytes": 200_000, "max_rows": 1_000, "max_header_bytes": 8_192, "max_url_bytes": 1_024}

FUNCTIONS = {
    ("iris", "predict"): lambda X: X.sum(axis=1),
    ("single", "predict"): lambda X: X * np.float32(2),
    ("bytes", "predict"): lambda X: X,
    ("long", "predict"): lambda X: X,
    ("free", "predict"): lambda X: X,
    ("whole", "__call__"): lambda *args, **kwargs: {"args": list(args), "kwargs": kwargs},
    ("many", "first"): lambda X: X,
    ("many", "second"): lambda X: X,
    ("mixed", "__call__"): lambda *args: "called",
    ("mixed", "other"): lambda *args: "other",
    ("failing", "raises"): lambda X: _raise(ZeroDivisionError("division by zero")),
    ("failing", "loading"): lambda X: _raise(ModelLoading("the model is being loaded")),
    ("failing", "failed"): lambda X: _raise(ModelLoadFailed("no module named nothing")),
    ("failing", "full"): lambda X: _raise(QueueFull("too many wait", retry_after_s=2.5)),
}

GOOD = post(b"[[1, 2, 3, 4]]")
"""A request that every gateway with these models answers with [10.0]."""
