"""Two models and a Service with a function of each kind, for those who call them."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

import vtsserving
from support.cluster import save_model
from vtsserving.exceptions import NotFound, Overloaded
from vtsserving.io import JSON, File, Multipart, NumpyNdarray, PandasDataFrame, Text


def kinds() -> Any:
    """A model whose methods return what they are asked for; made here, so that it is saved by value."""

    class Kinds:
        def give(self, kind: str) -> Any:
            import numpy as np

            return {
                "float32": np.arange(3, dtype=np.float32),
                "bool": np.array([True, False]),
                "text": np.array(["a", "grün"]),
                "tuple": (1, [2.5, None], {"a": "b"}),
                "bytes": b"\x00\xff",
                "scalar": np.float32(1.5),
                "none": None,
            }[kind]

        def echo(self, value: Any = None, *, times: int = 1) -> Any:
            return [value] * times

        def fail(self, text: str) -> None:
            raise ValueError(text)

    return Kinds()


def save_models() -> None:
    """Save `linear` and `kinds`."""
    save_model("linear")
    methods = {name: {"batchable": False} for name in ("give", "echo", "fail")}
    vtsserving.picklable_model.save_model("kinds", kinds(), signatures=methods)


def make_service() -> vtsserving.Service:
    """A Service around `linear`."""
    runner = vtsserving.models.get("linear:latest").to_runner()
    svc = vtsserving.Service("flowers", runners=[runner])
    calls: list[int] = []

    @svc.api(input=NumpyNdarray(), output=NumpyNdarray())
    def classify(rows: Any) -> Any:
        return runner.predict.run(rows).astype(np.float32)

    @svc.api(input=Text(), output=Text())
    async def shout(text: str) -> str:
        return text.upper()

    @svc.api(input=PandasDataFrame(orient="split"), output=PandasDataFrame(orient="split"))
    def double(frame: Any) -> Any:
        return frame * 2

    @svc.api(input=Multipart(rows=NumpyNdarray(), note=Text()), output=JSON())
    def combine(rows: Any, note: str) -> Any:
        return {"dtype": str(rows.dtype), "sum": float(rows.sum()), "note": note}

    @svc.api(input=File(kind="bytes"), output=File())
    def reverse(data: bytes) -> bytes:
        return data[::-1]

    @svc.api(input=JSON(), output=JSON())
    async def never(value: Any) -> Any:
        calls.append(1)
        await asyncio.Event().wait()

    @svc.api(input=None, output=JSON())
    def count() -> Any:
        return len(calls)

    @svc.api(input=None, output=JSON())
    def version() -> Any:
        return "1"

    @svc.api(input=JSON(), output=JSON(), route="/errors/fail", name="fail")
    def fail(kind: str) -> Any:
        if kind == "own":
            raise NotFound("no such flower")
        raise RuntimeError("secret")

    @svc.api(input=JSON(), output=JSON())
    def busy(refusals: int) -> Any:
        calls.append(1)
        if len(calls) <= refusals:
            raise Overloaded("later", retry_after_s=1.0)
        return len(calls)

    return svc
