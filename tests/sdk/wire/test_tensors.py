from __future__ import annotations

import struct
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import wire_values
from vtsserving._wire import tensors
from vtsserving._wire.tensors import DTYPES, NUMPY, SCALAR, STR, TORCH, Spec, from_wire, pack_strings, to_wire
from vtsserving._wire.values import decode_value, encode_value
from vtsserving.exceptions import BadTensor

pytestmark = pytest.mark.fast


def test_the_list_of_dtypes_is_only_ever_appended_to() -> None:
    assert (
        "bool",
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "bfloat16", "float32", "float64", "str"),
    ) == DTYPES


def test_decoding_copies_nothing_and_gives_what_cannot_be_written() -> None:
    data = np.arange(4, dtype="f8").tobytes()
    array = from_wire(Spec(DTYPES.index("float64"), NUMPY, (2, 2)), data)
    assert np.shares_memory(array, np.frombuffer(data, "f8"))
    assert not array.flags.writeable


@given(wire_values.number_arrays(st.just((2, 3))))
def test_bytes_on_the_wire_are_row_major_and_little_endian(array: np.ndarray[Any, Any]) -> None:
    spec, data = to_wire(array)
    assert not isinstance(data, bytes)
    little = array.astype(array.dtype.newbyteorder("<"))
    assert (spec.shape, data.tobytes()) == (array.shape, little.tobytes())


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 2)])
def test_bfloat16_arrays_and_scalars_come_back_as_such(shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape)), dtype="f4").astype(ml_dtypes.bfloat16).reshape(shape)
    back = decode_value(encode_value(array))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    scalar = ml_dtypes.bfloat16(1.5)
    assert type(decode_value(encode_value(scalar))) is type(scalar)
    assert decode_value(encode_value(scalar)) == scalar


@pytest.mark.parametrize("item", ["ab\0", "\0", "\0\0a", "ab"])
def test_strings_keep_their_nuls(item: str) -> None:
    array = np.array([item, "c"], dtype=object)
    assert decode_value(encode_value(array)).tolist() == [item, "c"]


def test_numpys_own_strings_come_back_as_such() -> None:
    array = np.array([["ab", "c"], ["", "ü"]])
    assert decode_value(encode_value(array)).dtype == array.dtype


def test_one_long_string_is_not_padded_onto_all_others() -> None:
    items = ["x" * 1_000_000] + [""] * 100_000
    array = from_wire(Spec(STR, NUMPY, (len(items),)), pack_strings(items))
    assert array.dtype == object
    assert array.tolist() == items


def test_one_long_string_is_not_padded_onto_those_of_other_requests() -> None:
    parts = [np.array(["x" * 100_000]), np.array(["a"] * 10_000)]
    joined = tensors.concatenate_strings(parts, 0)
    assert joined.tolist() == [*parts[0], *parts[1]]
    assert joined.nbytes < 1_000_000


def packed(dtype: str, shape: tuple[int, ...], container: int = NUMPY, ndim: int | None = None) -> bytes:
    return struct.pack(
        f"<BBB{len(shape)}Q",
        DTYPES.index(dtype),
        container,
        len(shape) if ndim is None else ndim,
        *shape,
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(packed("int16", (2, 2)) + bytes(7), id="a byte short"),
        pytest.param(packed("int16", (2, 2)) + bytes(9), id="a byte long"),
        pytest.param(packed("int16", ()) + bytes(1), id="0-d, a byte short"),
        pytest.param(packed("float64", (2**62,)) + bytes(8), id="2**62 items"),
        pytest.param(packed("float64", (2**61, 8)), id="product of 2**64"),
        pytest.param(packed("float64", (2**63, 0)), id="a large dimension beside 0"),
        pytest.param(packed("float64", (2**40, 2**40, 0)), id="large dimensions beside 0"),
        pytest.param(packed("str", (2**62,)), id="2**62 strings"),
        pytest.param(packed("str", (2**63, 0)), id="2**63 times no strings"),
        pytest.param(packed("str", (2,)) + struct.pack("<II", 1, 1) + b"a", id="strings too short"),
        pytest.param(packed("str", (1,)) + struct.pack("<I", 1) + b"ab", id="strings too long"),
        pytest.param(packed("str", (1,)) + struct.pack("<I", 1) + b"\xff", id="no UTF-8"),
        pytest.param(packed("str", (), TORCH) + struct.pack("<I", 1) + b"a", id="torch strings"),
        pytest.param(packed("bool", (2,)) + b"\x01\x02", id="a bool of 2"),
        pytest.param(packed("bool", (1,), SCALAR) + b"\xff", id="a scalar bool of 255"),
        pytest.param(bytes((14, 0, 0)), id="unknown dtype"),
        pytest.param(bytes((255, 0, 0)), id="dtype 255"),
        pytest.param(bytes((0, 3, 0)), id="unknown container"),
        pytest.param(packed("int8", (1,) * 9) + b"\0", id="9 dimensions"),
        pytest.param(packed("int8", (1,), ndim=2) + b"\0", id="truncated shape"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\0\0", id="truncated spec"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(data: bytes) -> None:
    size = struct.pack(">I", len(data))
    with pytest.raises(BadTensor):
        decode_value(b"\xc9" + size + b"\x01" + data)


def test_eight_dimensions_are_carried() -> None:
    array = np.zeros((1,) * 8, np.int8)
    assert decode_value(encode_value(array)).shape == array.shape
