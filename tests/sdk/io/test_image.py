"""Images of every kind that cameras, scanners and instruments write: the right way up, the right grey, or a 4xx."""

from __future__ import annotations

import io
import random
import resource
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from vtsserving.exceptions import VtsServingException
from vtsserving.io import Image
from vtsserving.io.base import Body
from vtsserving.io.specs import from_spec

pytestmark = pytest.mark.fast

ORIENTATION = 0x0112
WHITE_IS_ZERO = 0


def written(image: Any, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def read(data: bytes, media_type: str = "", **options: Any) -> Any:
    descriptor, body = Image(**options), Body(data, media_type)
    descriptor.check_media_type(body)
    return descriptor.read(body)


def refusal(data: bytes, media_type: str = "", **options: Any) -> VtsServingException:
    with pytest.raises(VtsServingException) as caught:
        read(data, media_type, **options)
    assert 400 <= caught.value.status < 500
    return caught.value


def marked() -> Any:
    """3 wide, 2 high; its upper left pixel is white."""
    image = PilImage.new("RGB", (3, 2))
    image.putpixel((0, 0), (255, 255, 255))
    return image


WHITE_AT = {1: (0, 0), 2: (2, 0), 3: (2, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 2), 8: (0, 2)}


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "AVIF", "JPEG"])
@pytest.mark.parametrize("orientation", WHITE_AT)
def test_an_image_is_turned_as_its_camera_says_and_then_no_longer_says_so(
    form: str, orientation: int
) -> None:
    exif = PilImage.Exif()
    exif[ORIENTATION] = orientation
    exact: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    large = marked().resize((48, 32), PilImage.Resampling.NEAREST)
    data = written(large, form, exif=exif, **exact.get(form, {}))
    for mode in ("RGB", None):
        image = read(data, pilmode=mode)
        assert image.size == ((48, 32) if orientation < 5 else (32, 48))
        x, y = WHITE_AT[orientation]
        assert min(image.getpixel((16 * x + 8, 16 * y + 8))) > 240
        assert image.getexif().get(ORIENTATION, 1) == 1


# Pillow warns of it, which only tests take for an error.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "damaged", [b"Exif\0\0II*\0", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"nothing"]
)
def test_damaged_exif_data_leaves_the_image_as_it_is(damaged: bytes) -> None:
    assert read(written(marked(), "JPEG", exif=damaged)).size == (3, 2)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_scaled_to_8_and_kept_where_the_mode_holds_it(form: str) -> None:
    grey = np.array([[0, 128, 257, 30000, 65535]], np.uint16)
    data = written(PilImage.fromarray(grey), form)
    for narrow in ("RGB", "L", "RGBA", "YCbCr", "P"):
        assert np.asarray(read(data, pilmode=narrow).convert("L")).tolist() == [[0, 0, 1, 117, 255]]
    for mode in ("I", "F", "I;16", None):
        assert np.asarray(read(data, pilmode=mode)).tolist() == grey.tolist()


def test_big_endian_and_inverted_grey_and_grey_of_12_bits_come_out_right() -> None:
    grey = np.array([[0, 30000, 65535]], np.uint16)
    big = PilImage.frombytes("I;16B", (3, 1), grey.astype(">u2").tobytes())
    assert np.asarray(read(written(big, "TIFF"), pilmode="L")).tolist() == [[0, 117, 255]]
    inverted = written(PilImage.fromarray(grey), "TIFF", tiffinfo={262: WHITE_IS_ZERO})
    assert np.asarray(read(inverted, pilmode="L")).tolist() == [[255, 138, 0]]
    assert np.asarray(read(tiff_of_12_bits([0, 2048, 4095, 16]), pilmode="L")).tolist() == [[0, 128, 255, 1]]


def tiff_of_12_bits(values: list[int]) -> bytes:
    """A TIFF of one line of grey; Pillow reads these and writes none."""
    packed = bytearray()
    for first, second in zip(values[::2], values[1::2], strict=True):
        packed += bytes((first >> 4, (first & 15) << 4 | second >> 8, second & 255))
    tags = {256: len(values), 257: 1, 258: 12, 259: 1, 262: 1, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: 1}
    tags[279] = len(packed)
    fields = b"".join(
        tag.to_bytes(2, "little")
        + (4).to_bytes(2, "little")
        + (1).to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, value in sorted(tags.items())
    )
    head = b"II*\0" + (8).to_bytes(4, "little") + len(tags).to_bytes(2, "little")
    return head + fields + bytes(4) + bytes(packed)


def test_fractions_are_scaled_from_0_to_1_and_others_are_refused() -> None:
    fractions = np.array([[0, 0.5, 1]], np.float32)
    data = written(PilImage.fromarray(fractions), "TIFF")
    assert np.asarray(read(data, pilmode="L")).tolist() == [[0, 128, 255]]
    assert read(data).getpixel((1, 0)) == (128, 128, 128)
    for mode in ("F", None):
        assert np.asarray(read(data, pilmode=mode)).tolist() == fractions.tolist()
    for others in ([[0, 1.5]], [[-0.1, 1]], [[0.5, float("nan")]], [[0.5, float("inf")]], [[20, 200]]):
        other = written(PilImage.fromarray(np.array(others, np.float32)), "TIFF")
        assert refusal(other).code == "out_of_range"
        # The error's advice, followed.
        kept = np.asarray(read(other, pilmode=None))
        assert np.array_equal(kept, np.array(others, np.float32), equal_nan=True)


def test_whole_numbers_of_32_bits_are_kept_or_refused_but_never_cut_off() -> None:
    def tiff(values: list[list[int]]) -> bytes:
        return written(PilImage.fromarray(np.array(values, np.int32)), "TIFF")

    assert np.asarray(read(tiff([[0, 255]]), pilmode="L")).tolist() == [[0, 255]]
    for values in ([[0, 256]], [[-1, 5]], [[70000, 0]]):
        assert refusal(tiff(values)).code == "out_of_range"
        assert np.asarray(read(tiff(values), pilmode=None)).tolist() == values


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "LA", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"]
)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "GIF", "JPEG", "BMP", "WEBP"])
def test_every_mode_is_converted_or_refused(form: str, mode: str) -> None:
    try:
        data = written(PilImage.new(mode, (4, 3)), form)
    except (OSError, KeyError, ValueError):
        return  # no such file exists
    for wanted in (
        "1",
        "L",
        "P",
        "LA",
        "RGB",
        "RGBA",
        "CMYK",
        "YCbCr",
        "HSV",
        "LAB",
        "I",
        "F",
        "I;16",
        "RGBa",
    ):
        try:
            image = read(data, pilmode=wanted)
        except VtsServingException as error:
            assert 400 <= error.status < 500
        else:
            assert (image.mode, image.size) == (wanted, (4, 3))


def test_lab_is_converted_by_way_of_its_colours_and_what_has_no_way_is_422() -> None:
    lab = written(PilImage.new("RGB", (2, 2), (200, 200, 200)).convert("LAB"), "TIFF")
    assert abs(read(lab, pilmode="L").getpixel((0, 0)) - 200) <= 2
    error = refusal(written(PilImage.new("L", (2, 2)), "PNG"), pilmode="RGBa")
    assert (error.status, error.code) == (422, "wrong_type")
    assert "mode L" in error.message


@pytest.mark.parametrize(
    ("media_type", "form"),
    [
        ("image/jpg", "JPEG"),
        ("image/pjpeg", "JPEG"),
        ("image/x-png", "PNG"),
        ("image/tif", "TIFF"),
        ("image/x-ms-bmp", "BMP"),
        ("image/avif", "AVIF"),
    ],
)
def test_what_programs_call_an_image_is_what_they_mean(media_type: str, form: str) -> None:
    assert read(written(marked(), form), media_type).size == (3, 2)
    if media_type != "image/avif":
        assert (
            refusal(written(marked(), form), media_type, allowed_mime_types=[], mime_type="image/gif").status
            == 415
        )
    assert Image(mime_type=media_type).media_types[0] != "image/jpg"


def test_the_first_picture_of_an_animation_is_read() -> None:
    pictures = [PilImage.new("RGB", (4, 3), (shade, 0, 0)) for shade in (200, 100, 0)]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        exact = {"lossless": True} if form == "WEBP" else {}
        data = written(pictures[0], form, save_all=True, append_images=pictures[1:], **exact)
        assert read(data).getpixel((1, 1)) == (200, 0, 0)


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP"])
def test_a_size_is_refused_before_its_pixels_take_memory(form: str) -> None:
    data = bytearray(written(PilImage.new("L", (4, 3)), form))
    if form == "PNG":
        import zlib

        data[16:24] = (60_000).to_bytes(4, "big") * 2
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    elif form == "GIF":
        data[6:10] = (60_000).to_bytes(2, "little") * 2
    else:
        data[18:26] = (60_000).to_bytes(4, "little") * 2
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(bytes(data)).code == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_a_damaged_file_is_an_image_or_the_clients_fault(form: str) -> None:
    chance = random.Random(form)
    whole = written(PilImage.effect_noise((40, 30), 60).convert("RGB"), form)
    for _ in range(150):
        data = bytearray(whole[: chance.randint(1, len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(chance.randint(1, 6)):
            # Heads more often than pixels: there is more to get wrong.
            at = chance.randrange(min(len(data), 120) if chance.random() < 0.6 else len(data))
            data[at] = chance.randrange(256)
        try:
            read(bytes(data), pilmode=chance.choice(("RGB", "L", None)))
        except VtsServingException as error:
            assert 400 <= error.status < 500, error


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"]
)
def test_a_client_sends_an_image_in_its_mode(mode: str) -> None:
    image = PilImage.new(mode, (4, 3), 1 if mode in ("1", "L", "I", "F", "I;16") else None)
    content = from_spec(Image(pilmode=None).to_spec()).write(image)
    arrived = read(content.data, content.media_type, pilmode=None)
    assert (arrived.mode, arrived.size, arrived.tobytes()) == (mode, (4, 3), image.tobytes())


def test_the_spec_names_only_types_that_clients_of_0_1_know() -> None:
    assert "image/avif" not in Image().to_spec()["media_types"]
    assert (
        from_spec({"type": "Image", "media_types": ["image/jxl", "image/png"]}).media_types[0] == "image/png"
    )
