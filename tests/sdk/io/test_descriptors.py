"""Each descriptor reads good bodies, refuses bad ones with the documented code, and writes what comes back."""

from __future__ import annotations

import datetime
import io
import json
import sys
from typing import Any

import numpy as np
import pandas as pd
import pydantic
import pytest
from PIL import Image as PilImage

from vtsserving.exceptions import BadModelOutput, InvalidArgument, MissingDependency, VtsServingException
from vtsserving.io import (
    JSON,
    File,
    Image,
    IODescriptor,
    Multipart,
    NumpyNdarray,
    PandasDataFrame,
    PandasSeries,
    Text,
)
from vtsserving.io.base import Body
from vtsserving.io.specs import from_spec

pytestmark = pytest.mark.fast


class Iris(pydantic.BaseModel):
    sepal: float
    petal: float = 1.0


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def png(mode: str = "RGB", size: tuple[int, int] = (4, 3)) -> bytes:
    file = io.BytesIO()
    PilImage.new(mode, size).save(file, format="PNG")
    return file.getvalue()


def read(descriptor: IODescriptor, data: bytes | str, media_type: str = "", boundary: str = "") -> Any:
    body = Body(data.encode() if isinstance(data, str) else data, media_type, "", boundary)
    descriptor.check_media_type(body)
    return descriptor.read(body)


@pytest.mark.parametrize(
    ("descriptor", "data", "media_type", "expected"),
    [
        (NumpyNdarray(), "[[1, 2.5]]", "", [[1.0, 2.5]]),
        (NumpyNdarray(dtype="int8"), "[1, 2]", "application/json", [1, 2]),
        (NumpyNdarray(shape=(-1, 2)), "[1, 2, 3, 4]", "", [[1, 2], [3, 4]]),
        (NumpyNdarray(), npy(np.eye(2, dtype=np.float32)), "application/x-npy", [[1, 0], [0, 1]]),
        (NumpyNdarray(dtype="float64"), npy(np.ones(2, np.float32)), "application/x-npy", [1, 1]),
        (PandasSeries(dtype="float64"), "[1, 2]", "", [1.0, 2.0]),
        (PandasSeries(orient="index"), '{"a": 1}', "", [1]),
    ],
)
def test_arrays_and_series_are_read(
    descriptor: IODescriptor, data: Any, media_type: str, expected: Any
) -> None:
    value = read(descriptor, data, media_type)
    assert np.asarray(value).tolist() == expected


@pytest.mark.parametrize(
    ("descriptor", "data", "media_type", "code"),
    [
        (NumpyNdarray(), "[[1, 2", "", "bad_json"),
        (NumpyNdarray(), "", "", "bad_input"),
        (NumpyNdarray(), '{"a": 1}', "", "bad_input"),
        (NumpyNdarray(), "[[1], [2, 3]]", "", "ragged"),
        (NumpyNdarray(dtype="uint8"), "[300]", "", "out_of_range"),
        (NumpyNdarray(dtype="float32"), '["x"]', "", "wrong_type"),
        (NumpyNdarray(shape=(-1, 4), enforce_shape=True), "[[1, 2]]", "", "bad_shape"),
        (NumpyNdarray(shape=(3, 3)), "[1, 2]", "", "bad_shape"),
        (NumpyNdarray(dtype="int8"), npy(np.ones(2)), "application/x-npy", "bad_dtype"),
        (NumpyNdarray(), npy(np.array([{}], dtype=object)), "application/x-npy", "bad_dtype"),
        (NumpyNdarray(), npy(np.ones(9))[:-4], "application/x-npy", "bad_shape"),
        (NumpyNdarray(), "[1]", "text/csv", "unsupported_media_type"),
        (JSON(), "{", "", "bad_json"),
        (JSON(), '{"a": 1, "a": 2}', "", "duplicate_key"),
        (JSON(pydantic_model=Iris), '{"petal": 2}', "", "wrong_type"),
        (Text(), b"\xff", "", "bad_encoding"),
        (Image(), b"no image", "image/png", "bad_input"),
        (Image(), png()[:40], "image/png", "bad_input"),
        (Image(), png(size=(9000, 9000)), "image/png", "too_large"),
        (Image(allowed_mime_types=["image/jpeg"]), png(), "image/png", "unsupported_media_type"),
        (PandasDataFrame(), "[1, 2", "", "bad_json"),
        (PandasDataFrame(columns=["a"]), '[{"b": 1}]', "", "bad_shape"),
        (PandasDataFrame(dtype="int64", enforce_dtype=True), '[{"a": "x"}]', "", "bad_dtype"),
        (PandasDataFrame(shape=(-1, 2), enforce_shape=True), '[{"a": 1}]', "", "bad_shape"),
        (PandasSeries(), '{"a": 1}', "", "bad_input"),
        (PandasSeries(orient="index"), '"a"', "", "bad_input"),
        (PandasSeries(orient="split"), '{"index": [1]}', "", "bad_input"),
        (PandasSeries(orient="split"), "[1]", "", "bad_input"),
        (PandasDataFrame(), "[1, 2]", "", "bad_input"),
        (PandasDataFrame(), '[{"a": 1}, null]', "", "bad_input"),
        (PandasDataFrame(orient="values"), '[{"a": 1}]', "", "bad_input"),
        (PandasDataFrame(orient="split"), '{"columns": ["a"]}', "", "bad_input"),
        (PandasDataFrame(orient="split"), "[]", "", "bad_input"),
        (PandasDataFrame(orient="columns"), '{"a": 1}', "", "bad_input"),
        (PandasDataFrame(orient="index"), "[[1]]", "", "bad_input"),
        (PandasSeries(dtype="int64", enforce_dtype=True), '["x"]', "", "bad_dtype"),
    ],
)
def test_bad_bodies_are_refused_with_their_code(
    descriptor: IODescriptor, data: Any, media_type: str, code: str
) -> None:
    with pytest.raises(VtsServingException) as caught:
        read(descriptor, data, media_type)
    assert caught.value.code == code
    assert 400 <= caught.value.status < 500


def test_numpy_never_unpickles() -> None:
    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("a pickle of the client's ran",))

    array = np.empty(1, object)
    array[0] = Canary()
    with pytest.raises(VtsServingException):
        read(NumpyNdarray(), npy(array), "application/x-npy")


def test_numpy_writes_lists_and_refuses_what_it_was_told_to() -> None:
    assert NumpyNdarray().write(np.array([[1, 2]])).data == b"[[1,2]]"
    assert NumpyNdarray().write([1.5, float("nan")]).data == b"[1.5,null]"
    with pytest.raises(BadModelOutput):
        NumpyNdarray(dtype="int64", enforce_dtype=True).write(np.ones(2))
    with pytest.raises(BadModelOutput):
        NumpyNdarray(shape=(2,), enforce_shape=True).write(np.ones(3))


def test_json_gives_the_pydantic_object_and_writes_one() -> None:
    descriptor = JSON(pydantic_model=Iris)
    assert read(descriptor, '{"sepal": 2}') == Iris(sepal=2.0)
    assert json.loads(descriptor.write(Iris(sepal=1.0)).data) == {"sepal": 1.0, "petal": 1.0}
    assert read(JSON(pydantic_model=Iris, validate_json=False), '{"x": 1}') == {"x": 1}
    assert json.loads(JSON().write({"a": np.arange(2)}).data) == {"a": [0, 1]}


def test_json_answers_as_its_model_says_or_not_at_all() -> None:
    class Aliased(pydantic.BaseModel):
        length: float = pydantic.Field(alias="len")

    assert json.loads(JSON().write([Iris(sepal=1), {"one": Iris(sepal=2)}]).data) == [
        {"sepal": 1.0, "petal": 1.0},
        {"one": {"sepal": 2.0, "petal": 1.0}},
    ]
    descriptor = JSON(pydantic_model=Iris)
    assert json.loads(descriptor.write({"sepal": np.float32(2)}).data) == {"sepal": 2.0, "petal": 1.0}
    with pytest.raises(BadModelOutput, match="no Iris: sepal: Field required"):
        descriptor.write({"petal": 1})
    assert json.loads(JSON(pydantic_model=Iris, validate_json=False).write({"petal": 1}).data) == {"petal": 1}
    aliased = JSON(pydantic_model=Aliased)
    assert json.loads(aliased.write(read(aliased, '{"len": 2}')).data) == {"len": 2.0}


def test_a_strict_model_reads_what_json_can_say() -> None:
    class Seen(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(strict=True)
        day: datetime.date
        places: tuple[int, ...]

    value = read(JSON(pydantic_model=Seen), '{"day": "2026-01-02", "places": [1, 2]}')
    assert (value.day, value.places) == (datetime.date(2026, 1, 2), (1, 2))
    with pytest.raises(VtsServingException):
        read(JSON(pydantic_model=Seen), '{"day": 0, "places": [1, 2]}')


def test_every_place_that_does_not_fit_the_model_is_named() -> None:
    class Bed(pydantic.BaseModel):
        flowers: list[Iris]

    bad = json.dumps({"flowers": [{"sepal": "x"}] * 7})
    with pytest.raises(VtsServingException) as caught:
        read(JSON(pydantic_model=Bed), bad)
    for place in ("flowers.0.sepal", "flowers.4.sepal", "and 2 more"):
        assert place in caught.value.message
    assert "flowers.5" not in caught.value.message


@pytest.mark.parametrize("media_type", ["", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_an_image_needs_no_media_type(media_type: str) -> None:
    assert read(Image(), png(), media_type).size == (4, 3)
    with pytest.raises(VtsServingException) as caught:
        read(Image(), "no image", media_type)
    assert caught.value.code == "bad_input"
    assert "0x" not in caught.value.message  # an address in memory
    assert "image/png" in caught.value.message


def test_an_image_of_a_type_that_is_not_read_does_not_slip_in_without_its_name() -> None:
    with pytest.raises(VtsServingException) as caught:
        read(Image(allowed_mime_types=["image/jpeg"]), png(), "application/octet-stream")
    assert caught.value.code == "bad_input"


def form(*parts: tuple[str, str, bytes]) -> bytes:
    pieces = [
        f'--b\r\ncontent-disposition: form-data; name="{name}"; filename="f"\r\n'.encode()
        + (f"content-type: {media_type}\r\n".encode() if media_type else b"")
        + b"\r\n"
        + data
        + b"\r\n"
        for name, media_type, data in parts
    ]
    return b"".join([*pieces, b"--b--\r\n"])


def test_a_form_with_one_file_is_the_file() -> None:
    whole = form(("any", "image/png", png()))
    assert read(Image(), whole, "multipart/form-data", "b").size == (4, 3)
    assert read(File(kind="bytes"), form(("any", "", b"\x00")), "multipart/form-data", "b") == b"\x00"
    assert read(File(), whole, "multipart/form-data", "b").name == "f"


@pytest.mark.parametrize(
    ("descriptor", "body", "code"),
    [
        (Image(), form(("a", "image/png", png()), ("b", "image/png", png())), "bad_input"),
        (Image(), form(("a", "text/csv", b"1")), "unsupported_media_type"),
        (File(mime_type="application/pdf"), form(("a", "text/csv", b"1")), "unsupported_media_type"),
        (File(), b"--b--", "bad_input"),
    ],
)
def test_a_form_that_is_no_single_file_is_refused(descriptor: IODescriptor, body: bytes, code: str) -> None:
    with pytest.raises(VtsServingException) as caught:
        read(descriptor, body, "multipart/form-data", "b")
    assert caught.value.code == code


def test_parts_of_a_type_that_the_client_does_not_know_are_recognised() -> None:
    descriptor = Multipart(rows=NumpyNdarray(), table=PandasDataFrame(default_format="csv"), image=Image())
    octets = "application/octet-stream"
    for rows in (b"[[1, 2]]", npy(np.array([[1, 2]]))):
        body = form(("rows", octets, rows), ("table", octets, b"a\n1\n"), ("image", octets, png()))
        values = read(descriptor, body, "multipart/form-data", "b")
        assert values["rows"].tolist() == [[1, 2]]
        assert values["table"].to_dict("records") == [{"a": 1}]
        assert values["image"].size == (4, 3)


@pytest.mark.parametrize(
    "rows", [("", b"[[1,"), ("text/csv", b"1"), ("", b""), ("application/x-npy", npy(np.ones(3))[:-1])]
)
def test_an_error_in_a_part_names_it(rows: tuple[str, bytes]) -> None:
    with pytest.raises(VtsServingException, match="the part 'rows': ") as caught:
        read(Multipart(rows=NumpyNdarray()), form(("rows", *rows)), "multipart/form-data", "b")
    assert 400 <= caught.value.status < 500


def test_what_cannot_be_written_is_named_for_both_sides() -> None:
    for descriptor, value, words in (
        (Text(), 3, "expected text (str), got int"),
        (File(), "x", "expected bytes or a binary file, got str"),
        (PandasDataFrame(), [], "expected a DataFrame, got list"),
        (Image(), "photo.png", "expected a PIL image or an array, got str"),
        (Multipart(note=Text()), {"note": 3}, "the part 'note': expected text (str), got int"),
    ):
        with pytest.raises(BadModelOutput) as caught:
            descriptor.write(value)
        assert caught.value.message == words


def test_a_client_sends_images_without_loss() -> None:
    content = from_spec(Image(mime_type="image/jpeg").to_spec()).write(
        PilImage.new("RGBA", (2, 2), (1, 2, 3, 4))
    )
    assert content.media_type == "image/png"
    assert PilImage.open(io.BytesIO(content.data)).getpixel((1, 1)) == (1, 2, 3, 4)
    jpeg = Image(mime_type="image/jpeg", allowed_mime_types=[])
    assert from_spec(jpeg.to_spec()).write(PilImage.new("RGB", (2, 2))).media_type == "image/jpeg"


def test_text_and_file_pass_what_they_get() -> None:
    assert read(Text(), "grün") == "grün"
    assert Text().write("grün").data.decode() == "grün"
    assert read(File(), b"\x00\x01").read() == b"\x00\x01"
    assert read(File(kind="bytes"), b"x", "application/pdf") == b"x"
    assert File(mime_type="application/pdf").write(io.BytesIO(b"%PDF")) == (b"%PDF", "application/pdf")
    with pytest.raises(BadModelOutput):
        Text().write(b"bytes")


def test_images_are_converted_and_come_back() -> None:
    image = read(Image(pilmode="L"), png(), "image/png")
    assert (image.mode, image.size) == ("L", (4, 3))
    content = Image(mime_type="image/png").write(np.zeros((2, 5, 3), np.uint8))
    assert PilImage.open(io.BytesIO(content.data)).size == (5, 2)


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "values"])
def test_frames_round_trip_in_each_orient(orient: Any) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    descriptor = PandasDataFrame(orient=orient)
    back = read(descriptor, descriptor.write(frame).data)
    assert back.to_numpy().tolist() == frame.to_numpy().tolist()


def test_frames_are_read_from_csv_and_written_as_their_format() -> None:
    frame = read(PandasDataFrame(), "a,b\n1,2\n", "text/csv")
    assert frame.to_dict("records") == [{"a": 1, "b": 2}]
    assert PandasDataFrame(default_format="csv").write(frame).data == b"a,b\n1,2\n"


def test_multipart_reads_each_part_with_its_descriptor() -> None:
    descriptor = Multipart(rows=NumpyNdarray(), note=Text())
    content = descriptor.write({"rows": np.array([[1, 2]]), "note": "hi\r\nthere"})
    media_type, _, boundary = content.media_type.partition("; boundary=")
    values = read(descriptor, content.data, media_type, boundary)
    assert values["rows"].tolist() == [[1, 2]]
    assert values["note"] == "hi\r\nthere"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: data[:-10], "bad_input"),
        (lambda data: data.replace(b'"note"', b'"other"'), "unknown_field"),
        (lambda data: data.replace(b'"note"', b'"rows"'), "bad_input"),
        (lambda data: data.replace(b"[[1", b"[[x"), "bad_json"),
    ],
)
def test_multipart_refuses_what_does_not_fit(change: Any, code: str) -> None:
    descriptor = Multipart(rows=NumpyNdarray(), note=Text())
    content = descriptor.write({"rows": np.array([[1]]), "note": ""})
    boundary = content.media_type.partition("boundary=")[2]
    with pytest.raises(VtsServingException) as caught:
        read(descriptor, change(content.data), "multipart/form-data", boundary)
    assert caught.value.code == code


def test_samples_become_descriptors_with_examples() -> None:
    array = NumpyNdarray.from_sample(np.ones((2, 3), np.float32))
    assert array.schema()["examples"] == [[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]]
    with pytest.raises(VtsServingException):
        read(array, "[[1, 2]]")
    assert JSON.from_sample(Iris(sepal=1)).schema()["properties"].keys() == {"sepal", "petal"}
    assert PandasDataFrame.from_sample(pd.DataFrame({"a": [1]})).schema()["examples"] == [[{"a": 1}]]


def test_impossible_descriptors_are_refused_where_they_are_made() -> None:
    for make in (
        lambda: NumpyNdarray(enforce_dtype=True),
        lambda: NumpyNdarray(enforce_shape=True),
        lambda: JSON(validate_json=True),
        lambda: File(kind="disk"),  # type: ignore[arg-type]
        lambda: Image(mime_type="image/svg+xml"),
        lambda: PandasDataFrame(orient="table"),  # type: ignore[arg-type]
        Multipart,
    ):
        with pytest.raises(InvalidArgument):
            make()


@pytest.mark.parametrize(
    ("package", "descriptor"),
    [
        ("pandas", PandasDataFrame()),
        ("pandas", PandasSeries()),
        ("PIL", Image()),
        ("pandas", Multipart(text=Text(), table=PandasDataFrame())),
    ],
)
def test_a_package_that_is_missing_is_found_out_before_the_first_call(
    package: str, descriptor: IODescriptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor.check_packages()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=r"pip install 'vtsserving\["):
        descriptor.check_packages()
