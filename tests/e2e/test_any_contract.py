"""Random contracts, arguments and results, many callers at once: each gets what its own call gives in process."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support import contract_kinds as kinds
from support.first_release import FirstRelease, serving
from support.proofs import Proof
from support.random_callers import CALLERS, Sent, ask_all, ask_models, in_process, judge, rows_of
from support.wire_values import is_same
from vtsserving._codecs.json_write import to_json
from vtsserving._wire.values import decode_value, encode_value

pytestmark = [pytest.mark.slow, pytest.mark.prove, pytest.mark.timeout(1_500)]

MSGPACK = {"content-type": "application/msgpack", "accept": "application/msgpack", "x-request-timeout": "60"}
JSON = {"content-type": "application/json", "x-request-timeout": "60"}


def call_of(contract: dict[str, Any], rng: random.Random) -> tuple[int, list[Any], dict[str, Any]]:
    """Rows, arguments and named arguments of one request; sometimes more rows than a batch may have."""
    rows = rows_of(rng, contract)
    make = kinds.ARGUMENTS[contract["argument"]]
    named: dict[str, Any] = {}
    if contract["parameter"] != "none":
        named["w"] = kinds.PARAMETERS[contract["parameter"]](rng)
    if contract["second"]:
        named["y"] = make(rng, rows)
    return rows, [make(rng, rows)], named


async def ask(client: httpx2.AsyncClient, url: str, i: int, contract: dict[str, Any], seed: int) -> Sent:
    rng = random.Random(seed)
    rows, args, named = call_of(contract, rng)
    expected = in_process(kinds, i, contract)(*copy.deepcopy(args), **copy.deepcopy(named))
    in_json = contract["argument"] in kinds.LISTS and rng.random() < 0.5
    call = {"args": args, "kwargs": named}
    data, headers = (json.dumps(call).encode(), JSON) if in_json else (encode_value(call), MSGPACK)
    answer = await client.post(f"{url}/m{i}", content=data, headers=headers)
    batch_rows = int(answer.headers.get("x-vts-batch-size", 0))
    status = answer.status_code
    if status != 200:
        return Sent(contract, rows, batch_rows, status, f"{status} {answer.text[:200]} for {call!r:.300}")
    if in_json:
        got, right = answer.json(), json.loads(to_json(expected))
        same = got == right
    else:
        got, right = decode_value(answer.content), expected
        same = is_same(got, right)
    wrong = "" if same else f"{call!r:.300} gave {got!r:.300}, not {right!r:.300}"
    return Sent(contract, rows, batch_rows, status, wrong)


def drawn(count: int, seed: int) -> list[dict[str, Any]]:
    return kinds.random_contracts(random.Random(seed), count)


def kinds_of(contract: dict[str, Any]) -> set[str]:
    return {
        f"argument: {contract['argument']}",
        f"parameter: {contract['parameter']}",
        f"result: {contract['result']}",
        f"second rows: {contract['second']}",
    }


@pytest.mark.parametrize("bus", ["embedded", "nats"])
def test_every_caller_gets_what_its_own_call_gives(
    bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    total = proof.count(full=6_000, quick=500) if bus == "embedded" else proof.count(full=4_000, quick=250)
    contracts = drawn(total // CALLERS, proof.seed + len(bus))
    sent = ask_models(bus, tmp_path, kinds, contracts, ask, proof.seed)
    found = judge(
        f"any contract, {bus}", sent, lambda contract: contract["result"] in kinds.FORMS, kinds_of, proof
    )
    assert found.merged * 2 >= found.could
    assert min(found.seen.values()) >= min(200, total // len(kinds.ARGUMENTS) // CALLERS * CALLERS)


def test_the_first_release_gives_other_answers_in_many_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    """So that the test above can fail: the same requests to 0.1.0."""
    release = FirstRelease(tmp_path / "0.1")
    contracts = drawn(proof.count(full=40, quick=24), proof.seed)
    home = {**release.env, "VTSSERVING_HOME": str(tmp_path / "home")}
    home["PYTHONPATH"] += f":{Path(kinds.__file__).parents[1]}"
    code = (
        "import json, sys, vtsserving; from support import contract_kinds as kinds\n"
        f"contracts = json.loads({json.dumps(json.dumps(contracts))})\n"
        "names = {f'm{i}': kinds.signature(one, old=True) for i, one in enumerate(contracts)}\n"
        "vtsserving.picklable_model.save_model('any', kinds.Model(contracts), signatures=names, "
        "options=kinds.options(contracts), external_modules=[kinds])\n"
    )
    ended = release.python(code, env=home)
    assert ended.code == 0, ended.err
    with serving(tmp_path, "serve", "any:latest", env=home) as url:
        sent = asyncio.run(ask_all(ask, f"{url}/v1/models/any", contracts, proof.seed))
    failed = Counter(kind for one in sent if one.wrong for kind in kinds_of(one.contract))
    proof.record(
        "any contract, 0.1.0", requests=len(sent), wrong=sum(bool(s.wrong) for s in sent), kinds=len(failed)
    )
    assert len([kind for kind in failed if kind.startswith("result")]) >= 8, failed
