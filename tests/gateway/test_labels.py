"""The request id and the trace that a client gave its request go with it over the bus, where they are valid."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from typing import Any

import httpx2
import numpy as np
import pytest

import vtsserving
from support.gateway_models import GOOD
from support.served_gateway import ServedGateway, post
from support.served_stack import serving
from vtsserving.io import JSON
from vtsserving_gateway.labels import labels_of

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACE = bytes.fromhex(TRACE_ID + SPAN_ID + "01")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("traceparent", "trace"),
    [
        (f"00-{TRACE_ID}-{SPAN_ID}-01", TRACE),
        (f" 00-{TRACE_ID}-{SPAN_ID}-00\t", TRACE[:-1] + b"\0"),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01", TRACE),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01-what-comes-later", TRACE),
        (f"00-{TRACE_ID}-{SPAN_ID}-01-what-comes-later", b""),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01.what-comes-later", b""),
        (f"ff-{TRACE_ID}-{SPAN_ID}-01", b""),
        (f"00-{TRACE_ID.upper()}-{SPAN_ID}-01", b""),
        (f"00-{'0' * 32}-{SPAN_ID}-01", b""),
        (f"00-{TRACE_ID}-{'0' * 16}-01", b""),
        (f"00-{TRACE_ID}-{SPAN_ID}", b""),
        (f"00-{TRACE_ID}-{SPAN_ID}-01\n", TRACE),
        (f"00-{TRACE_ID}-{SPAN_ID}-01, 00-{TRACE_ID}-{SPAN_ID}-01", b""),
        ("", b""),
    ],
)
def test_a_trace_is_what_the_recommendation_says_it_is(traceparent: str, trace: bytes) -> None:
    labels = labels_of({b"traceparent": traceparent.encode()})
    assert (labels.trace if labels else b"") == trace


@pytest.mark.fast
@pytest.mark.parametrize("request_id", ["", "x" * 129, "a b", "caf\u00e9", "a\u0000", 'a"', "../a", "a\nb"])
def test_a_request_id_that_could_do_harm_is_none(request_id: str) -> None:
    assert labels_of({b"x-request-id": request_id.encode()}) is None


def test_valid_names_go_over_the_bus_and_others_do_not(unharmed: ServedGateway) -> None:
    seen = len(unharmed.backend.labels)
    given = {"X-Request-ID": "x" * 128, "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}
    for headers in ({}, given, {"X-Request-ID": "not valid"}, {"traceparent": f"00-{'0' * 32}-{SPAN_ID}-01"}):
        assert unharmed.ask(post(b"[[1, 2, 3, 4]]", headers=headers)).status == 200
    none, both, *invalid = unharmed.backend.labels[seen:]
    assert none is None and invalid == [None, None]
    assert both is not None
    assert (both.request_id, both.trace, both.body_kind) == ("x" * 128, TRACE, 0)
    assert unharmed.ask(GOOD).status == 200


def picky() -> object:
    """A model that raises for one value; made here, so that it is pickled with its code."""

    class Picky:
        def predict(self, x: Any) -> Any:
            if (x == 13).any():
                raise ValueError("unlucky")
            return x

    return Picky()


def picky_service() -> vtsserving.Service:
    runner = vtsserving.picklable_model.get("picky:latest").to_runner()
    service = vtsserving.Service("picky", runners=[runner])

    @service.api(input=JSON(), output=JSON(), route="later")
    async def later(value: Any) -> Any:
        return (await runner.predict.async_run(np.array([[value]]))).tolist()

    @service.api(input=JSON(), output=JSON(), route="at-once")
    def at_once(value: Any) -> Any:
        return runner.predict.run(np.array([[value]])).tolist()

    return service


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_model_process_names_the_request_that_failed(capfd: pytest.CaptureFixture[str]) -> None:
    vtsserving.picklable_model.save_model("picky", picky(), signatures={"predict": {"batchable": True}})
    paths = {
        f"order-{secrets.token_hex(4)}": path for path in ("/v1/models/picky/predict", "/later", "/at-once")
    }

    async def ask(url: str) -> None:
        async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
            for request_id, path in paths.items():
                body: Any = [[13.0]] if path.startswith("/v1") else 13.0
                answer = await client.post(path, json=body, headers={"X-Request-ID": request_id})
                assert (answer.status_code, answer.headers["x-request-id"]) == (500, request_id)
                assert (await client.post(path, json=body)).status_code == 500

    with serving(picky_service) as stack:
        asyncio.run(ask(stack.url))
    lines = [line for line in capfd.readouterr().err.splitlines() if "model_raised" in line]
    assert len(lines) == 2 * len(paths)
    named = [found for line in lines for found in re.findall(r"order-[0-9a-f]{8}", line)]
    assert named == list(paths), json.dumps(lines)
