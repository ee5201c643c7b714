"""The floor: what a bare FastAPI endpoint with the model in its process does, without batching.

It is the program most people would write first, on the same server (uvicorn, uvloop, httptools), and does the same
work: JSON in, `predict`, JSON out. usage: python -m benchmarks.floor PORT
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import vtsserving

app = FastAPI()
model: Any = vtsserving.sklearn.load_model("iris_clf:latest")


@app.get("/readyz")
async def ready() -> str:
    """Say that the model is loaded."""
    return "ok"


@app.post("/predict")
async def predict(request: Request) -> JSONResponse:
    """Predict the rows of one request."""
    rows = np.asarray(await request.json(), dtype=np.float64)
    return JSONResponse(model.predict(rows).tolist())


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
