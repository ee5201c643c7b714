from __future__ import annotations

import io
import zlib
from typing import Any

import msgpack
import pytest
from PIL import Image

from vtsserving._wire.values import IMAGE, decode_value, encode_value
from vtsserving.exceptions import BadFrame, UnsupportedValue

pytestmark = pytest.mark.fast


def packed(*fields: Any) -> bytes:
    return bytes(msgpack.packb(msgpack.ExtType(IMAGE, msgpack.packb(list(fields)))))


def png(width: int = 1, height: int = 1, mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, format="PNG")
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than the file holds."""
    data = bytearray(png())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def test_a_good_image_is_read() -> None:
    assert decode_value(packed("PNG", "L", png(2, 3), 2, 3)).size == (2, 3)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(packed(), id="no fields"),
        pytest.param(packed("PNG", "L", png(), 1), id="a field short"),
        pytest.param(packed("PNG", "L", png(), 1, 1.0), id="a float for a size"),
        pytest.param(packed("PNG", "L", "text", 1, 1), id="a str for bytes"),
        pytest.param(packed("PNG", "L", png(), 1, 2), id="another size"),
        pytest.param(packed("PNG", "L", b"", 1, 1), id="empty"),
        pytest.param(packed("PNG", "L", png()[:45], 1, 1), id="truncated"),
        pytest.param(packed("PNG", "L", b"II*\0" + bytes(40), 1, 1), id="TIFF"),
        pytest.param(packed("GIF", "L", png(), 1, 1), id="another format"),
        pytest.param(packed("PNG", "XYZ", png(), 1, 1), id="unknown mode"),
        pytest.param(packed("PNG", "F", png(), 1, 1), id="a mode that PNG has not"),
        pytest.param(packed("RAW", "F", bytes(3), 1, 1), id="pixels missing"),
        pytest.param(packed("RAW", "F", bytes(5), 1, 1), id="pixels too many"),
        pytest.param(packed("RAW", "RGB", bytes(3), 1, 1), id="a mode that is sent as PNG"),
        pytest.param(packed("RAW", "F", b"", 0, 1), id="no pixels"),
        pytest.param(packed("RAW", "F", b"", -1, -1), id="negative size"),
        pytest.param(packed("RAW", "F", b"", 2**40, 2**40), id="2**80 pixels"),
        pytest.param(packed("PNG", "L", bomb(2**14, 2**14), 2**14, 2**14), id="bomb"),
        pytest.param(packed("PNG", "L", bomb(2**20, 2**20), 1, 1), id="hidden bomb"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_value(data)


@pytest.mark.parametrize("mode", ["PA", "I;16B"])
def test_a_mode_that_cannot_be_kept_is_refused_by_name(mode: str) -> None:
    with pytest.raises(UnsupportedValue, match=rf"argument 1 is an image of mode {mode}"):
        encode_value(Image.new(mode, (1, 1)), "argument 1")


@pytest.mark.parametrize("size", [(0, 1), (2**14, 2**13)])
def test_images_without_pixels_or_with_too_many_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UnsupportedValue):
        encode_value(Image.new("1", size), "argument 1")
