"""Tables of random dtypes, labels and names, many callers at once: each gets what its own call gives in process."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support import table_kinds as kinds
from support.proofs import Proof
from support.random_callers import CALLERS, Sent, ask_models, in_process, judge, rows_of
from support.value_kinds import check_same
from vtsserving._codecs.json_write import to_json
from vtsserving._wire.values import decode_value, encode_value

pytestmark = [pytest.mark.slow, pytest.mark.prove, pytest.mark.timeout(1_500)]

MSGPACK = "application/msgpack"
JSON = "application/json"


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
    rows = rows_of(rng, contract)
    table = kinds.random_table(contract, rng, rows)
    expected = in_process(kinds, i, contract)(copy.deepcopy(table))
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


def kinds_of(contract: dict[str, Any]) -> set[str]:
    return {
        f"result: {contract['result']}",
        *(f"column: {kind}" for kind in contract["columns"]),
        *(f"index: {kind}" for kind in contract["indexes"]),
    }


def may_share(contract: dict[str, Any]) -> bool:
    """Whether callers may share a batch: the result follows rows, and they have no labels in common."""
    return contract["result"] in kinds.ROWS and not kinds.SHARED.intersection(contract["indexes"])


@pytest.mark.parametrize("bus", ["embedded", "nats"])
def test_every_caller_gets_the_table_that_its_own_call_gives(
    bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    total = proof.count(full=6_000, quick=400) if bus == "embedded" else proof.count(full=4_000, quick=200)
    rng = random.Random(proof.seed + len(bus))
    first = rng.randrange(100)
    contracts = [kinds.random_contract(rng, first + number) for number in range(total // CALLERS)]
    sent = ask_models(bus, tmp_path, kinds, contracts, ask, proof.seed)
    found = judge(f"any table, {bus}", sent, may_share, kinds_of, proof)
    assert found.merged * proof.count(full=2, quick=4) >= found.could
    assert min(found.seen.values()) >= proof.count(full=200, quick=50)
