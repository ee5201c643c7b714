"""One batch on one model: joining, arguments of any kind, bisecting, outputs that cannot be cut."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.call_rules import every
from support.executor_batches import answers_of, batch_of
from vtsserving._contract.owned import owned
from vtsserving._model.contract import MethodContract
from vtsserving._model.result_form import ResultForm
from vtsserving._model.signature import ModelSignature
from vtsserving._wire import frames, rows
from vtsserving.exceptions import InvalidArgument
from vtsserving_runner.child import executor, failures
from vtsserving_runner.child.executor import BatchExecutor
from vtsserving_runner.process.framing import now_us

pytestmark = pytest.mark.fast

BATCHABLE = ModelSignature(batchable=True)
LATER_US = 10**9


def batch(calls: list[tuple[Any, ...]], signature: ModelSignature = BATCHABLE, **more: Any) -> frames.Batch:
    axis = signature.batch_dim[0] if signature.batchable else None
    return batch_of([rows.pack_call(call, {}, every(axis)) for call in calls], **more)


class Calls:
    """A model whose predict is the given function; remembers what it was called with."""

    def __init__(self, function: Any) -> None:
        self.seen: list[Any] = []
        self._function = function

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        self.seen.append(args[0] if len(args) == 1 and not kwargs else (args, kwargs))
        return self._function(*args, **kwargs)


def runs_of(model: Any, signature: ModelSignature = BATCHABLE, **more: Any) -> BatchExecutor:
    return BatchExecutor(model, {"predict": MethodContract.of_0_1(signature)}, **more)


def answers(model: Any, work: frames.Batch, signature: ModelSignature = BATCHABLE) -> list[Any]:
    """Per entry, its value or its error code; checks that each has exactly one answer and that the last says so."""
    runs = model if isinstance(model, BatchExecutor) else runs_of(model, signature)
    return [one.code if isinstance(one, frames.Fault) else one for one in answers_of(runs, work)]


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
        (lambda x: x[1:], "0 rows for 1"),
        (lambda x: [], "0 rows for 1"),
        (lambda x: pd.DataFrame({"a": x[:, 0]}).iloc[1:], "0 rows for 1: row 0 is missing"),
        (lambda x: [object()] * len(x), "object"),
        (lambda x: x.astype(np.longdouble), "cannot be sent"),
    ],
    ids=["short", "empty", "table", "objects", "long double"],
)
def test_an_output_without_an_answer_fails_whoever_it_is_for(wrong, says):
    work = batch([(np.array([[float(i)]]),) for i in range(3)])
    faults = list(runs_of(Calls(wrong)).run(work, now_us()))
    assert [(fault.code, fault.index) for fault in faults] == [("bad_model_output", (i,)) for i in range(3)]
    assert all(says in fault.message for fault in faults)


@pytest.mark.parametrize("merges", [1, 3])
@pytest.mark.parametrize(
    "whole",
    [
        lambda x: np.vstack([x, x]),
        lambda x: x.sum(),
        lambda x: None,
        lambda x: {"a": x, "b": x[1:]},
        lambda x: {"rows": x, "mean": x.mean(axis=0), "n": len(x)},
        lambda x: x @ x.T,
        lambda x: (x, x @ x.T),
        lambda x: x.squeeze(),
        lambda x: x - x.mean(axis=0),
        lambda x: x.mean(axis=0),
        lambda x: [x.sum(axis=0)],
    ],
)
def test_outputs_that_follow_no_rows_are_what_each_call_gives_alone(whole, merges):
    model = runs_of(Calls(whole))
    for start in range(merges):
        sent = [np.array([[1.0 + i, 2.0 * i], [3.0, i * start]])[: 1 + i % 2] for i in range(4)]
        got = answers(model, batch([(x,) for x in sent]))
        for one, x in zip(got, sent, strict=True):
            np.testing.assert_equal(one, whole(x))


def test_a_list_of_outputs_is_cut_item_by_item():
    def two(x: np.ndarray[Any, Any]) -> Any:
        return [np.column_stack([x[:, 0], 1 - x[:, 0]]), np.column_stack([x[:, 1], x[:, 1] * 2, x[:, 0]])]

    model = Calls(two)
    runs = runs_of(model)
    for _ in range(3):
        sent = [np.arange(2.0 * n).reshape(n, 2) + n for n in (1, 2, 1, 3)]
        for one, x in zip(answers(runs, batch([(x,) for x in sent])), sent, strict=True):
            assert type(one) is list
            np.testing.assert_equal(one, two(x))
    assert len(model.seen) == 5 + 2  # once merged and one by one, then merged alone


def test_rows_that_lie_along_another_axis_than_declared_are_found():
    model = runs_of(Calls(lambda x: (x, np.stack([x, x * 2]))))
    for _ in range(2):
        sent = [np.arange(3.0 * n).reshape(n, 3) + n for n in (1, 2)]
        for one, x in zip(answers(model, batch([(x,) for x in sent])), sent, strict=True):
            np.testing.assert_equal(one, (x, np.stack([x, x * 2])))


def test_an_example_says_nothing_of_calls_with_an_argument_that_it_left_out():
    def centred(x: np.ndarray[Any, Any], bias: Any = 0.0) -> Any:
        return x - np.mean(bias)

    seen = replace(
        MethodContract(batchable=True, names=("x", "bias"), required=("x",)),
        result=ResultForm(0),
        result_source="example",
    )
    model = Calls(centred)
    runs = BatchExecutor(model, {"predict": seen})
    calls = [(np.full((2, 1), float(i)), np.full(2, 10.0 * i)) for i in range(4)]
    for as_keyword in (False, True, False):
        packed = [
            rows.pack_call(call[: 2 - as_keyword], {"bias": call[1]} if as_keyword else {}, seen.rule)
            for call in calls
        ]
        for one, call in zip(answers(runs, batch_of(packed)), calls, strict=True):
            np.testing.assert_equal(one, centred(*call))
    model.seen.clear()
    answers(runs, batch_of([rows.pack_call(call[:1], {}, seen.rule) for call in calls]))
    assert len(model.seen) == 1, "calls like the example are merged without a trial"


def test_one_bad_result_among_good_ones_is_found_by_bisecting():
    def some(x: np.ndarray[Any, Any]) -> Any:
        return [float(v) if v < 90 else object() for v in x[:, 0]]

    model = runs_of(Calls(some))
    calls = [np.array([[float(i)]]) for i in range(8)]
    assert answers(model, batch([(x,) for x in calls])) == [[float(i)] for i in range(8)]
    calls[5] = np.array([[99.0]])
    got = answers(model, batch([(x,) for x in calls]))
    assert got == [[float(i)] if i != 5 else "bad_model_output" for i in range(8)]


def test_a_result_that_is_too_large_for_the_wire_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "MAX_BODY_BYTES", 1_000)
    declared = replace(MethodContract.of_0_1(BATCHABLE), result=ResultForm(0))
    model = Calls(lambda x: [b"x" * int(size) for size in x[:, 0]])
    runs = BatchExecutor(model, {"predict": declared})
    merged = answers(runs, batch([(np.array([[size]]),) for size in (3, 5_000, 7)]))
    assert merged == [[b"xxx"], "result_too_large", [b"x" * 7]]
    assert len(model.seen[0]) == 3, "they were merged first"
    alone = [answers(runs, batch([(np.array([[size]]),)])) for size in (3, 5_000)]
    assert alone == [[[b"xxx"]], ["result_too_large"]]


def test_a_model_that_uses_the_memory_of_its_results_again_is_compared_rightly():
    memory = np.zeros((64, 1))

    def again(x: np.ndarray[Any, Any]) -> Any:
        memory[: len(x)] = x * 3
        return memory[: len(x)]

    model = runs_of(Calls(again))
    for _ in range(2):
        got = answers(model, batch([(np.array([[float(i)]]),) for i in range(5)]))
        assert [one.item() for one in got] == [3.0 * i for i in range(5)]


def test_a_table_in_another_order_is_put_back_unless_it_is_declared():
    def ordered(table: pd.DataFrame) -> pd.DataFrame:
        return table.sort_values("a")

    frame = pd.DataFrame({"a": [3.0, 1.0, 2.0]}, index=["x", "y", "z"])
    (got,) = answers(runs_of(Calls(ordered)), batch([(frame,)]))
    pd.testing.assert_frame_equal(got, frame)
    declared = MethodContract.declared(
        "predict", {"batchable": True, "result": {"axis": 0, "ordered": False}}
    )
    model = Calls(ordered)
    (got, other) = answers(BatchExecutor(model, {"predict": declared}), batch([(frame,), (frame * -1,)]))
    pd.testing.assert_frame_equal(got, ordered(frame))
    pd.testing.assert_frame_equal(other, ordered(frame * -1))
    assert len(model.seen) == 2


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
    # Five at most to see how results follow rows, each time that the first ones show nothing.
    assert len(model.seen) <= 6 + bad_ones * 2 * max(1, math.ceil(math.log2(len(poison))))


def test_a_raise_reports_type_and_message_and_no_traceback():
    def fail(_x: Any) -> Any:
        raise KeyError("missing")

    (fault,) = runs_of(Calls(fail)).run(batch([(np.zeros((1, 1)),)]), now_us())
    assert (fault.code, fault.message) == ("model_failed", "KeyError: 'missing'")


def test_an_error_of_ours_raised_by_a_model_keeps_its_code():
    def fail(_x: Any) -> Any:
        raise InvalidArgument("the temperature must be positive")

    (fault,) = runs_of(Calls(fail)).run(batch([(np.zeros((1, 1)),)]), now_us())
    assert (fault.code, fault.message) == ("invalid_argument", "the temperature must be positive")


def test_an_exception_whose_text_raises_is_still_an_answer():
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def fail(_x: Any) -> Any:
        raise Nasty

    (fault,) = runs_of(Calls(fail)).run(batch([(np.zeros((1, 1)),)]), now_us())
    assert fault.message == "Nasty"


def test_each_raise_is_a_sign_of_life():
    def fail(_x: Any) -> Any:
        raise ValueError

    signs: list[int] = []
    computer = runs_of(Calls(fail), alive=lambda: signs.append(1))
    list(computer.run(batch([(np.zeros((1, 1)),)] * 2), now_us()))
    assert len(signs) == 5


def test_what_expired_on_the_way_is_not_computed():
    model = Calls(lambda x: x)
    work = batch([(np.array([[float(i)]]),) for i in range(3)], remaining_us=(LATER_US, 1_000, LATER_US))
    parts = list(runs_of(model).run(work, now_us() - 2_000))
    assert [(p.index, getattr(p, "code", "")) for p in parts] == [
        ((1,), "deadline_exceeded"),
        ((0,), ""),
        ((2,), ""),
    ]
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
    computer = BatchExecutor(lambda x: x + 1, {"__call__": MethodContract.of_0_1(BATCHABLE)})
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
    monkeypatch.setattr(failures, "_told", deque(maxlen=failures.MAX_TOLD_PER_S))


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
    assert answers(Calls(lambda x: x.astype(np.longdouble)), work) == ["bad_model_output"] * 2
    named = [name for record in caplog.records for name in getattr(record, "request_ids", [])]
    assert sorted(named) == ["one", "two"]


@pytest.mark.parametrize("kinds", [b"\0\1\0", b"\0\xff\0"], ids=["shared memory", "of a later release"])
def test_a_body_of_a_kind_that_is_not_read_ends_its_entry_alone(kinds: bytes) -> None:
    model = Calls(lambda x: 2 * x)
    work = batch([(np.array([[float(i)]]),) for i in range(3)], body_kinds=kinds)
    one, refused, three = answers(model, work)
    assert (one.tolist(), refused, three.tolist()) == ([[0.0]], "unsupported_body", [[4.0]])
    assert [x.tolist() for x in model.seen] == [[[0.0], [2.0]], [[0.0]], [[2.0]]]


def test_a_model_is_not_called_where_no_body_can_be_read() -> None:
    model = Calls(lambda x: x)
    work = batch([(np.array([[1.0]]),), (np.array([[2.0]]),)], body_kinds=b"\1\1")
    assert answers(model, work) == ["unsupported_body"] * 2
    assert model.seen == []


def test_entries_without_a_batch_axis_and_with_a_body_of_another_kind() -> None:
    single = ModelSignature()
    work = batch([(1,), (2,), (3,)], single, body_kinds=b"\1\0\1")
    assert answers(Calls(lambda x: x), work, single) == ["unsupported_body", 2, "unsupported_body"]
