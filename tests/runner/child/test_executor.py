"""One batch on one model: joining, arguments of any kind, bisecting, outputs that cannot be cut."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtsserving._model.signature import ModelSignature
from vtsserving._wire import frames, rows, subjects
from vtsserving.exceptions import InvalidArgument
from vtsserving_runner.child import executor
from vtsserving_runner.child.executor import BatchExecutor, owned
from vtsserving_runner.process.framing import now_us

pytestmark = pytest.mark.fast

BATCHABLE = ModelSignature(batchable=True)
LATER_US = 10**9


def batch(calls: list[tuple[Any, ...]], signature: ModelSignature = BATCHABLE, **more: Any) -> frames.Batch:
    axis = signature.batch_dim[0] if signature.batchable else None
    packed = [rows.pack_call(call, {}, axis) for call in calls]
    count = len(packed)
    made = frames.Batch(
        *(7, "0" * 16, 1, 0, "m", "v", "sha256:" + "0" * 64, "predict", 10**6, 64, ()),
        [subjects.gateway_reply("0" * 16, 0)],
        bytes(count),
        tuple(range(count)),
        tuple(p.rows for p in packed),
        (LATER_US,) * count,
        (0,) * count,
        bytes(count),
        *((), (), b""),
        packed[0].head,
        [p.body for p in packed],
    )._replace(**more)
    decoded = frames.decode(bytearray(frames.encode(made)))
    assert isinstance(decoded, frames.Batch)
    return decoded


class Calls:
    """A model whose predict is the given function; remembers what it was called with."""

    def __init__(self, function: Any) -> None:
        self.seen: list[Any] = []
        self._function = function

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        self.seen.append(args[0] if len(args) == 1 and not kwargs else (args, kwargs))
        return self._function(*args, **kwargs)


def answers(model: Any, work: frames.Batch, signature: ModelSignature = BATCHABLE) -> list[Any]:
    """Per entry, its value or its error code; checks that each has exactly one answer and that the last says so."""
    got: dict[int, Any] = {}
    parts = list(BatchExecutor(model, {"predict": signature}).run(work, now_us()))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    for part in parts:
        decoded = frames.decode(frames.encode(part))
        assert not got.keys() & set(decoded.index)
        if isinstance(decoded, frames.Fault):
            got.update(dict.fromkeys(decoded.index, decoded.code))
        else:
            for i, count, body in zip(decoded.index, decoded.rows, decoded.bodies, strict=True):
                got[i] = rows.join_results([rows.Packed(decoded.head, count, body)])
    assert sorted(got) == list(range(len(work.ids)))
    return [got[i] for i in sorted(got)]


def test_the_specifications_batches_on_both_dimensions():
    zero, one = Calls(lambda x: x), Calls(lambda x: x)
    answers(zero, batch([(np.array([[1, 2], [3, 4]]),), (np.array([[5, 6]]),)]))
    dim_1 = ModelSignature(batchable=True, batch_dim=(1, 1))
    cut = answers(one, batch([(np.array([[1, 2], [3, 4]]),), (np.array([[5], [6]]),)], dim_1), dim_1)
    assert zero.seen[0].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert one.seen[0].tolist() == [[1, 2, 5], [3, 4, 6]]
    assert [c.tolist() for c in cut] == [[[1, 2], [3, 4]], [[5], [6]]]


def test_inputs_and_outputs_may_have_different_dimensions():
    signature = ModelSignature(batchable=True, batch_dim=(1, 0))
    model = Calls(lambda x: x.T)
    cut = answers(
        model, batch([(np.array([[1, 2], [3, 4]]),), (np.array([[5], [6]]),)], signature), signature
    )
    assert [c.tolist() for c in cut] == [[[1, 3], [2, 4]], [[5, 6]]]


@pytest.mark.parametrize("count", [1, 3])
def test_a_model_may_change_its_input_in_place(count):
    def in_place(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        x *= 2
        return x

    model = Calls(in_place)
    got = answers(model, batch([(np.full((1, 3), float(i)),) for i in range(count)]))
    assert [g.tolist() for g in got] == [[[2.0 * i] * 3] for i in range(count)]
    assert model.seen[0].flags.aligned


def test_changing_the_input_before_raising_does_not_spoil_the_second_try():
    def spoil(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        poisoned = (x == 13).any()
        x += 100
        if poisoned:
            raise ValueError("unlucky")
        return x

    got = answers(Calls(spoil), batch([(np.full((1, 1), v),) for v in (1.0, 13.0, 2.0)]))
    assert [g if isinstance(g, str) else g.item() for g in got] == [101.0, "model_failed", 102.0]


def test_arguments_of_a_method_that_is_not_batchable_may_be_written_to():
    def fill(arguments: dict[str, Any]) -> Any:
        arguments["x"][0] = 9
        return arguments["x"]

    signature = ModelSignature()
    assert answers(Calls(fill), batch([({"x": np.zeros(2)},)], signature), signature)[0].tolist() == [9, 0]


@pytest.mark.parametrize(
    "value",
    [{"a": [1, None, "x"]}, (1, 2.5), "text", None, np.float32(1.5), [np.zeros(2), np.ones(2)]],
    ids=repr,
)
def test_a_method_that_is_not_batchable_returns_anything_that_can_be_sent(value):
    signature = ModelSignature()
    (got,) = answers(Calls(lambda _x: value), batch([(1,)], signature), signature)
    assert type(got) is type(value)
    np.testing.assert_equal(got, value)


def test_a_batchable_method_called_without_a_batch_is_called_as_it_is():
    model = Calls(lambda x, flag: [x, flag])
    assert answers(model, batch([(2.5, True)])) == [[2.5, True]]


@pytest.mark.parametrize(
    ("make", "cut"),
    [
        (lambda x: x.tolist(), [[[0.0]], [[1.0]]]),
        (lambda x: {"a": x, "b": x[:, 0]}, None),
        (lambda x: (x, [f"{v:g}" for v in x[:, 0]]), None),
        (lambda x: pd.DataFrame({"v": x[:, 0], "s": [str(v) for v in x[:, 0]]}), None),
        (lambda x: np.array([str(v) for v in x[:, 0]]), None),
    ],
    ids=["list", "dict", "tuple", "frame", "strings"],
)
def test_outputs_of_many_kinds_are_cut_by_rows(make, cut):
    got = answers(Calls(make), batch([(np.array([[0.0]]),), (np.array([[1.0]]),)]))
    if cut is not None:
        assert got == cut
    alone = [make(np.array([[float(i)]])) for i in range(2)]
    assert [type(g) for g in got] == [type(a) for a in alone]
    for one, other in zip(got, alone, strict=True):
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one.reset_index(drop=True), other)
        else:
            np.testing.assert_equal(one, other)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x: x[1:], "2 rows for 3"),
        (lambda x: np.vstack([x, x]), "6 rows for 3"),
        (lambda x: x.sum(), "cannot be split"),
        (lambda x: None, "NoneType"),
        (lambda x: [object()] * len(x), "object"),
        (lambda x: x.astype(complex), "complex"),
        (lambda x: [], "rows"),
        (lambda x: {"a": x, "b": x[1:]}, "rows"),
    ],
    ids=["short", "long", "scalar", "none", "objects", "complex", "empty", "unlike"],
)
def test_an_output_that_cannot_be_cut_fails_everybody(wrong, says):
    work = batch([(np.array([[float(i)]]),) for i in range(3)])
    (fault,) = BatchExecutor(Calls(wrong), {"predict": BATCHABLE}).run(work, now_us())
    assert isinstance(fault, frames.Fault)
    assert (fault.code, fault.index) == ("bad_model_output", (0, 1, 2))
    assert says in fault.message


@given(st.lists(st.booleans(), min_size=1, max_size=64))
def test_exactly_those_that_raise_fail_and_calls_are_bounded(poison):
    def raise_on_poison(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if (x < 0).any():
            raise ValueError("negative")
        return x * 2

    model = Calls(raise_on_poison)
    work = batch([(np.array([[float(-i - 1 if bad else i)]]),) for i, bad in enumerate(poison)])
    got = answers(model, work)
    assert [g if isinstance(g, str) else g.item() for g in got] == [
        "model_failed" if bad else 2.0 * i for i, bad in enumerate(poison)
    ]
    bad_ones = sum(poison)
    assert len(model.seen) <= 1 + bad_ones * 2 * max(1, math.ceil(math.log2(len(poison))))


def test_a_raise_reports_type_and_message_and_no_traceback():
    def fail(_x: Any) -> Any:
        raise KeyError("missing")

    (fault,) = BatchExecutor(Calls(fail), {"predict": BATCHABLE}).run(batch([(np.zeros((1, 1)),)]), now_us())
    assert (fault.code, fault.message) == ("model_failed", "KeyError: 'missing'")


def test_an_error_of_ours_raised_by_a_model_keeps_its_code():
    def fail(_x: Any) -> Any:
        raise InvalidArgument("the temperature must be positive")

    (fault,) = BatchExecutor(Calls(fail), {"predict": BATCHABLE}).run(batch([(np.zeros((1, 1)),)]), now_us())
    assert (fault.code, fault.message) == ("invalid_argument", "the temperature must be positive")


def test_an_exception_whose_text_raises_is_still_an_answer():
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def fail(_x: Any) -> Any:
        raise Nasty

    (fault,) = BatchExecutor(Calls(fail), {"predict": BATCHABLE}).run(batch([(np.zeros((1, 1)),)]), now_us())
    assert fault.message == "Nasty"


def test_each_raise_is_a_sign_of_life():
    def fail(_x: Any) -> Any:
        raise ValueError

    signs: list[int] = []
    computer = BatchExecutor(Calls(fail), {"predict": BATCHABLE}, alive=lambda: signs.append(1))
    list(computer.run(batch([(np.zeros((1, 1)),)] * 2), now_us()))
    assert len(signs) == 3


def test_what_expired_on_the_way_is_not_computed():
    model = Calls(lambda x: x)
    work = batch([(np.array([[float(i)]]),) for i in range(3)], remaining_us=(LATER_US, 1_000, LATER_US))
    parts = list(BatchExecutor(model, {"predict": BATCHABLE}).run(work, now_us() - 2_000))
    assert [(p.index, getattr(p, "code", "")) for p in parts] == [((1,), "deadline_exceeded"), ((0, 2), "")]
    assert model.seen[0].tolist() == [[0.0], [2.0]]


def test_when_everything_expired_nothing_is_called():
    model = Calls(lambda x: x)
    work = batch([(np.array([[1.0]]),)] * 2, remaining_us=(0, 0))
    assert answers(model, work) == ["deadline_exceeded"] * 2
    assert model.seen == []


def test_a_body_that_does_not_fit_its_head_fails_alone():
    work = batch([(np.array([[1.0]]),), (np.array([[2.0]]),)])
    spoiled = work._replace(bodies=[work.bodies[0], memoryview(bytearray(4))])
    got = answers(Calls(lambda x: x), spoiled)
    assert got[0].tolist() == [[1.0]]
    assert got[1] == "bad_frame"


def test_the_model_itself_is_called_for_dunder_call():
    work = batch([(np.array([[3.0]]),)], method="__call__")
    computer = BatchExecutor(lambda x: x + 1, {"__call__": BATCHABLE})
    (result,) = computer.run(work, now_us())
    assert rows.join_results([rows.Packed(result.head, 1, result.bodies[0])]).tolist() == [[4.0]]


def test_owned_leaves_what_is_fine_alone():
    array = np.zeros(3)
    assert owned(array) is array
    items = [1, "a"]
    assert owned(items) is items
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    assert owned({"a": (frozen,)})["a"][0].flags.writeable


# --- labels and kinds of bodies -------------------------------------------------------------------------------------


@pytest.fixture
def quiet_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing had gone wrong in the last second: the log takes so many lines a second only."""
    monkeypatch.setattr(executor, "_told", deque(maxlen=executor.MAX_TOLD_PER_S))


def test_the_log_of_a_failing_call_names_the_requests_that_have_an_id(
    caplog: pytest.LogCaptureFixture, quiet_before: None
) -> None:
    def raises(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if (x == 13).any():
            raise ValueError("unlucky")
        return x

    calls = [(np.array([[float(i)]]),) for i in (1, 13, 2, 13)]
    work = batch(calls, request_ids=("one", "order-13", "two", ""))
    assert answers(Calls(raises), work)[1] == "model_failed"
    told = [(record.message, getattr(record, "request_ids", None)) for record in caplog.records]
    assert told == [("model_raised", ["order-13"]), ("model_raised", None)]


def test_the_log_of_a_result_that_cannot_be_cut_names_its_requests(
    caplog: pytest.LogCaptureFixture, quiet_before: None
) -> None:
    work = batch([(np.array([[1.0]]),), (np.array([[2.0]]),)], request_ids=("one", "two"))
    assert answers(Calls(lambda x: "no rows"), work) == ["bad_model_output"] * 2
    named = [name for record in caplog.records for name in getattr(record, "request_ids", [])]
    assert sorted(named) == ["one", "two"]


@pytest.mark.parametrize("kinds", [b"\0\1\0", b"\0\xff\0"], ids=["shared memory", "of a later release"])
def test_a_body_of_a_kind_that_is_not_read_ends_its_entry_alone(kinds: bytes) -> None:
    model = Calls(lambda x: 2 * x)
    work = batch([(np.array([[float(i)]]),) for i in range(3)], body_kinds=kinds)
    one, refused, three = answers(model, work)
    assert (one.tolist(), refused, three.tolist()) == ([[0.0]], "unsupported_body", [[4.0]])
    assert [x.tolist() for x in model.seen] == [[[0.0], [2.0]]]


def test_a_model_is_not_called_where_no_body_can_be_read() -> None:
    model = Calls(lambda x: x)
    work = batch([(np.array([[1.0]]),), (np.array([[2.0]]),)], body_kinds=b"\1\1")
    assert answers(model, work) == ["unsupported_body"] * 2
    assert model.seen == []


def test_entries_without_a_batch_axis_and_with_a_body_of_another_kind() -> None:
    single = ModelSignature()
    work = batch([(1,), (2,), (3,)], single, body_kinds=b"\1\0\1")
    assert answers(Calls(lambda x: x), work, single) == ["unsupported_body", 2, "unsupported_body"]
