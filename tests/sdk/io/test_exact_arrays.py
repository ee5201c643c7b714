"""An array goes to a function as it was sent, in each form, or is refused in each form."""

from __future__ import annotations

import io
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vtsserving._wire.values import encode_value
from vtsserving.exceptions import BadModelOutput, InvalidArgument, VtsServingException
from vtsserving.io import NumpyNdarray
from vtsserving.io.base import Body

pytestmark = pytest.mark.fast

JSON_TYPE, NPY, MSGPACK = "application/json", "application/x-npy", "application/msgpack"


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def forms(values: list[Any], dtype: str) -> dict[str, tuple[str, bytes]]:
    """The same values as every form has them, from a client that has them in `dtype`."""
    import orjson

    array = np.array(values, dtype)
    return {
        "JSON": (JSON_TYPE, orjson.dumps(array.tolist())),
        "npy": (NPY, npy(array)),
        "msgpack array": (MSGPACK, encode_value(array, "x")),
        "msgpack list": (MSGPACK, msgpack.packb(array.tolist())),
    }


def read(descriptor: NumpyNdarray, media_type: str, data: bytes) -> Any:
    body = Body(data, media_type)
    descriptor.check_media_type(body)
    return descriptor.read(body)


@pytest.mark.parametrize(
    ("wanted", "sent", "values"),
    [
        ("int8", "int64", [300, -200]),
        ("int8", "int16", [128]),
        ("uint8", "int64", [-1]),
        ("uint64", "int64", [-1]),
        ("int32", "uint32", [2**31]),
        ("int64", "uint64", [2**63]),
        ("float32", "int64", [2**24 + 1]),
        ("float64", "int64", [2**53 + 1]),
        ("float64", "uint64", [2**64 - 1]),
        ("float16", "int32", [2049]),
        ("float16", "int32", [70_000]),
        ("float32", "float64", [1e300]),
        ("float16", "float32", [1e6, 1.0]),
    ],
)
def test_a_number_that_the_dtype_cannot_hold_is_422_in_every_form(
    wanted: str, sent: str, values: list[Any]
) -> None:
    for form, (media_type, data) in forms(values, sent).items():
        with pytest.raises(VtsServingException) as caught:
            read(NumpyNdarray(dtype=wanted), media_type, data)
        assert caught.value.status == 422 or values[0] >= 2**63, form
        assert 400 <= caught.value.status < 500
        if media_type != JSON_TYPE or values[0] < 2**63:
            assert (caught.value.code, form) == ("out_of_range", form)


@pytest.mark.parametrize(
    ("wanted", "sent", "values"),
    [
        ("int8", "int64", [127, -128]),
        ("uint8", "int64", [0, 255]),
        ("int64", "uint8", [255]),
        ("float32", "int64", [2**24, 2**25, -(2**60)]),
        ("float64", "int64", [2**53, 2**60]),
        ("float32", "float64", [0.1, -2.5, 3e38]),
        ("float64", "float32", [0.5]),
    ],
)
def test_what_the_dtype_holds_arrives_in_every_form(wanted: str, sent: str, values: list[Any]) -> None:
    for form, (media_type, data) in forms(values, sent).items():
        array = read(NumpyNdarray(dtype=wanted), media_type, data)
        assert (array.dtype, array.tolist()) == (wanted, np.array(values, wanted).tolist()), form


@given(
    sent=arrays.arrays(
        st.sampled_from([np.dtype(one) for one in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")]),
        st.integers(1, 6),
    ),
    wanted=st.sampled_from(["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]),
)
def test_whole_numbers_arrive_exactly_or_not_at_all(sent: Any, wanted: str) -> None:
    outcomes = set()
    for media_type, data in forms(sent.tolist(), sent.dtype.name).values():
        try:
            array = read(NumpyNdarray(dtype=wanted), media_type, data)
        except VtsServingException as error:
            assert 400 <= error.status < 500
            outcomes.add("refused")
        else:
            assert array.dtype == wanted
            assert [int(item) for item in array.tolist()] == sent.tolist()
            outcomes.add("read")
    if sent.max() < 2**63:  # above, JSON is read into uint64 alone
        assert len(outcomes) == 1


def test_mixed_json_keeps_whole_numbers_or_refuses_them() -> None:
    for dtype in (None, "float64"):
        with pytest.raises(VtsServingException, match=r"9007199254740993 \(item 1"):
            read(NumpyNdarray(dtype=dtype), JSON_TYPE, b"[0.5, 9007199254740993]")
        assert read(NumpyNdarray(dtype=dtype), JSON_TYPE, b"[0.5, 1e300]").tolist() == [0.5, 1e300]
    many = b"[0.5, 9007199254740993" + b", 0.25" * 200 + b"]"
    with pytest.raises(VtsServingException, match="9007199254740993"):
        read(NumpyNdarray(), JSON_TYPE, many)


def test_text_is_never_cut() -> None:
    for descriptor in (NumpyNdarray(dtype="U2"), NumpyNdarray.from_sample(np.array(["ab", "c"]))):
        for form, (media_type, data) in forms(["much longer", "x"], "U11").items():
            assert read(descriptor, media_type, data).tolist() == ["much longer", "x"], form
        assert descriptor.write(np.array(["other lengths"])).data == b'["other lengths"]'
        for wrong in ([1, 2], [True]):
            for media_type, data in forms(wrong, np.array(wrong).dtype.name).values():
                with pytest.raises(VtsServingException) as caught:
                    read(descriptor, media_type, data)
                assert caught.value.status == 422
    for result in (np.array(["ab", "c"], object), ["ab", "c"], np.array(["ab", "c"])):
        for accept in (NPY, MSGPACK, JSON_TYPE):
            content = NumpyNdarray().write_as(result, accept)
            assert read(NumpyNdarray(), content.media_type, content.data).tolist() == ["ab", "c"]
    texts = NumpyNdarray.from_sample(np.array(["ab", "c"], dtype=object))
    assert read(texts, JSON_TYPE, b'["longer than two"]').tolist() == ["longer than two"]


def test_a_sample_gives_its_dtype_and_what_no_form_holds_is_no_sample() -> None:
    whole = NumpyNdarray.from_sample(np.array([1, 2], "int16"))
    assert read(whole, JSON_TYPE, b"[7]").dtype == read(whole, MSGPACK, msgpack.packb([7])).dtype == "int16"
    with pytest.raises(BadModelOutput, match="float64, not int16"):
        whole.write(np.array([1.5]))
    for sample in (np.array([{}], object), np.array([1j]), np.zeros(1, [("a", "i4")])):
        with pytest.raises(InvalidArgument, match="numbers, booleans or text"):
            NumpyNdarray.from_sample(sample)


def test_msgpack_is_read_and_written_where_it_is_asked_for() -> None:
    descriptor = NumpyNdarray(dtype="float32")
    content = descriptor.write_as(np.ones((2, 2), np.float32), MSGPACK)
    assert content.media_type == MSGPACK
    assert read(descriptor, MSGPACK, content.data).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert descriptor.write_as(np.ones(1), "*/*").media_type == JSON_TYPE


@pytest.mark.parametrize("dtype", [None, "float32", "int8", "U"])
@pytest.mark.parametrize(
    "value",
    [{"a": 1}, [[1], [2, 3]], ["a", 1], None, [[1], b"x"], b"x", [b"x"], [None, "a"], [[1.5], {"a": 2}]],
)
def test_msgpack_that_is_no_array_is_refused(value: Any, dtype: Any) -> None:
    with pytest.raises(VtsServingException) as caught:
        read(NumpyNdarray(dtype=dtype), MSGPACK, msgpack.packb(value))
    assert 400 <= caught.value.status < 500


@pytest.mark.parametrize("dtype", ["int8", "U"])
def test_a_missing_value_is_none_of_whole_numbers_or_texts(dtype: str) -> None:
    with pytest.raises(VtsServingException):
        read(NumpyNdarray(dtype=dtype), MSGPACK, msgpack.packb([None]))
    assert np.isnan(read(NumpyNdarray(dtype="float32"), MSGPACK, msgpack.packb([None]))).all()


@pytest.mark.parametrize("data", [b"\xc1", b"", msgpack.packb([1.5, 2.5])[:-1], b"\x91" * 600 + b"\x01"])
def test_what_is_not_msgpack_is_refused(data: bytes) -> None:
    for dtype in (None, "float32"):
        with pytest.raises(VtsServingException) as caught:
            read(NumpyNdarray(dtype=dtype), MSGPACK, data)
        assert 400 <= caught.value.status < 500
