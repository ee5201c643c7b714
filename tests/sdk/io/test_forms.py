"""Forms: files under one name, parts that may be left out, and forms with the one file that a function takes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from vtsserving.exceptions import BadModelOutput, InvalidArgument, VtsServingException
from vtsserving.io import (
    JSON,
    File,
    Image,
    IODescriptor,
    Multipart,
    NumpyNdarray,
    OptionalPart,
    PandasDataFrame,
    Repeated,
    Text,
)
from vtsserving.io.base import Body
from vtsserving.io.form_parts import MAX_PARTS, read_body
from vtsserving.io.specs import from_spec

pytestmark = pytest.mark.fast

FORM, OCTETS = "multipart/form-data", "application/octet-stream"


def png(width: int = 4) -> bytes:
    file = io.BytesIO()
    PilImage.new("RGB", (width, 3)).save(file, "PNG")
    return file.getvalue()


def form(*parts: tuple[str, str, str, bytes]) -> bytes:
    """A body of parts: name, file name, media type, bytes."""
    pieces = []
    for name, filename, media_type, data in parts:
        named = f'; filename="{filename}"' if filename else ""
        typed = f"content-type: {media_type}\r\n" if media_type else ""
        pieces.append(
            f'--b\r\ncontent-disposition: form-data; name="{name}"{named}\r\n{typed}\r\n'.encode() + data
        )
    return b"\r\n".join([*pieces, b"--b--\r\n"])


def read(descriptor: IODescriptor, data: bytes, media_type: str = FORM) -> Any:
    return read_body(descriptor, Body(data, media_type, "", "b" if media_type == FORM else ""))


def refusal(descriptor: IODescriptor, data: bytes, media_type: str = FORM) -> VtsServingException:
    with pytest.raises(VtsServingException) as caught:
        read(descriptor, data, media_type)
    assert 400 <= caught.value.status < 500
    return caught.value


@pytest.mark.parametrize("name", ["photos", "photos[]"])
def test_files_of_one_field_are_a_list_in_their_order(name: str) -> None:
    descriptor = Multipart(photos=Repeated(Image()), note=Text())
    parts = [(name, f"{width}.png", "image/png", png(width)) for width in (5, 3, 4)]
    values = read(descriptor, form(parts[0], ("note", "", "", b"hi"), *parts[1:]))
    assert [image.width for image in values["photos"]] == [5, 3, 4]
    assert values["note"] == "hi"
    assert [image.width for image in read(descriptor, form(parts[0], ("note", "", "", b"")))["photos"]] == [5]


def test_what_comes_too_often_or_not_at_all_is_named() -> None:
    descriptor = Multipart(photos=Repeated(Image(), at_least=2, at_most=3), note=Text())
    note = ("note", "", "", b"")
    photo = ("photos", "a.png", "image/png", png())
    for count, words in ((0, "'photos' is missing"), (1, "comes 1 times"), (4, "comes 4 times")):
        assert words in refusal(descriptor, form(note, *[photo] * count)).message
    assert "'note' is there twice" in refusal(descriptor, form(photo, photo, note, note)).message
    assert "unknown part 'note[]'" in refusal(descriptor, form(photo, photo, ("note[]", "", "", b""))).message
    broken = refusal(descriptor, form(photo, ("photos", "b.png", "image/png", b"none"), note))
    assert broken.message.startswith("the part 'photos': ")


def test_a_part_that_was_left_out_has_its_default() -> None:
    descriptor = Multipart(
        rows=NumpyNdarray(),
        note=OptionalPart(Text(), default="nothing"),
        image=OptionalPart(Image()),
        more=Repeated(File(kind="bytes"), at_least=0),
    )
    rows = ("rows", "", "application/json", b"[1]")
    assert descriptor.required == ("rows",)
    values = read(descriptor, form(rows))
    assert (values["note"], values["image"], values["more"]) == ("nothing", None, [])
    # A browser sends fields that are empty: a text is then the empty text, and a file is none.
    empty = [("image", "", OCTETS, b""), ("more", "", OCTETS, b""), ("note", "", "", b"")]
    values = read(descriptor, form(rows, *empty))
    assert (values["note"], values["image"], values["more"]) == ("", None, [])
    values = read(descriptor, form(rows, ("image", "a.png", OCTETS, png()), ("more", "e", OCTETS, b"")))
    assert (values["image"].size, values["more"]) == ((4, 3), [b""])
    assert "the part 'rows' is missing" in refusal(descriptor, form(*empty)).message
    assert (
        "'image': the body is empty" in refusal(descriptor, form(rows, ("image", "a.png", "", b""))).message
    )


def test_results_come_in_the_same_way_and_a_client_reads_and_writes_them() -> None:
    descriptor = Multipart(
        photos=Repeated(Image()), rows=OptionalPart(NumpyNdarray()), note=OptionalPart(Text())
    )
    client = from_spec(descriptor.to_spec())
    photos = [PilImage.new("RGB", (width, 3)) for width in (2, 7)]
    for writer, reader in ((descriptor, client), (client, descriptor)):
        content = writer.write({"photos": photos, "rows": np.array([1, 2]), "note": None})
        media_type, _, boundary = content.media_type.partition("; boundary=")
        values = reader.read(Body(content.data, media_type, "", boundary))
        assert [image.width for image in values["photos"]] == [2, 7]
        assert (values["rows"].tolist(), values["note"]) == ([1, 2], None)
        refused: list[Any] = [{"photos": []}, {"photos": photos[0]}, {"rows": [1]}, []]
        for bad in (*refused, {"photos": photos, "other": 1}):
            with pytest.raises(BadModelOutput):
                writer.write(bad)


def test_the_document_says_how_often_a_part_comes() -> None:
    descriptor = Multipart(
        photos=Repeated(Image(), at_most=9), tags=Repeated(JSON(), at_least=0), note=OptionalPart(Text())
    )
    schema = descriptor.schema()
    assert schema["required"] == ["photos"]
    photos = schema["properties"]["photos"]
    assert (photos["type"], photos["minItems"], photos["maxItems"]) == ("array", 1, 9)
    assert photos["items"] == {"type": "string", "format": "binary"}


def test_impossible_rules_are_refused_where_they_are_made() -> None:
    for make in (
        lambda: Repeated(Image(), at_least=3, at_most=2),
        lambda: Repeated(Image(), at_least=-1),
        lambda: Repeated(Image(), at_least=0, at_most=0),
        lambda: Repeated(Image(), at_most=MAX_PARTS + 1),
        lambda: Repeated(Multipart(a=Text())),
        lambda: OptionalPart("text"),  # type: ignore[arg-type]
        lambda: Multipart(a=Multipart(b=Text())),
    ):
        with pytest.raises(InvalidArgument):
            make()


@pytest.mark.parametrize(
    ("descriptor", "data", "expected"),
    [
        (PandasDataFrame(default_format="csv"), b"a,b\n1,x\n", [[1, "x"]]),
        (PandasDataFrame(), b'[{"a": 1}]', [[1]]),
        (NumpyNdarray(), b"[[1, 2]]", [[1, 2]]),
    ],
)
def test_bytes_without_a_known_type_and_a_forms_file_are_recognised(
    descriptor: IODescriptor, data: bytes, expected: Any
) -> None:
    for media_type, body in (
        (OCTETS, data),
        (FORM, form(("file", "t.bin", OCTETS, data))),
        (FORM, form(("any name", "t", "", data))),
    ):
        value = read(descriptor, body, media_type)
        assert np.asarray(value).tolist() == expected


def test_a_csv_file_of_a_form_is_read_by_its_type() -> None:
    body = form(("file", "t.csv", "text/csv", b"a,b\n1,x\n"))
    assert read(PandasDataFrame(), body).to_dict("records") == [{"a": 1, "b": "x"}]
    assert refusal(NumpyNdarray(), body).code == "unsupported_media_type"
    assert refusal(PandasDataFrame(), form(("a", "", "", b"1"), ("b", "", "", b"2"))).code == "bad_input"


def test_a_form_of_endless_parts_or_headers_is_refused_at_once() -> None:
    descriptor = Multipart(files=Repeated(File()))
    many = form(*[("files", "f", "", b"x")] * (MAX_PARTS + 1))
    assert "more than 64 parts" in refusal(descriptor, many).message
    assert "more than 64 parts" in refusal(descriptor, b"--b\r\n" * 2_000_000).message
    assert len(read(descriptor, form(*[("files", "f", "", b"x")] * MAX_PARTS))["files"]) == MAX_PARTS
    long = (
        b'--b\r\ncontent-disposition: form-data; name="files"\r\nx: '
        + b"y" * 1_000_000
        + b"\r\n\r\nx\r\n--b--\r\n"
    )
    assert "headers of a part" in refusal(descriptor, long).message
