from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import wire_values
from support.call_rules import every
from vtsserving._wire.layout import layout
from vtsserving._wire.rows import (
    Packed,
    join_calls,
    join_results,
    pack_call,
    pack_whole,
    split_result,
    unpack_call,
)
from vtsserving.exceptions import BadFrame, BadModelOutput, BadShape, ProtocolError, TooDeep, UnsupportedValue

pytestmark = pytest.mark.fast

# --- what the specification says ----------------------------------------------------------------------------------


def joined(calls: list[Packed]) -> tuple[list[Any], dict[str, Any]]:
    assert len({call.head for call in calls}) == 1
    return join_calls(calls[0].head, [call.body for call in calls], [call.rows for call in calls])


def test_calls_on_dimension_0_become_the_array_that_the_specification_shows() -> None:
    calls = [pack_call((np.array(x),), {}, every(0)) for x in ([[1, 2], [3, 4]], [[5, 6]])]
    (array,), kwargs = joined(calls)
    assert (array.tolist(), array.dtype, kwargs) == ([[1, 2], [3, 4], [5, 6]], np.int64, {})


def test_calls_on_dimension_1_become_the_array_that_the_specification_shows() -> None:
    calls = [pack_call((np.array(x),), {}, every(1)) for x in ([[1, 2], [3, 4]], [[5], [6]])]
    (array,), _ = joined(calls)
    assert array.tolist() == [[1, 2, 5], [3, 4, 6]]


def test_inputs_along_axis_1_may_have_outputs_along_axis_0() -> None:
    calls = [pack_call((np.array(x),), {}, every(1)) for x in ([[1, 2], [3, 4]], [[5], [6]])]
    (array,), _ = joined(calls)
    head, bodies = split_result(array.sum(axis=0), [2, 1], 0)
    results = [join_results([Packed(head, n, body)]) for n, body in zip([2, 1], bodies, strict=True)]
    assert [result.tolist() for result in results] == [[4, 6], [11]]


# --- hypothesis: what is joined is what would have been passed at once -------------------------------------------

AXES = st.integers(0, 2)


@st.composite
def batched(draw: Any, rows: int, kind: str, axis: int, seed: int) -> Any:
    """One batched argument with `rows` rows; all of the same `kind` and `seed` share a head."""
    generator = np.random.default_rng(seed)
    tail = tuple(generator.integers(1, 3, 2))
    shape = (*tail[:axis], rows, *tail[axis:])
    if kind in wire_values.DTYPES:
        return wire_values.filled(kind, shape, draw(st.integers(0, 999)))
    if kind == "strings":
        count = int(np.prod(shape))
        items = draw(st.lists(wire_values.texts, min_size=count, max_size=count))
        array = np.empty(count, object)
        array[:] = items
        return array.reshape(shape)
    if kind == "list":
        return draw(st.lists(wire_values.scalars | wire_values.number_arrays(), min_size=rows, max_size=rows))
    frame = pd.DataFrame({"a": wire_values.filled("f4", (rows,), seed), "b": ["x"] * rows})
    return frame["b"] if kind == "series" else frame


def concatenated(parts: list[Any], axis: int) -> Any:
    if isinstance(parts[0], list):
        return list(itertools.chain(*parts))
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts, axis=axis)
    return pd.concat(parts, ignore_index=True)


def sliced(value: Any, start: int, stop: int, axis: int) -> Any:
    if isinstance(value, list):
        return value[start:stop]
    if isinstance(value, np.ndarray):
        return value[(slice(None),) * axis + (slice(start, stop),)]
    part = value.iloc[start:stop]
    return part.reset_index(drop=True)


@st.composite
def kinds_along(draw: Any, axis: int) -> list[str]:
    return draw(
        st.lists(
            st.sampled_from(
                [*wire_values.DTYPES, "strings"] + (["list", "frame", "series"] if axis == 0 else [])
            ),
            min_size=1,
            max_size=3,
        )
    )


def structured(leaves: list[Any], fixed: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call with batched values at several places and an argument that is not batched."""
    return (leaves[0], fixed), {"rest": {"in a dict": tuple(leaves[1:])}, "fixed": {"value": fixed}}


@st.composite
def requests(draw: Any) -> Any:
    """(axis, rows of k requests, the batched values of each, an argument that they have in common)."""
    axis = draw(AXES)
    kinds = draw(kinds_along(axis))
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    leaves = [[draw(batched(count, kind, axis, seed)) for seed, kind in enumerate(kinds)] for count in counts]
    return axis, counts, leaves, draw(wire_values.scalars)


@given(requests())
def test_joined_calls_are_the_concatenation_of_their_arguments(drawn: Any) -> None:
    axis, counts, leaves, fixed = drawn
    calls = [pack_call(*structured(values, fixed), every(axis)) for values in leaves]
    assert [call.rows for call in calls] == counts
    # Lists of one type travel as tensors, so that those of another type are of another group.
    alike = [i for i, call in enumerate(calls) if call.head == calls[0].head]
    calls, leaves = [calls[i] for i in alike], [leaves[i] for i in alike]
    args, kwargs = joined(calls)
    expected = structured([concatenated(list(parts), axis) for parts in zip(*leaves, strict=True)], fixed)
    assert wire_values.is_same((tuple(args), kwargs), expected)


@given(requests())
def test_a_large_call_that_is_cut_and_joined_is_itself(drawn: Any) -> None:
    axis, counts, leaves, fixed = drawn
    whole = [concatenated(list(parts), axis) for parts in zip(*leaves, strict=True)]
    call = pack_call(*structured(whole, fixed), every(axis))
    pieces = [
        Packed(call.head, count, body)
        for count, body in zip(counts, layout(call.head).cut(call.body, call.rows, counts), strict=True)
    ]
    for piece, values in zip(pieces, leaves, strict=True):
        args, kwargs = unpack_call(piece)
        assert wire_values.is_same((tuple(args), kwargs), structured(values, fixed))
    args, kwargs = joined(pieces)
    assert wire_values.is_same((tuple(args), kwargs), structured(whole, fixed))


@given(requests())
def test_each_part_of_a_result_has_its_own_rows_and_all_parts_are_the_result(drawn: Any) -> None:
    axis, counts, leaves, fixed = drawn
    whole = [concatenated(list(parts), axis) for parts in zip(*leaves, strict=True)]
    result = whole[0] if len(whole) == 1 else {"a": whole[0], "rest": (*whole[1:], fixed)}
    head, bodies = split_result(result, counts, axis)
    parts = [Packed(head, count, bytes(body)) for count, body in zip(counts, bodies, strict=True)]
    start = 0
    for part in parts:
        values = [sliced(value, start, start + part.rows, axis) for value in whole]
        expected = values[0] if len(whole) == 1 else {"a": values[0], "rest": (*values[1:], fixed)}
        assert wire_values.is_same(join_results([part]), expected)
        start += part.rows
    assert wire_values.is_same(join_results(parts), result)


# --- the usual cases, by hand -----------------------------------------------------------------------------------


def test_one_array_on_axis_0_has_its_bytes_for_a_body() -> None:
    array = np.arange(6, dtype="f4").reshape(3, 2)
    assert pack_call((array,), {}, every(0)).body == array.tobytes()


def test_a_batch_that_was_joined_may_be_written_to() -> None:
    calls = [pack_call((np.zeros((1, 2)),), {}, every(0))] * 2
    (array,), _ = joined(calls)
    array[0] = 1
    assert array.tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param((np.zeros((1, 2)),), (np.zeros((1, 3)),), id="another dimension"),
        pytest.param((np.zeros((1, 2)),), (np.zeros((1, 2), "f4"),), id="another dtype"),
        pytest.param((np.zeros((1, 2)),), (np.zeros((1, 2, 1)),), id="another number of dimensions"),
        pytest.param((np.zeros((1, 2)),), ([[0.0, 0.0]],), id="a list"),
        pytest.param((np.zeros((1, 2)), 1), (np.zeros((1, 2)), 2), id="another fixed argument"),
        pytest.param((np.zeros((1, 2)), 1), (np.zeros((1, 2)), 1.0), id="a float for an int"),
        pytest.param((np.zeros((1, 2)), 0.0), (np.zeros((1, 2)), -0.0), id="negative zero"),
        pytest.param((np.zeros(1), np.zeros(())), (np.zeros(1), np.ones(())), id="another scalar"),
        pytest.param((pd.DataFrame({"a": [1]}),), (pd.DataFrame({"b": [1]}),), id="another column"),
        pytest.param((pd.DataFrame({"a": [1]}),), (pd.DataFrame({"a": [1.0]}),), id="another column dtype"),
        pytest.param((pd.DataFrame({"a": [1]}),), (pd.Series([1], name="a"),), id="a series"),
        pytest.param(({"a": [1]},), ({"b": [1]},), id="another key"),
    ],
)
def test_calls_that_differ_in_more_than_their_rows_do_not_share_a_head(one: Any, other: Any) -> None:
    assert pack_call(one, {}, every(0)).head != pack_call(other, {}, every(0)).head


def test_what_differs_in_rows_values_strides_and_byte_order_shares_a_head() -> None:
    arrays = [
        np.zeros((1, 2)),
        np.ones((3, 2)),
        np.asfortranarray(np.ones((3, 2))),
        np.ones((2, 2), ">f8"),
        np.ones((6, 4))[::2, ::2],
        np.ones((1, 2)).view(type("A", (np.ndarray,), {})),
    ]
    assert len({pack_call((array,), {}, every(0)).head for array in arrays}) == 1


def test_strings_stay_objects_or_numpys_own_and_do_not_share_a_head() -> None:
    ours, theirs = np.array(["a\0", "b"], dtype=object), np.array(["abc"])
    packed = pack_call((ours,), {}, every(0))
    assert packed.head != pack_call((theirs,), {}, every(0)).head
    (got,), _ = unpack_call(packed)
    assert (got.dtype, got.tolist()) == (np.dtype(object), ["a\0", "b"])


@pytest.mark.parametrize(
    ("args", "axis", "reason"),
    [
        pytest.param((np.zeros((0, 2)),), 0, "0 rows; at least one", id="no rows"),
        pytest.param((np.zeros(2),), 1, "argument 1 has 1 dimension to batch on", id="no axis 1"),
        pytest.param(([1],), 1, "argument 1 has 1 dimension to batch on", id="a list has no axis 1"),
    ],
)
def test_arguments_without_rows_in_common_are_refused_by_name(args: Any, axis: int, reason: str) -> None:
    with pytest.raises(BadShape, match=reason):
        pack_call(args, {}, every(axis))


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(([],), id="no items"),
        pytest.param((np.zeros((2, 1)), np.zeros((3, 1))), id="rows differ"),
        pytest.param((np.zeros(2), {"a": [1]}), id="rows differ inside"),
    ],
)
def test_calls_without_rows_in_common_are_not_merged(args: Any) -> None:
    packed = pack_call(args, {}, every(0))
    assert (packed.head, packed.rows) == (b"", 0)
    assert wire_values.is_same(unpack_call(packed), (list(args), {}))


@pytest.mark.parametrize(
    ("args", "error"),
    [
        pytest.param(([1], object()), UnsupportedValue, id="object"),
        pytest.param(([object()],), UnsupportedValue, id="object in a list"),
        pytest.param(([1], 2**70), UnsupportedValue, id="large fixed int"),
        pytest.param(([2**70],), UnsupportedValue, id="large int"),
        pytest.param(([1], "\ud800"), UnsupportedValue, id="surrogate"),
        pytest.param((np.zeros((1,) * 9),), UnsupportedValue, id="9 dimensions"),
        pytest.param(([None] * 100_000,), UnsupportedValue, id="too many objects"),
    ],
)
def test_arguments_that_cannot_be_sent_are_refused(args: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        pack_call(args, {}, every(0))


@pytest.mark.parametrize(
    "wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}], ids=["list", "tuple", "dict"]
)
def test_arguments_that_nest_without_end_are_refused(wrap: Any) -> None:
    value: Any = 1
    for _ in range(5_000):
        value = wrap(value)
    with pytest.raises(TooDeep):
        pack_call((value,), {}, every(0))


def test_a_call_without_batched_arguments_is_packed_whole() -> None:
    packed = pack_call((1, "a"), {"k": 2.5}, every(0))
    assert (packed.head, packed.rows) == (b"", 0)
    assert unpack_call(packed) == ([1, "a"], {"k": 2.5})


def test_a_method_without_a_batch_axis_gets_its_arguments_whole() -> None:
    packed = pack_call((np.zeros((2, 2)), [1]), {}, every(None))
    assert (packed.head, packed.rows) == (b"", 0)
    assert wire_values.is_same(unpack_call(packed), ([np.zeros((2, 2)), [1]], {}))


# --- results ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(np.zeros(2), id="too few"),
        pytest.param(np.zeros(4), id="too many"),
        pytest.param(np.zeros(()), id="0-d"),
        pytest.param(np.zeros((2, 3)), id="transposed"),
        pytest.param([1, 2], id="a short list"),
        pytest.param((np.zeros(3), np.zeros(2)), id="parts that differ"),
        pytest.param(pd.DataFrame({"a": [1]}), id="a short table"),
        pytest.param(None, id="None"),
        pytest.param(1.5, id="a number"),
        pytest.param("abc", id="a string"),
        pytest.param({}, id="an empty dict"),
    ],
)
def test_a_result_with_other_rows_than_the_batch_is_refused(result: Any) -> None:
    with pytest.raises(BadModelOutput):
        split_result(result, [1, 2], 0)


def test_rows_that_were_only_numbered_are_numbered_anew_for_each_caller() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]})
    head, bodies = split_result(frame, [1, 2], 0)
    second = join_results([Packed(head, 2, bodies[1])])
    pd.testing.assert_frame_equal(second, pd.DataFrame({"a": [2, 3]}))


def test_rows_with_an_index_of_their_own_keep_it() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3]}, index=["x", "y", "z"])
    head, bodies = split_result(frame, [1, 2], 0)
    assert join_results([Packed(head, 2, bodies[1])]).index.tolist() == ["y", "z"]


def test_parts_whose_dtypes_differ_are_joined_by_numpys_own_rule() -> None:
    parts = []
    for result in (np.array([1, 2]), np.array([2.5])):
        head, bodies = split_result(result, [len(result)], 0)
        parts.append(Packed(head, len(result), bodies[0]))
    assert join_results(parts).tolist() == [1.0, 2.0, 2.5]


def test_parts_that_do_not_fit_each_other_are_a_bad_output() -> None:
    parts = []
    for result in (np.zeros((1, 2)), np.zeros((1, 3))):
        head, bodies = split_result(result, [1], 0)
        parts.append(Packed(head, 1, bodies[0]))
    with pytest.raises(BadModelOutput):
        join_results(parts)
    listed, bodies = split_result([1], [1], 0)
    with pytest.raises(BadModelOutput):
        join_results([parts[0], Packed(listed, 1, bodies[0])])


def test_a_result_without_a_batch_axis_comes_back_whole() -> None:
    assert join_results([pack_whole({"a": (1, None)})]) == {"a": (1, None)}


# --- peers that break the protocol --------------------------------------------------------------------------------


def test_a_body_of_a_wrong_size_cannot_shift_the_rows_of_the_next() -> None:
    call = pack_call((np.zeros((1, 2)),), {}, every(0))
    with pytest.raises(BadFrame):
        join_calls(call.head, [bytes(8), bytes(24)], [1, 1])


GOOD = {
    "array": pack_call((np.zeros((2, 3), "f4"),), {}, every(0)),
    "axis 1": pack_call((np.zeros((2, 3), "f4"),), {}, every(1)),
    "list": pack_call(([1, "a"],), {}, every(0)),
    "strings": pack_call((np.array(["ab", "c"]),), {}, every(0)),
    "frame": pack_call((pd.DataFrame({"a": [1, 2]}),), {}, every(0)),
    "series": pack_call((pd.Series([1, 2]),), {}, every(0)),
    "several": pack_call((np.zeros((2, 3)), {"a": [1, 2]}), {"k": (np.array(["a", "b"]), 7)}, every(0)),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("change", [-1, 1], ids=["a byte short", "a byte long"])
def test_a_body_that_does_not_fit_its_head_is_refused(name: str, change: int) -> None:
    call = GOOD[name]
    body = call.body[:change] if change < 0 else bytes(call.body) + b"x"
    with pytest.raises(ProtocolError):
        join_calls(call.head, [body], [call.rows])
    with pytest.raises(ProtocolError):
        list(layout(call.head).cut(body, call.rows, [1, call.rows - 1]))


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("rows", [0, 1, 4, 2**31])
def test_a_body_with_other_rows_than_it_says_is_refused(name: str, rows: int) -> None:
    with pytest.raises(ProtocolError):
        join_calls(GOOD[name].head, [GOOD[name].body], [rows])


@pytest.mark.parametrize("head", sorted(set(GOOD) - {"axis 1"}))
@pytest.mark.parametrize("body", sorted(set(GOOD) - {"axis 1"}))
def test_a_head_of_one_call_with_the_body_of_another_is_refused(head: str, body: str) -> None:
    if head != body:
        with pytest.raises(ProtocolError):
            join_calls(GOOD[head].head, [GOOD[body].body], [2])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\x90", id="empty list"),
        pytest.param(b"\x92\x90\x90", id="two lists"),
        pytest.param(b"\x93\x90\x80\x80", id="three"),
        pytest.param(b"\x80", id="a dict"),
        pytest.param(b"\xc0", id="nil"),
        pytest.param(b"\x92\xd4\x02\x90\x80", id="a tuple of arguments"),
    ],
)
def test_what_is_no_call_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        join_calls(b"", [body], [0])


def test_large_heads_are_not_kept() -> None:
    for i in range(600):
        call = pack_call((np.zeros((1, 2)), "x" * 10_000 + str(i)), {}, every(0))
        unpack_call(call)
    assert layout(call.head) is not layout(call.head)
    small = pack_call((np.zeros((1, 2)),), {}, every(0))
    assert layout(small.head) is layout(small.head)
