"""Objects are put back to what they were, down to what they consist of; what they share with others is left alone."""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vtsserving._saving.unchanged import MAX_ARRAY_BYTES, unchanged

pytestmark = pytest.mark.fast


class Thing:
    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def test_attributes_containers_and_arrays_are_put_back() -> None:
    inner = Thing(calls=0, seen=[1, [2]], by_name={"a": {"b": 1}}, kinds={"x"}, weights=np.arange(3.0))
    thing = Thing(inner=inner, pair=(inner, [3]), ordered=OrderedDict(a=1), counts=defaultdict(int, a=1))
    with unchanged(thing):
        inner.calls += 1
        inner.seen[1].append(3)
        inner.seen.append(4)
        inner.by_name["a"]["b"] = 2
        inner.kinds.add("y")
        inner.weights += 1
        thing.pair[1].clear()
        thing.ordered["b"] = 2
        thing.ordered.move_to_end("a")
        thing.counts["b"] += 1
        thing.cache = "filled"
        del thing.inner
    assert vars(thing).keys() == {"inner", "pair", "ordered", "counts"}
    assert thing.inner is inner
    assert vars(inner).keys() == {"calls", "seen", "by_name", "kinds", "weights"}
    assert (inner.calls, inner.seen, inner.by_name, inner.kinds) == (0, [1, [2]], {"a": {"b": 1}}, {"x"})
    assert inner.weights.tolist() == [0, 1, 2]
    assert thing.pair == (inner, [3])
    assert (list(thing.ordered.items()), dict(thing.counts)) == ([("a", 1)], {"a": 1})


def test_what_a_block_leaves_alone_is_not_written_to() -> None:
    class Watched(dict[str, Any]):
        def clear(self) -> None:
            raise AssertionError("written to")

    thing = Thing(one=Watched(a=1), array=np.arange(3))
    thing.array.setflags(write=False)
    with unchanged(thing):
        pass
    assert thing.array.tolist() == [0, 1, 2]


def test_objects_are_put_back_when_the_block_raises() -> None:
    thing = SimpleNamespace(calls=0)
    with pytest.raises(KeyError), unchanged(thing):
        thing.calls = 1
        raise KeyError
    assert thing.calls == 0


def test_loggers_and_their_kind_are_shared_and_stay_as_they_became() -> None:
    logger = logging.getLogger("vtsserving.test_unchanged")
    thing = Thing(log=logger, calls=0)
    handler = logging.NullHandler()
    with unchanged(thing):
        logger.addHandler(handler)
        thing.calls = 1
    assert logger.handlers == [handler]
    assert thing.calls == 0
    logger.removeHandler(handler)


def test_objects_that_refer_to_each_other_and_large_arrays_are_no_trouble() -> None:
    one, other = Thing(count=1), Thing(count=2)
    one.other, other.other = other, one
    one.large = np.zeros(MAX_ARRAY_BYTES + 1, dtype=np.uint8)
    with unchanged(one):
        other.count = 3
        one.large = None
    assert other.count == 2
    assert one.large.nbytes > MAX_ARRAY_BYTES
