"""Random contracts, arguments and results, many callers at once: each gets what its own call gives in process."""

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
from support import contract_kinds as kinds
from support.first_release import FirstRelease, serving
from support.proofs import Proof
from support.wire_values import is_same
from vtsserving._codecs.json_write import to_json
from vtsserving._wire.values import decode_value, encode_value

pytestmark = [pytest.mark.slow, pytest.mark.prove, pytest.mark.timeout(1_500)]

CALLERS = 50
"""Requests of one method that are sent at once."""

METHODS = 40
"""Methods of one model."""

MSGPACK = {"content-type": "application/msgpack", "accept": "application/msgpack", "x-request-timeout": "60"}
JSON = {"content-type": "application/json", "x-request-timeout": "60"}


class Sent(NamedTuple):
    """One request, and how it ended.

    Attributes:
        contract: of the method.
        rows: of the request.
        batch_rows: of the batch that it was part of.
        wrong: what is wrong with its answer; empty: nothing.
    """

    contract: dict[str, Any]
    rows: int
    batch_rows: int
    wrong: str


def call_of(contract: dict[str, Any], rng: random.Random) -> tuple[int, list[Any], dict[str, Any]]:
    """Rows, arguments and named arguments of one request; sometimes more rows than a batch may have."""
    rows = rng.choice([1, 1, 1, 2, 3, 4]) if rng.random() < 0.9 else contract["limit"] * 2 + 1
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
    expected = getattr(kinds.Model({i: contract}), f"m{i}")(*copy.deepcopy(args), **copy.deepcopy(named))  # type: ignore[arg-type]
    in_json = contract["argument"] in kinds.LISTS and rng.random() < 0.5
    call = {"args": args, "kwargs": named}
    data, headers = (json.dumps(call).encode(), JSON) if in_json else (encode_value(call), MSGPACK)
    answer = await client.post(f"{url}/m{i}", content=data, headers=headers)
    batch_rows = int(answer.headers.get("x-vts-batch-size", 0))
    if answer.status_code != 200:
        return Sent(contract, rows, batch_rows, f"{answer.status_code} {answer.text[:200]} for {call!r:.300}")
    if in_json:
        got, right = answer.json(), json.loads(to_json(expected))
        same = got == right
    else:
        got, right = decode_value(answer.content), expected
        same = is_same(got, right)
    wrong = "" if same else f"{call!r:.300} gave {got!r:.300}, not {right!r:.300}"
    return Sent(contract, rows, batch_rows, wrong)


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
    sent: list[Sent] = []
    for start in range(0, len(contracts), METHODS):
        some = contracts[start : start + METHODS]
        workers = ("--workers", "2") if bus == "nats" else ()
        with serving(tmp_path, "serve", save(some), *workers) as url:
            sent += asyncio.run(ask_all(f"{url}/v1/models/any", some, proof.seed + start))
    wrong = [one for one in sent if one.wrong]
    could = [
        one for one in sent if one.contract["result"] in kinds.FORMS and 2 * one.rows <= one.contract["limit"]
    ]
    merged = sum(one.batch_rows > one.rows for one in could)
    seen = Counter(kind for one in sent for kind in kinds_of(one.contract))
    proof.record(
        f"any contract, {bus}",
        contracts=len(contracts),
        requests=len(sent),
        wrong=len(wrong),
        merged_of_mergeable=f"{merged / max(1, len(could)):.0%}",
        fewest_of_a_kind=min(seen.values()),
        kinds=len(seen),
    )
    unlike = {str(one.contract): one.wrong for one in wrong}
    assert not wrong, "\n".join(f"{contract}: {what}" for contract, what in list(unlike.items())[:8])
    assert merged * 2 >= len(could)
    assert min(seen.values()) >= min(200, total // len(kinds.ARGUMENTS) // CALLERS * CALLERS)


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
        sent = asyncio.run(ask_all(f"{url}/v1/models/any", contracts, proof.seed))
    failed = Counter(kind for one in sent if one.wrong for kind in kinds_of(one.contract))
    proof.record(
        "any contract, 0.1.0", requests=len(sent), wrong=sum(bool(s.wrong) for s in sent), kinds=len(failed)
    )
    assert len([kind for kind in failed if kind.startswith("result")]) >= 8, failed
