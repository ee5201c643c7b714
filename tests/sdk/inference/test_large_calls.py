"""Calls with more rows than a batch: cut where results follow rows, and sent whole where they do not."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from support.calling import Call, Caller, SilentBatcher, caller_on, entry
from support.virtual_loop import run
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_record import write_contracts
from vtsserving._wire import frames
from vtsserving._wire.rows import whole_array
from vtsserving._wire.values import encode_value

pytestmark = pytest.mark.fast


def of_contract(**described: Any) -> CatalogEntry:
    """A model whose batches have at most 4 rows."""
    known = entry(max_rows=4)
    contracts = {
        "predict": MethodContract.declared("predict", {"batchable": True, **described}),
        "single": MethodContract(),
    }
    return dataclasses.replace(known, contract_record=write_contracts(contracts)["contract"])


def rows_of(batcher: SilentBatcher, start: int = 0) -> list[int]:
    return [count for request, _ in batcher.requests[start:] for count in request.rows]


def headless(request: frames.Request) -> dict[str, Any]:
    """What answers a request with its own rows, of which nobody says that they are rows."""
    count = request.rows[0]
    array = np.frombuffer(request.bodies[0]).reshape(count, -1)
    return {"head": b"", "bodies": [encode_value(array)]}


def unseen(request: frames.Request) -> dict[str, Any]:
    count = request.rows[0]
    head, body = whole_array(np.frombuffer(request.bodies[0]).reshape(count, -1))
    return {"head": head, "bodies": [body]}


async def asked(caller: Caller, model: CatalogEntry, rows: int = 11) -> Call:
    call = caller.submit(model=model, rows=rows)
    await asyncio.sleep(0)
    return call


Scenario = Callable[[SilentBatcher, Caller], Any]


def with_batcher(scenario: Scenario) -> None:
    async def main() -> None:
        bus = InProcessBus()
        caller = await caller_on(bus)
        await scenario(await SilentBatcher(bus).start(), caller)

    run(main())


def test_the_first_rows_go_ahead_and_the_rest_follows_where_results_follow_rows() -> None:
    async def scenario(batcher: SilentBatcher, caller: Caller) -> None:
        model = of_contract()
        call = await asked(caller, model)
        assert rows_of(batcher) == [4]
        for _ in range(2):
            for request, reply in batcher.requests[len(batcher.requests) - 1 :]:
                batcher.answer(request, reply)
            await asyncio.sleep(0)
        assert rows_of(batcher) == [4, 4, 3]
        batcher.answer(*batcher.requests[-1])
        for request, reply in batcher.requests[1:]:
            batcher.answer(request, reply)
        await asyncio.sleep(0)
        assert call.codes == [""]
        batcher.requests.clear()
        await asked(caller, model)
        assert sorted(rows_of(batcher)) == [3, 4, 4], "what was seen once is known"

    with_batcher(scenario)


@pytest.mark.parametrize("answer", [headless, unseen])
def test_the_whole_call_goes_at_once_where_they_do_not(answer: Any) -> None:
    async def scenario(batcher: SilentBatcher, caller: Caller) -> None:
        model = of_contract()
        call = await asked(caller, model)
        (request, reply) = batcher.requests[0]
        batcher.answer(request, reply, **answer(request))
        await asyncio.sleep(0)
        assert rows_of(batcher) == [4, 11]
        (request, reply) = batcher.requests[1]
        batcher.answer(request, reply, **answer(request))
        await asyncio.sleep(0)
        assert call.codes == [""]
        assert call.outcomes[0].value().shape == (11, 1)
        batcher.requests.clear()
        await asked(caller, model)
        assert rows_of(batcher) == [11], "what was seen once is known"

    with_batcher(scenario)


def test_first_rows_that_fail_in_the_model_are_not_the_end() -> None:
    async def scenario(batcher: SilentBatcher, caller: Caller) -> None:
        call = await asked(caller, of_contract())
        batcher.fail(batcher.requests[0][1], "model_failed", *batcher.requests[0][0].ids)
        await asyncio.sleep(0)
        assert (rows_of(batcher), call.codes) == ([4, 11], [])
        batcher.fail(batcher.requests[1][1], "model_failed", *batcher.requests[1][0].ids)
        await asyncio.sleep(0)
        assert call.codes == ["model_failed"]

    with_batcher(scenario)


@pytest.mark.parametrize(
    ("described", "sent"),
    [
        ({"result": {"axis": 0}}, [3, 4, 4]),
        ({"result": [{"axis": 0}, {"same": True}]}, [3, 4, 4]),
        ({"result": {"axis": 0, "ordered": False}}, [11]),
    ],
)
def test_a_contract_that_describes_the_result_needs_no_trial(described: Any, sent: list[int]) -> None:
    async def scenario(batcher: SilentBatcher, caller: Caller) -> None:
        await asked(caller, of_contract(**described))
        assert sorted(rows_of(batcher)) == sent

    with_batcher(scenario)


def test_a_limit_of_one_row_is_tried_with_two() -> None:
    async def scenario(batcher: SilentBatcher, caller: Caller) -> None:
        model = dataclasses.replace(of_contract(), options=entry(max_rows=1).options)
        await asked(caller, model, rows=4)
        assert rows_of(batcher) == [2]
        batcher.answer(*batcher.requests[0])
        await asyncio.sleep(0)
        assert rows_of(batcher) == [2, 1, 1]

    with_batcher(scenario)


def test_a_call_within_the_limit_is_neither_tried_nor_cut() -> None:
    async def scenario(batcher: SilentBatcher, caller: Caller) -> None:
        call = await asked(caller, of_contract(), rows=4)
        (request, reply) = batcher.requests[0]
        batcher.answer(request, reply, **headless(request))
        await asyncio.sleep(0)
        assert (rows_of(batcher), call.codes) == ([4], [""])

    with_batcher(scenario)
