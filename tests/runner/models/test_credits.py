"""Who may send what: numbers, epochs, duplicates."""

from __future__ import annotations

import itertools

import pytest

from vtsserving._wire.frames import Batch
from vtsserving_runner.models.credits import Credits, Duplicate, epochs

pytestmark = pytest.mark.fast

OWNER, OTHER = "a" * 16, "b" * 16


def batch(batch_id: int, credit: int = 0, epoch: int = 5, batcher: str = OWNER) -> Batch:
    return Batch(batch_id, batcher, epoch, credit, *[None] * 19)  # type: ignore[arg-type]


@pytest.fixture
def granted() -> Credits:
    credits = Credits()
    credits.open(OWNER, 5)
    return credits


def test_a_granted_credit_may_be_used_once(granted):
    assert granted.take(batch(1))
    assert granted.free() == [1]
    assert not granted.take(batch(2))


def test_a_finished_batch_renews_its_credit(granted):
    granted.take(batch(1))
    assert granted.give_back(batch(1)) == [0]
    assert granted.free() == [0, 1]
    assert granted.take(batch(2))


@pytest.mark.parametrize(
    "wrong",
    [batch(1, credit=2), batch(1, epoch=4), batch(1, epoch=6), batch(1, batcher=OTHER), batch(1, batcher="")],
    ids=["number", "old epoch", "future epoch", "owner", "nobody"],
)
def test_what_was_not_granted_is_refused(granted, wrong):
    assert not granted.take(wrong)
    assert granted.free() == [0, 1]


def test_without_an_owner_nothing_is_granted():
    credits = Credits()
    assert not credits.take(batch(1, epoch=0, batcher=""))


def test_the_same_batch_again_is_a_duplicate_and_not_a_refusal(granted):
    granted.take(batch(1))
    with pytest.raises(Duplicate):
        granted.take(batch(1))
    granted.give_back(batch(1))
    with pytest.raises(Duplicate):
        granted.take(batch(1))


def test_a_new_epoch_voids_the_old_one(granted):
    granted.take(batch(1))
    granted.open(OTHER, 6)
    assert granted.give_back(batch(1)) == []
    assert not granted.take(batch(2))
    assert granted.take(batch(1, epoch=6, batcher=OTHER))


def test_closing_voids_everything(granted):
    granted.close()
    assert not granted.take(batch(1))
    assert not granted.take(batch(1, batcher=""))


def test_epochs_grow_and_start_somewhere_else_each_time():
    first, second = list(itertools.islice(epochs(), 3)), next(epochs())
    assert first == [first[0], first[0] + 1, first[0] + 2]
    assert second not in first
    assert all(epoch << 8 < 2**63 for epoch in (*first, second))
