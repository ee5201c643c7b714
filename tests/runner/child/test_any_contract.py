"""Methods of any kind in a model process: whatever shares a batch, each entry gets what its own call gives."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import contract_kinds as kinds
from support.executor_batches import answers_of, batch_of
from support.wire_values import is_same
from vtsserving._model.contract import MethodContract
from vtsserving._wire import rows
from vtsserving._wire.rows import Packed
from vtsserving_runner.child.executor import BatchExecutor

pytestmark = pytest.mark.fast

contracts = st.fixed_dictionaries(
    {
        "argument": st.sampled_from(sorted(kinds.ARGUMENTS)),
        "parameter": st.sampled_from(sorted(kinds.PARAMETERS)),
        "second": st.booleans(),
        "result": st.sampled_from(sorted(kinds.RESULTS)),
        "declared": st.booleans(),
        "limit": st.sampled_from([3, 8, 64]),
    }
).map(lambda one: {**one, "declared": one["declared"] and one["result"] in kinds.FORMS})

requests = st.lists(
    st.tuples(st.sampled_from([1, 1, 2, 4]), st.integers(0, 99), st.sampled_from([0, 0, 1])),
    min_size=4,
    max_size=12,
)
"""Rows of each request, the seed of its values and that of its parameter; equal seeds make equal ones."""


def contract_of(contract: dict[str, Any]) -> MethodContract:
    declared = MethodContract.declared("m0", kinds.signature(contract))
    return replace(declared, names=("x", "w", "y"))


def packed(
    method: MethodContract, contract: dict[str, Any], count: int, seed: int, parameter_seed: int
) -> tuple[Packed, Any]:
    """A request, and what its own call gives in process."""
    rng = random.Random(seed)
    make = kinds.ARGUMENTS[contract["argument"]]
    named: dict[str, Any] = {}
    if contract["parameter"] != "none":
        named["w"] = kinds.PARAMETERS[contract["parameter"]](random.Random(parameter_seed))
    if contract["second"]:
        named["y"] = make(rng, count)
    x = make(rng, count)
    right = kinds.Model([contract]).m0(copy.deepcopy(x), **copy.deepcopy(named))
    args, kwargs = method.rule.positional([x], named)
    return rows.pack_call(args, kwargs, method.rule), right


def batches_of(method: MethodContract, calls: list[tuple[Packed, Any]], limit: int) -> list[list[Any]]:
    """As a batcher groups them: by head, in order, up to the limit; what is no rows alone."""
    found: list[list[Any]] = []
    for head, some in groupby(sorted(calls, key=lambda call: call[0].head), key=lambda call: call[0].head):
        open_batch: list[Any] = []
        for call in some:
            total = sum(one.rows for one, _ in open_batch) + call[0].rows
            if open_batch and (not head or total > limit):
                found.append(open_batch)
                open_batch = []
            open_batch.append(call)
        found.append(open_batch)
    return found


@settings(deadline=None, max_examples=150)
@given(contract=contracts, sent=requests)
def test_each_entry_gets_what_its_own_call_gives(
    contract: dict[str, Any], sent: list[tuple[int, int, int]]
) -> None:
    method = contract_of(contract)
    executor = BatchExecutor(kinds.Model([contract]), {"m0": method})
    calls = [packed(method, contract, *one) for one in sent]
    for _ in range(2):  # what the first batches showed holds for the later ones
        for batch in batches_of(method, calls, contract["limit"]):
            got = answers_of(
                executor, batch_of([one for one, _ in batch], method="m0", max_rows=contract["limit"])
            )
            for answer, (_, right) in zip(got, batch, strict=True):
                assert is_same(answer, right), f"{answer!r}, not {right!r}"
