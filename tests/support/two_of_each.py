"""What tests on two gateways, batchers and runners share: a client of any model, what holds under every fault."""

from __future__ import annotations

import asyncio
import io
import json
import re
from typing import Any, Final

import httpx2
import numpy as np

from support.cluster import row_and_answer
from support.load import Report
from support.proofs import Proof
from support.runner_models import calls_of
from support.running_cluster import RunningCluster

PATIENT_S: Final = 60.0
LOAD_TIMEOUT_S: Final = 20.0
"""Deadline of the load; a model process takes seconds to start on a busy machine."""


class Caller:
    """Calls models of a cluster over HTTP."""

    def __init__(self, two: RunningCluster) -> None:
        self._folder = two.folder
        self._http = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{two.cluster.port}", timeout=2 * PATIENT_S
        )

    async def __aenter__(self) -> Caller:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()

    async def call(self, model: str, first: float, timeout_s: float = PATIENT_S) -> Any:
        """The first value, as the answer has it, or the error's code."""
        answer = await self._http.post(
            f"/v1/models/{model}/predict",
            content=json.dumps([[first, 1.0]]),
            headers={"X-Request-Timeout": str(timeout_s)},
        )
        if answer.status_code != 200:
            return answer.json()["error"]["code"]
        doubled = answer.json()[0][0]
        return None if doubled is None else doubled / 2

    async def error(self, model: str) -> dict[str, str]:
        """What a call that fails is told."""
        answer = await self._http.post(f"/v1/models/{model}/predict", content="[[1, 2]]")
        return dict(answer.json()["error"])

    async def bytes(self, count: int, first: int = 1) -> httpx2.Response:
        """The answer of the model `first` to one row of so many bytes."""
        row, body = np.zeros((1, count), np.uint8), io.BytesIO()
        row[0, 0] = first
        np.save(body, row)
        headers = {"Content-Type": "application/x-npy", "X-Request-Timeout": str(LOAD_TIMEOUT_S)}
        return await self._http.post("/v1/models/first/predict", content=body.getvalue(), headers=headers)

    async def pass_through(self) -> None:
        """Return when requests to another model, sent now, were answered: what was sent before has arrived, too."""
        row, answer = row_and_answer(1)
        for _ in range(20):
            answered = await self._http.post("/v1/models/linear/predict", content=json.dumps([row]))
            assert answered.json() == [answer]

    async def in_32(self, poison: float, at: int) -> list[Any]:
        """What 32 requests that share batches got, one of them a bad one."""
        await self.call("merging", 1.0)
        firsts = [poison if i == at else float(1_000 + i) for i in range(32)]
        answers = await asyncio.gather(*(self.call("merging", first) for first in firsts))
        assert any(len(call) > 1 and poison in call for call in calls_of(self._folder)), "nothing was merged"
        return answers


async def unroutable(two: RunningCluster) -> float:
    """How many answers of the runners found no gateway so far."""
    total = 0.0
    async with httpx2.AsyncClient() as client:
        for name in ("runner", "runner-2"):
            text = (await client.get(f"http://127.0.0.1:{two.cluster.ports[name]}/metrics")).text
            total += float(re.findall("^vtsserving_runner_replies_unroutable_total (.*)$", text, re.M)[0])
    return total


def check(report: Report) -> None:
    """What holds under every fault."""
    assert not report.of("wrong"), report
    assert not report.late, f"{report.late[:3]} {report}"


def record(proof: Proof, name: str, report: Report, **more: float) -> None:
    """Keep the counts of a report, and figures of the fault's own."""
    proof.record(
        name,
        requests=len(report.answers),
        wrong=len(report.of("wrong")),
        refused=len(report.of("refused")),
        lost=len(report.of("lost")),
        late=len(report.late),
        **more,
    )
