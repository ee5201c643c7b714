"""Many callers at once of methods with random contracts, and what became of each of their requests."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import httpx2

import vtsserving
from support.first_release import serving
from support.proofs import Proof

CALLERS = 50
"""Requests of one method that are sent at once."""

METHODS = 40
"""Methods of one model."""

Contract = dict[str, Any]


class Sent(NamedTuple):
    """One request, and how it ended.

    Attributes:
        contract: of the method.
        rows: of the request.
        batch_rows: of the batch that it was part of.
        status: of the answer.
        wrong: what is wrong with its answer; empty: nothing.
    """

    contract: Contract
    rows: int
    batch_rows: int
    status: int
    wrong: str


Ask = Callable[[httpx2.AsyncClient, str, int, Contract, int], Awaitable[Sent]]
"""Sends one request: client, URL of the model, number of the method, its contract, seed."""


def rows_of(rng: random.Random, contract: Contract) -> int:
    """Rows of one request; sometimes more than a batch may have."""
    return rng.choice([1, 1, 1, 2, 3, 4]) if rng.random() < 0.9 else contract["limit"] * 2 + 1


def in_process(kinds: ModuleType, i: int, contract: Contract) -> Any:
    """The method itself, without a server."""
    return getattr(kinds.Model({i: contract}), f"m{i}")


def save(kinds: ModuleType, contracts: list[Contract]) -> str:
    """Save a model that has a method for each contract.

    Args:
        kinds: the module that makes it: `Model`, `signature`, `options`.
        contracts: of its methods, `m0`, `m1`, ...
    """
    model = vtsserving.picklable_model.save_model(
        "any",
        kinds.Model(contracts),
        signatures={f"m{i}": kinds.signature(one) for i, one in enumerate(contracts)},
        options=kinds.options(contracts),
        external_modules=[kinds],
    )
    return str(model.tag)


async def ask_all(ask: Ask, url: str, contracts: list[Contract], seed: int) -> list[Sent]:
    """Send `CALLERS` requests at once to each method of a model, one method after the other."""
    found: list[Sent] = []
    limits = httpx2.Limits(max_connections=CALLERS)
    async with httpx2.AsyncClient(trust_env=False, timeout=90, limits=limits) as client:
        for i, contract in enumerate(contracts):
            calls = [ask(client, url, i, contract, seed * 1_000_003 + i * 1_009 + n) for n in range(CALLERS)]
            found += await asyncio.gather(*calls)
    return found


def ask_models(
    bus: str, tmp_path: Path, kinds: ModuleType, contracts: list[Contract], ask: Ask, seed: int
) -> list[Sent]:
    """Save models with these contracts, serve one after the other, and ask each of their methods.

    Args:
        bus: `embedded`, or `nats` for two gateways and a nats-server.
        tmp_path: for the servers.
        kinds: as for `save`.
        contracts: of all methods.
        ask: sends one request.
        seed: of the requests.
    """
    sent: list[Sent] = []
    for start in range(0, len(contracts), METHODS):
        some = contracts[start : start + METHODS]
        workers = ("--workers", "2") if bus == "nats" else ()
        with serving(tmp_path, "serve", save(kinds, some), *workers) as url:
            sent += asyncio.run(ask_all(ask, f"{url}/v1/models/any", some, seed + start))
    return sent


class Judged(NamedTuple):
    """What was seen of all requests.

    Attributes:
        merged: requests that shared a batch, of those that could.
        could: requests that may share a batch, and leave room in it for another one.
        seen: kind of contract to its requests.
    """

    merged: int
    could: int
    seen: Counter[str]


def judge(
    title: str,
    sent: list[Sent],
    may_share: Callable[[Contract], bool],
    kinds_of: Callable[[Contract], set[str]],
    proof: Proof,
) -> Judged:
    """Record what was seen, and fail unless every answer was right.

    Args:
        title: of the record.
        sent: all requests.
        may_share: whether callers of a contract may share a batch.
        kinds_of: the kinds that a contract shows.
        proof: of the test.
    """
    could = [one for one in sent if may_share(one.contract) and 2 * one.rows <= one.contract["limit"]]
    merged = sum(one.batch_rows > one.rows for one in could)
    seen = Counter(kind for one in sent for kind in kinds_of(one.contract))
    wrong = [one for one in sent if one.wrong]
    proof.record(
        title,
        contracts=len(sent) // CALLERS,
        requests=len(sent),
        wrong=len(wrong),
        answers_500=sum(one.status >= 500 for one in sent),
        merged_of_mergeable=f"{merged / max(1, len(could)):.0%}",
        fewest_of_a_kind=min(seen.values()),
        kinds=len(seen),
    )
    unlike = {str(one.contract): one.wrong for one in wrong}
    assert not wrong, "\n".join(f"{contract}: {what}" for contract, what in list(unlike.items())[:8])
    return Judged(merged, len(could), seen)
