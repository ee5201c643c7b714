"""Tables of random dtypes, labels and names, many callers at once: each gets what its own call gives in process."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

import vtsserving
from support import table_kinds as kinds
from support.first_release import serving
from support.proofs import Proof
from support.value_kinds import check_same
from vtsserving._codecs.json_write import to_json
from vtsserving._wire.values import decode_value, encode_value

pytestmark = [pytest.mark.slow, pytest.mark.prove, pytest.mark.timeout(1_500)]

CALLERS = 50
"""Requests of one method that are sent at once."""

METHODS = 40
"""Methods of one model."""

MSGPACK = "application/msgpack"
JSON = "application/json"


class Sent(NamedTuple):
    """One request, and how it ended.

    Attributes:
        contract: of the method.
        rows: of the request.
        batch_rows: of the batch that it was part of.
        status: of the answer.
        wrong: what is wrong with its answer; empty: nothing.
    """

    contract: dict[str, Any]
    rows: int
    batch_rows: int
    status: int
    wrong: str


def differences(got: Any, right: Any) -> str:
    """How an answer differs from what the call gives in process; empty: it does not."""
    if isinstance(right, dict):
        pairs = [(got[key], right[key]) for key in right] if list(got) == list(right) else [(got, right)]
    elif isinstance(right, tuple):
        pairs = list(zip(got, right, strict=True))
    else:
        pairs = [(got, right)]
    try:
        for one, other in pairs:
            check_same(one, other)
    except AssertionError as error:
        return str(error)[:600] or "unlike"
    return ""


async def ask(client: httpx2.AsyncClient, url: str, i: int, contract: dict[str, Any], seed: int) -> Sent:
    rng = random.Random(seed)
    rows = rng.choice([1, 1, 1, 2, 3, 4]) if rng.random() < 0.9 else contract["limit"] * 2 + 1
    table = kinds.random_table(contract, rng, rows)
    expected = getattr(kinds.Model({i: contract}), f"m{i}")(copy.deepcopy(table))
    accept = JSON if rng.random() < 0.3 else MSGPACK
    headers = {"content-type": MSGPACK, "accept": accept, "x-request-timeout": "60"}
    body = encode_value({"args": [table], "kwargs": {}})
    answer = await client.post(f"{url}/m{i}", content=body, headers=headers)
    batch_rows = int(answer.headers.get("x-vts-batch-size", 0))
    if answer.status_code != 200:
        wrong = f"{answer.status_code} {answer.text[:300]}"
    elif accept == JSON:
        right = json.loads(to_json(expected))
        wrong = "" if answer.json() == right else f"{answer.text[:300]} is not {right!r:.300}"
    else:
        wrong = differences(decode_value(answer.content), expected)
    return Sent(contract, rows, batch_rows, answer.status_code, wrong)


async def ask_all(url: str, contracts: list[dict[str, Any]], seed: int) -> list[Sent]:
    found: list[Sent] = []
    limits = httpx2.Limits(max_connections=CALLERS)
    async with httpx2.AsyncClient(trust_env=False, timeout=90, limits=limits) as client:
        for i, contract in enumerate(contracts):
            calls = [ask(client, url, i, contract, seed * 1_000_003 + i * 1_009 + n) for n in range(CALLERS)]
            found += await asyncio.gather(*calls)
    return found


def save(contracts: list[dict[str, Any]]) -> str:
    model = vtsserving.picklable_model.save_model(
        "any",
        kinds.Model(contracts),
        signatures={f"m{i}": kinds.signature(one) for i, one in enumerate(contracts)},
        options=kinds.options(contracts),
        external_modules=[kinds],
    )
    return str(model.tag)


def kinds_of(contract: dict[str, Any]) -> set[str]:
    return {
        f"result: {contract['result']}",
        *(f"column: {kind}" for kind in contract["columns"]),
        *(f"index: {kind}" for kind in contract["indexes"]),
    }


@pytest.mark.parametrize("bus", ["embedded", "nats"])
def test_every_caller_gets_the_table_that_its_own_call_gives(
    bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    total = proof.count(full=6_000, quick=400) if bus == "embedded" else proof.count(full=4_000, quick=200)
    rng = random.Random(proof.seed + len(bus))
    contracts = [kinds.random_contract(rng) for _ in range(total // CALLERS)]
    sent: list[Sent] = []
    for start in range(0, len(contracts), METHODS):
        some = contracts[start : start + METHODS]
        workers = ("--workers", "2") if bus == "nats" else ()
        with serving(tmp_path, "serve", save(some), *workers) as url:
            sent += asyncio.run(ask_all(f"{url}/v1/models/any", some, proof.seed + start))
    wrong = [one for one in sent if one.wrong]
    could = [
        one for one in sent if one.contract["result"] in kinds.ROWS and 2 * one.rows <= one.contract["limit"]
    ]
    merged = sum(one.batch_rows > one.rows for one in could)
    seen = Counter(kind for one in sent for kind in kinds_of(one.contract))
    proof.record(
        f"any table, {bus}",
        contracts=len(contracts),
        requests=len(sent),
        wrong=len(wrong),
        answers_500=sum(one.status >= 500 for one in sent),
        merged_of_mergeable=f"{merged / max(1, len(could)):.0%}",
        fewest_of_a_kind=min(seen.values()),
        kinds=len(seen),
    )
    unlike = {str(one.contract): one.wrong for one in wrong}
    assert not wrong, "\n".join(f"{contract}: {what}" for contract, what in list(unlike.items())[:8])
    assert merged * 4 >= len(could)
