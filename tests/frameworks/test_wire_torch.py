from __future__ import annotations

from typing import Any

import pytest

from support.call_rules import every
from vtsserving._wire.layout import layout
from vtsserving._wire.rows import Packed, join_calls, join_results, pack_call, split_result
from vtsserving._wire.values import decode_value, encode_value

pytestmark = pytest.mark.frameworks("torch")

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "float16", "bfloat16", "float32", "float64")


def tensor(dtype: str, *shape: int) -> Any:
    import torch

    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(getattr(torch, dtype))


def is_same(one: Any, other: Any) -> bool:
    import torch

    return type(one) is type(other) and one.dtype == other.dtype and torch.equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (2, 3)])
def test_a_tensor_comes_back_as_a_tensor(dtype: str, shape: tuple[int, ...]) -> None:
    value = tensor(dtype, *shape)
    assert is_same(decode_value(encode_value(value)), value)


def test_a_tensor_that_is_transposed_or_has_a_gradient_comes_back_as_its_values() -> None:
    value = tensor("float32", 2, 3).requires_grad_().t()
    back = decode_value(encode_value({"x": (value,)}))["x"][0]
    assert is_same(back, value.detach())
    assert not back.requires_grad


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("axis", [0, 1])
def test_calls_are_joined_and_cut_along_the_axis(dtype: str, axis: int) -> None:
    import torch

    parts = [tensor(dtype, 2, 2), tensor(dtype, *((1, 2) if axis == 0 else (2, 1)))]
    calls = [pack_call((part,), {}, every(axis)) for part in parts]
    assert calls[0].head == calls[1].head
    (joined,), _ = join_calls(calls[0].head, [call.body for call in calls], [2, 1])
    assert is_same(joined, torch.cat(parts, dim=axis))
    whole = pack_call((joined,), {}, every(axis))
    assert list(layout(whole.head).cut(whole.body, 3, [2, 1])) == [bytes(call.body) for call in calls]


def test_each_caller_gets_its_rows_as_a_tensor() -> None:
    result = tensor("bfloat16", 3, 2)
    head, bodies = split_result(result, [1, 2], 0)
    parts = [Packed(head, rows, body) for rows, body in zip([1, 2], bodies, strict=True)]
    assert is_same(join_results(parts[1:]), result[1:])
    assert is_same(join_results(parts), result)
