"""Services over real HTTP: the specification's example, contexts, errors, mounts, and calls that share a batch."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

import vtsserving
from support.cluster import save_model
from vtsserving.exceptions import InvalidArgument, MissingDependency, NotFound
from vtsserving.io import JSON, File, Multipart, NumpyNdarray, PandasDataFrame, Text
from vtsserving.service.context import Context
from vtsserving_embedded.app import EmbeddedApp

Scenario = Callable[[httpx2.AsyncClient], Awaitable[None]]
Serve = Callable[[vtsserving.Service, Scenario], None]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> vtsserving.Runner:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path))
    monkeypatch.setenv("VTSSERVING_GATEWAY__GRACE_S", "0")
    return vtsserving.sklearn.get(save_model("linear")).to_runner()


class PassThrough:
    """A middleware that changes nothing: with one, functions are called by way of ASGI."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(params=["direct", "by way of ASGI"])
def serve(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Runs a scenario against a service, embedded, on a port of its own."""
    monkeypatch.setenv("VTSSERVING_GATEWAY__GRACE_S", "0")

    def run(svc: vtsserving.Service, scenario: Scenario) -> None:
        if request.param != "direct":
            svc.add_asgi_middleware(PassThrough)
        asyncio.run(serve_once(svc, scenario))

    return run


async def serve_once(svc: vtsserving.Service, scenario: Scenario) -> None:
    app = EmbeddedApp([], port=0, service=svc)
    try:
        await app.start()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{app.port}", trust_env=False) as client:
            await scenario(client)
        await app.drain()
    finally:
        await app.close()


def test_the_function_answers_at_its_name(serve: Serve, runner: vtsserving.Runner) -> None:
    svc = vtsserving.Service("classifier", runners=[runner])

    @svc.api(input=NumpyNdarray(), output=NumpyNdarray())
    def classify(input_series: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        result: np.ndarray[Any, Any] = runner.predict.run(input_series)
        return result

    async def scenario(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/classify", json=[[1.0, 0.0, 0.0, 2.0]])
        assert (answer.status_code, answer.json()) == (200, [2.0])
        assert answer.headers["x-request-id"]
        assert (await client.get("/classify")).status_code == 405
        document = (await client.get("/openapi.json")).json()
        assert document["paths"]["/classify"]["post"]["tags"] == ["classifier"]

    serve(svc, scenario)


def test_calls_of_several_requests_share_a_batch(serve: Serve, runner: vtsserving.Runner) -> None:
    svc = vtsserving.Service("batched", runners=[runner])

    @svc.api(input=NumpyNdarray(), output=JSON())
    async def both(rows: Any) -> Any:
        first, second = await asyncio.gather(
            runner.predict.async_run(rows), runner.predict.async_run(rows * 2)
        )
        return [first, second]

    async def scenario(client: httpx2.AsyncClient) -> None:
        answers = await asyncio.gather(
            *(client.post("/both", json=[[float(i), 0.0, 0.0, 0.0]]) for i in range(64))
        )
        assert [answer.json() for answer in answers] == [[[float(i)], [2.0 * i]] for i in range(64)]
        metrics = (await client.get("/metrics")).text
        assert "vtsserving" in metrics

    serve(svc, scenario)


def test_the_context_reads_the_request_and_shapes_the_response(serve: Serve) -> None:
    svc = vtsserving.Service("ctx")

    @svc.api(input=Text(), output=JSON(), route="/v9/echo")
    def echo(text: str, ctx: Context) -> Any:
        ctx.response.status_code = 201
        ctx.response.headers["x-seen"] = ctx.request.headers["x-mine"]
        ctx.response.set_cookie("session", "1", max_age_s=60, http_only=True)
        return {"text": text, "query": dict(ctx.request.query), "cookies": dict(ctx.request.cookies)}

    async def scenario(client: httpx2.AsyncClient) -> None:
        answer = await client.post("/v9/echo?a=1", content="hi", headers={"x-mine": "yes", "cookie": "k=v"})
        assert answer.status_code == 201
        assert answer.headers["x-seen"] == "yes"
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert answer.json() == {"text": "hi", "query": {"a": "1"}, "cookies": {"k": "v"}}

    serve(svc, scenario)


def test_a_service_that_could_only_fail_at_each_call_does_not_start(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    svc = vtsserving.Service("tables")

    @svc.api(input=PandasDataFrame(), output=JSON())
    def count(table: Any) -> int:
        return len(table)

    async def scenario(client: httpx2.AsyncClient) -> None:
        raise AssertionError("it started")

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependency, match=r"pip install 'vtsserving\[pandas\]'"):
        serve(svc, scenario)


def test_errors_have_their_status_and_say_nothing_of_the_inside(serve: Serve) -> None:
    svc = vtsserving.Service("errors")

    @svc.api(input=JSON(), output=JSON())
    def fail(kind: str) -> Any:
        if kind == "own":
            raise NotFound("no such flower")
        if kind == "hang":
            raise AssertionError("never reached")
        raise RuntimeError("the password is 1234")

    @svc.api(input=JSON(), output=JSON())
    async def slow(_: Any) -> Any:
        await asyncio.Event().wait()

    async def scenario(client: httpx2.AsyncClient) -> None:
        own = await client.post("/fail", json="own")
        assert (own.status_code, own.json()["error"]["code"]) == (404, "not_found")
        broken = await client.post("/fail", json="other")
        assert broken.status_code == 500
        assert "1234" not in broken.text
        assert broken.json()["error"]["request_id"] == broken.headers["x-request-id"]
        bad = await client.post("/fail", content=b"{")
        assert (bad.status_code, bad.json()["error"]["code"]) == (400, "bad_json")
        late = await client.post("/slow", json=1, headers={"x-request-timeout": "0.05"})
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        assert (await client.post("/slow", json=1, headers={"x-request-timeout": "no"})).status_code == 400

    serve(svc, scenario)


def test_whatever_a_function_raises_ends_only_its_own_request(serve: Serve) -> None:
    svc = vtsserving.Service("exits")

    @svc.api(input=JSON(), output=JSON())
    def leave(_: Any) -> Any:
        raise SystemExit(3)

    @svc.api(input=JSON(), output=JSON())
    def header(value: str, ctx: Context) -> Any:
        ctx.response.headers["x-mine"] = value
        return value

    @svc.api(input=JSON(), output=JSON())
    def status(value: int, context: Context) -> Any:
        context.response.status_code = value
        return value

    async def scenario(client: httpx2.AsyncClient) -> None:
        for _ in range(3):
            answer = await client.post("/leave", json=1)
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
        assert (await client.post("/header", json="fine")).headers["x-mine"] == "fine"
        split = await client.post("/header", json="a\r\nx-other: b")
        assert (split.status_code, split.headers.get("x-other")) == (500, None)
        empty = await client.post("/status", json=204)
        assert (empty.status_code, empty.content) == (204, b"")
        assert (await client.post("/status", json=418)).json() == 418

    serve(svc, scenario)


def test_a_sync_function_that_hangs_costs_its_own_thread_alone(serve: Serve) -> None:
    svc = vtsserving.Service("threads")
    release = threading.Event()

    @svc.api(input=JSON(), output=JSON())
    def hang(value: Any) -> Any:
        release.wait(30)
        return value

    @svc.api(input=JSON(), output=JSON())
    def quick(value: Any) -> Any:
        return value

    async def scenario(client: httpx2.AsyncClient) -> None:
        hanging = asyncio.ensure_future(client.post("/hang", json=1, headers={"x-request-timeout": "0.2"}))
        answers = await asyncio.gather(*(client.post("/quick", json=number) for number in range(50)))
        assert [answer.json() for answer in answers] == list(range(50))
        assert (await hanging).json()["error"]["code"] == "deadline_exceeded"
        release.set()
        assert (await client.post("/hang", json=2)).json() == 2

    serve(svc, scenario)


def test_limits_of_all_routes_hold_for_functions(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_GATEWAY__MAX_BODY_BYTES", "1000")
    svc = vtsserving.Service("limits")

    @svc.api(input=File(kind="bytes"), output=JSON())
    async def size(data: bytes) -> Any:
        return len(data)

    async def scenario(client: httpx2.AsyncClient) -> None:
        assert (await client.post("/size", content=b"x" * 1000)).json() == 1000
        large = await client.post("/size", content=b"x" * 1001)
        assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"x" * 100

        assert (await client.post("/size", content=chunks())).json() == 1000
        expecting = await client.post("/size", content=b"abc", headers={"expect": "100-continue"})
        assert expecting.json() == 3
        metrics = (await client.get("/metrics")).text
        counted = [line for line in metrics.splitlines() if 'route="/size"' in line and "_count" in line]
        assert sum(float(line.split()[-1]) for line in counted) >= 3, counted

    serve(svc, scenario)


def test_a_request_under_way_is_answered_while_the_server_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_GATEWAY__GRACE_S", "0")
    svc = vtsserving.Service("draining")
    begun, release = threading.Event(), threading.Event()

    @svc.api(input=None, output=JSON())
    def slow() -> Any:
        begun.set()
        release.wait(30)
        return "done"

    async def scenario() -> None:
        app = EmbeddedApp([], port=0, service=svc)
        await app.start()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{app.port}", trust_env=False) as client:
            asked = asyncio.ensure_future(client.post("/slow"))
            await asyncio.to_thread(begun.wait, 30)
            draining = asyncio.ensure_future(app.drain())
            await asyncio.sleep(0)
            release.set()
            answer = await asked
            assert answer.json() == "done"
            assert answer.headers["connection"] == "close"
            await draining
        await app.close()

    asyncio.run(scenario())


def test_multipart_inputs_are_keyword_arguments(serve: Serve) -> None:
    svc = vtsserving.Service("parts")

    @svc.api(input=Multipart(rows=NumpyNdarray(), note=Text()), output=JSON())
    def combine(rows: Any, note: str) -> Any:
        return {"sum": float(rows.sum()), "note": note}

    async def scenario(client: httpx2.AsyncClient) -> None:
        files = {"rows": ("", b"[1, 2]", "application/json"), "note": ("", b"hello", "text/plain")}
        answer = await client.post("/combine", files=files)
        assert answer.json() == {"sum": 3.0, "note": "hello"}

    serve(svc, scenario)


def test_mounts_middlewares_and_hooks_take_part(serve: Serve) -> None:
    svc = vtsserving.Service("mounted")
    seen: list[str] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
        )
        await send({"type": "http.response.body", "body": b"asgi " + scope["path"].encode()})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("content-type", "text/plain")])
        return [b"wsgi"]

    class Marking:
        def __init__(self, app: Any, word: str) -> None:
            self.app, self.word = app, word

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def marked(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-marked", self.word.encode())]
                await send(message)

            await self.app(scope, receive, marked)

    svc.mount_asgi_app(asgi, "/asgi")
    svc.mount_wsgi_app(wsgi, "/wsgi")
    svc.add_asgi_middleware(Marking, word="yes")
    svc.api(input=Text(), output=Text(), name="say")(lambda value: value)
    svc.on_startup(lambda: seen.append("up"))

    @svc.on_shutdown
    async def down() -> None:
        seen.append("down")

    async def scenario(client: httpx2.AsyncClient) -> None:
        assert seen == ["up"]
        answer = await client.get("/asgi/x")
        assert answer.text.startswith("asgi ")
        assert answer.headers["x-marked"] == "yes"
        assert (await client.get("/asgi")).text == (await client.get("/asgi/")).text == "asgi /asgi/"
        assert (await client.get("/asgian")).status_code == 404
        said = await client.post("/say", content="hi", headers={"content-encoding": "identity"})
        assert (said.status_code, said.text, said.headers["x-marked"]) == (200, "hi", "yes")
        packed = await client.post("/say", content="hi", headers={"content-encoding": "gzip"})
        assert (packed.status_code, packed.json()["error"]["code"]) == (415, "unsupported_media_type")
        assert (await client.get("/wsgi/")).text == "wsgi"
        assert (await client.get("/livez")).status_code == 200
        missing = await client.get("/nothing")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")

    serve(svc, scenario)
    assert seen == ["up", "down"]


def test_run_on_the_event_loop_says_what_to_do_instead(serve: Serve, runner: vtsserving.Runner) -> None:
    svc = vtsserving.Service("blocking", runners=[runner])
    said: list[str] = []

    @svc.api(input=JSON(), output=JSON())
    async def wrong(value: Any) -> Any:
        try:
            return runner.predict.run(value)
        except InvalidArgument as error:
            said.append(error.message)
            return None

    async def scenario(client: httpx2.AsyncClient) -> None:
        await client.post("/wrong", json=[[1, 2, 3, 4]])
        assert "async_run" in said[0]

    serve(svc, scenario)


@pytest.mark.parametrize("route", ["/v1/x", "/metrics", "docs", "/a b", "/../x", "/x?y"])
def test_reserved_and_impossible_routes_are_refused(route: str) -> None:
    svc = vtsserving.Service("routes")
    with pytest.raises(InvalidArgument):
        svc.api(input=JSON(), output=JSON(), route=route)(lambda value: value)


def test_functions_that_cannot_take_their_input_are_refused() -> None:
    svc = vtsserving.Service("functions")
    with pytest.raises(InvalidArgument, match="one argument"):
        svc.api(input=JSON(), output=JSON(), name="two")(lambda one, two: one)
    with pytest.raises(InvalidArgument, match="Multipart"):
        svc.api(input=Multipart(a=JSON()), output=JSON(), name="part")(lambda b: b)
    svc.api(input=JSON(), output=JSON(), name="same")(lambda value: value)
    with pytest.raises(InvalidArgument, match="already"):
        svc.api(input=JSON(), output=JSON(), name="same")(lambda value: value)
    assert json.dumps(list(svc.apis)) == '["same"]'


def test_limits_and_processes_of_a_runner_hold_in_its_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path))
    monkeypatch.setenv("VTSSERVING_GATEWAY__GRACE_S", "0")

    class Slow:
        def predict(self, x: Any) -> Any:
            import os
            import time

            time.sleep(float(x[0, 0]))
            return np.full((len(x), 1), os.getpid())

    model = vtsserving.picklable_model.save_model(
        "slow", Slow(), signatures={"predict": {"batchable": False}}
    )
    patient = model.to_runner(name="patient", options={"replicas": 2})
    quick = model.to_runner(name="quick", max_latency_ms=300)
    svc = vtsserving.Service("limited", runners=[patient, quick])

    @svc.api(input=NumpyNdarray(), output=NumpyNdarray())
    async def wait(seconds: Any) -> Any:
        return await patient.predict.async_run(seconds)

    @svc.api(input=NumpyNdarray(), output=NumpyNdarray())
    async def hurry(seconds: Any) -> Any:
        return await quick.predict.async_run(seconds)

    async def scenario(client: httpx2.AsyncClient) -> None:
        seen: set[float] = set()
        for _ in range(100):
            answers = await asyncio.gather(*(client.post("/wait", json=[[0.05]]) for _ in range(4)))
            seen.update(answer.json()[0][0] for answer in answers)
            if len(seen) == 2:
                break
        assert len(seen) == 2, "as many processes as the runner asked for"
        late = await client.post("/hurry", json=[[1.0]])
        assert (late.status_code, late.json()["error"]["code"]) == (503, "overloaded")
        assert int(late.headers["retry-after"]) >= 1
        assert "max_latency_ms" in late.json()["error"]["message"]
        assert (await client.post("/wait", json=[[1.0]])).status_code == 200

    asyncio.run(serve_once(svc, scenario))
