"""A user's project on disk: a Service with a custom Runnable that uses a module of its own and a saved model."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

import vtsserving
from vtsserving.service.importing import load_service
from vtsserving.service.service import Service

SCALES: Final = """
FACTOR = 10.0


def scaled(x, by):
    return x * by * FACTOR
"""

SERVICE: Final = """
import os

import numpy as np

import vtsserving
from project_scales import scaled
from vtsserving.io import JSON

linear = vtsserving.models.get("linear:latest")


class Scorer(vtsserving.Runnable):
    SUPPORTED_RESOURCES = ("cpu",)

    def __init__(self, by, linear):
        self.by = by
        self.linear = vtsserving.sklearn.load_model(linear)
        assert vtsserving.models.get("linear:latest").tag == linear.tag
        assert vtsserving.sklearn.get("linear:live").tag == linear.tag

    @vtsserving.Runnable.method(batchable=True)
    def score(self, x):
        return scaled(self.linear.predict(x), self.by)

    @vtsserving.Runnable.method(batchable=True, batch_dim=(1, 0), result={"axis": 0})
    def columns(self, x):
        return np.array([[x.shape[1], os.getpid()]] * x.shape[1])

    @vtsserving.Runnable.method
    def describe(self, suffix="!"):
        return {"name": f"scorer{suffix}", "threads": os.environ.get("OMP_NUM_THREADS")}


runner = vtsserving.Runner(
    Scorer,
    runnable_init_params={"by": 2.0, "linear": linear},
    models=[linear],
    max_batch_size=16,
    options={"threads": 3},
)
svc = vtsserving.Service("scoring", runners=[runner])


@svc.api(input=JSON(), output=JSON())
async def score(rows):
    return (await runner.score.async_run(np.array(rows))).tolist()


@svc.api(input=JSON(), output=JSON())
async def columns(columns):
    return (await runner.columns.async_run(np.array(columns))).tolist()


@svc.api(input=JSON(), output=JSON())
async def describe(suffix):
    return await runner.describe.async_run(suffix=suffix)
"""


class Project:
    """The folder with the files, and what is imported from it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        folder.mkdir(exist_ok=True)
        self._forget()
        self.write("project_scales.py", SCALES)
        self.write("project_service.py", SERVICE)

    @property
    def target(self) -> str:
        """The service as `vtsserving serve` takes it."""
        return f"{self.folder}/project_service.py:svc"

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        (self.folder / name).write_text(dedent(text))

    def load(self) -> Service:
        """Import the service as a fresh process would."""
        self._monkeypatch.setattr(sys, "path", [str(self.folder), *sys.path])
        self._monkeypatch.setattr(sys, "dont_write_bytecode", True)
        self._forget()
        return load_service(self.target)

    def _forget(self) -> None:
        """Nothing of it, or of another test's project, is imported."""
        for name in ("project_service", "project_scales"):
            sys.modules.pop(name, None)

    def runner(self) -> vtsserving.Runner:
        """The custom runner of a fresh import."""
        return self.load().runners[0]
