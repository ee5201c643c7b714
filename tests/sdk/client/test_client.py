"""The HTTP client against a real gateway: values, errors, deadlines, and what names mean."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import vtsserving
from support.cluster import WEIGHTS, row_and_answer
from support.flowers import kinds
from support.served_stack import ServedStack
from vtsserving.exceptions import (
    BadInput,
    ConfigurationError,
    DeadlineExceeded,
    GatewayUnavailable,
    InvalidArgument,
    InvalidTag,
    MethodNotFound,
    ModelFailed,
    ModelNotFound,
    NotAGateway,
    NotFound,
    Overloaded,
    UnsupportedValue,
    VtsServingException,
)

ROWS = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])


@pytest.fixture
def client(stack: ServedStack) -> Iterator[vtsserving.Client]:
    with vtsserving.Client(stack.url) as client:
        yield client


def test_a_prediction_has_the_values_and_the_dtype_of_the_model(client: vtsserving.Client) -> None:
    answers = client.predict("linear:latest", ROWS)
    assert answers.dtype == np.float64
    assert answers.tolist() == pytest.approx((ROWS @ np.array(WEIGHTS)).tolist())
    answers += 1  # it belongs to the caller


def test_lists_are_taken_as_a_local_runner_takes_them(client: vtsserving.Client) -> None:
    row, answer = row_and_answer(7)
    assert client.predict("linear", [row])[0] == pytest.approx(answer)


@pytest.mark.parametrize("kind", ["float32", "bool", "text", "tuple", "bytes", "scalar", "none"])
def test_results_come_back_as_a_local_runner_gives_them(client: vtsserving.Client, kind: str) -> None:
    remote = client.model("kinds:latest").give(kind)
    local = kinds().give(kind)
    assert type(remote) is type(local)
    assert str(getattr(remote, "dtype", "")) == str(getattr(local, "dtype", ""))
    assert (remote.tolist() if hasattr(remote, "tolist") else remote) == (
        local.tolist() if hasattr(local, "tolist") else local
    )


def test_any_method_is_called_by_its_name_with_the_tag_first(client: vtsserving.Client) -> None:
    assert client.echo("kinds:latest", "x", times=2) == ["x", "x"]
    assert client.call_model("kinds:latest", "echo", [], {"value": 1, "times": 1}) == [1]


def test_functions_of_a_service_are_called_by_their_name(client: vtsserving.Client) -> None:
    answers = client.classify(ROWS)
    assert answers.dtype == np.float32
    assert answers.tolist() == pytest.approx((ROWS @ np.array(WEIGHTS)).tolist(), rel=1e-6)
    assert client.shout("grün") == "GRÜN"
    assert client.version() == "1"
    assert client.reverse(b"abc") == b"cba"


def test_each_part_of_several_inputs_keeps_its_dtype(client: vtsserving.Client) -> None:
    given = client.combine(rows=np.ones(3, np.int16), note="a\r\nb")
    assert given == {"dtype": "int16", "sum": 3.0, "note": "a\r\nb"}


def test_tables_go_and_come_with_every_digit(client: vtsserving.Client) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [1 / 3, 1e-300]}, index=["x", "y"])
    pd.testing.assert_frame_equal(client.double(frame), frame * 2)


def test_errors_are_those_of_the_tree_with_the_request_id(client: vtsserving.Client) -> None:
    with pytest.raises(NotFound, match="no such flower") as caught:
        client.fail("own")
    assert caught.value.request_id
    with pytest.raises(VtsServingException) as broken:
        client.fail("other")
    assert "secret" not in broken.value.message
    with pytest.raises(ModelNotFound):
        client.predict("nothing:latest", ROWS)
    with pytest.raises(ModelFailed, match="on purpose"):
        client.call_model("kinds:latest", "fail", ["on purpose"])
    with pytest.raises(MethodNotFound):
        client.predict("kinds:latest", ROWS)
    with pytest.raises(BadInput):
        client.predict("linear:latest", [[1.0]])


def test_what_cannot_be_sent_is_said_before_anything_is_sent() -> None:
    client = vtsserving.Client("http://127.0.0.1:9", retries=0)
    with pytest.raises(UnsupportedValue):
        client.predict("linear:latest", object())
    with pytest.raises(InvalidTag):
        client.predict(ROWS, ROWS)
    with pytest.raises(InvalidArgument, match="timeout"):
        client.predict("linear:latest", ROWS, timeout=0)


def test_wrong_arguments_of_functions_name_the_right_ones(client: vtsserving.Client) -> None:
    with pytest.raises(MethodNotFound, match="classify"):
        client.clasify(ROWS)
    with pytest.raises(InvalidArgument, match="rows, note"):
        client.combine(rows=ROWS)
    with pytest.raises(InvalidArgument, match="no input"):
        client.call_function("version", [1])
    with pytest.raises(InvalidArgument, match="shout"):
        client.shout(3)


def test_a_deadline_ends_the_call_and_is_known_to_the_gateway(client: vtsserving.Client) -> None:
    began_s = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        client.never(1, timeout=2)
    assert caught.value.request_id, "the client gave up before the gateway did"
    assert 2 <= time.monotonic() - began_s < 10


def test_a_busy_service_function_is_repeated_only_where_it_may_run_twice(client: vtsserving.Client) -> None:
    refusals = client.count() + 2
    with pytest.raises(Overloaded):
        client.busy(refusals)
    assert client.call_function("busy", [refusals], idempotent=True) == refusals + 1


@pytest.mark.alone
def test_a_pause_that_would_pass_the_deadline_is_not_made(client: vtsserving.Client) -> None:
    began_s = time.monotonic()
    with pytest.raises(Overloaded):
        client.call_function("busy", [1_000_000], idempotent=True, timeout=0.9)
    assert time.monotonic() - began_s < 0.9


def test_models_are_listed_and_described(client: vtsserving.Client) -> None:
    assert {model["name"] for model in client.models()} == {"linear", "kinds"}
    assert client.model("linear").describe()["signatures"]["predict"]["batchable"] is True


def test_one_client_serves_many_threads(client: vtsserving.Client) -> None:
    wrong: list[int] = []

    def run(start: int) -> None:
        for number in range(start, start + 25):
            row, answer = row_and_answer(number)
            if client.predict("linear:latest", [row])[0] != pytest.approx(answer):
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(start,)) for start in range(0, 400, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_asynchronous_client_says_the_same(stack: ServedStack) -> None:
    async def scenario() -> None:
        async with vtsserving.AsyncClient(stack.url) as client:
            await client.wait_until_ready()
            rows, answers = zip(*map(row_and_answer, range(64)), strict=True)
            results = await asyncio.gather(*(client.predict("linear:latest", [row]) for row in rows))
            assert [result[0] for result in results] == pytest.approx(answers)
            assert (await client.classify(ROWS)).dtype == np.float32
            assert await client.model("kinds:latest").echo(1) == [1]
            assert len(await client.models()) == 2
            with pytest.raises(NotFound, match="no such flower"):
                await client.fail("own")

    asyncio.run(scenario())


def test_nothing_at_the_address_is_said_with_the_address() -> None:
    with vtsserving.Client("http://127.0.0.1:9", retries=1) as client:
        with pytest.raises(GatewayUnavailable, match=r"http://127.0.0.1:9 .*is the gateway running"):
            client.predict("linear:latest", ROWS)
        with pytest.raises(GatewayUnavailable):
            client.wait_until_ready(timeout=0.3)


def test_something_else_at_the_address_is_no_gateway(stack: ServedStack) -> None:
    with vtsserving.Client(f"{stack.url}/v2/models", retries=0) as client, pytest.raises(NotAGateway):
        client.predict("linear:latest", ROWS)


def test_the_address_and_the_token_come_from_the_environment(
    stack: ServedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_URL", stack.url)
    monkeypatch.setenv("VTSSERVING_STORE_TOKEN", "store")
    with vtsserving.Client() as client:
        client.wait_until_ready()
        assert client._http.headers["authorization"] == "Bearer store"
    monkeypatch.setenv("VTSSERVING_TOKEN", "own")
    assert vtsserving.Client()._http.headers["authorization"] == "Bearer own"
    assert "authorization" not in vtsserving.Client(token="")._http.headers
    monkeypatch.setenv("VTSSERVING_URL", "not an address")
    with pytest.raises(ConfigurationError, match="looks like http://"):
        vtsserving.Client()
