"""PIL images as values: PNG where it keeps the mode as it is, else the pixels as they lie in memory."""

from __future__ import annotations

import io
import sys
from typing import Any, Final

from vtsserving._wire.limits import MAX_IMAGE_PIXELS
from vtsserving.exceptions import BadFrame, MissingDependency, UnsupportedValue

_PNG_MODES: Final = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"))
_RAW_MODES: Final = {
    "CMYK": 4,
    "F": 4,
    "HSV": 3,
    "I": 4,
    "LAB": 3,
    "La": 2,
    "RGBX": 4,
    "RGBa": 4,
    "YCbCr": 3,
}
"""Bytes per pixel."""
_MODES: Final = {"PNG": _PNG_MODES, "RAW": frozenset(_RAW_MODES)}


def is_image(value: Any) -> bool:
    """Whether `value` is a PIL image; never imports PIL."""
    image = sys.modules.get("PIL.Image")
    return image is not None and isinstance(value, image.Image)


def fields_of(image: Any, where: str) -> list[Any]:
    """What travels: [format, mode, bytes, width, height].

    Args:
        image: a PIL image.
        where: how to name it in an error.

    Raises:
        UnsupportedValue: a mode that neither way keeps, or too many pixels.
    """
    width, height = image.size
    if width * height > MAX_IMAGE_PIXELS:
        raise UnsupportedValue(f"{where} is an image of more than {MAX_IMAGE_PIXELS} pixels")
    if not width * height:
        raise UnsupportedValue(f"{where} is an image without pixels")
    if image.mode in _RAW_MODES:
        return ["RAW", image.mode, image.tobytes(), width, height]
    if image.mode not in _PNG_MODES:
        raise UnsupportedValue(
            f"{where} is an image of mode {image.mode}, which cannot be sent; use .convert('RGB')"
        )
    file = io.BytesIO()
    image.save(file, format="PNG")
    return ["PNG", image.mode, file.getvalue(), width, height]


def decode(fields: list[Any]) -> Any:
    """The image of what travelled.

    Raises:
        BadFrame: it is none, or larger than it may be.
        MissingDependency: Pillow is not installed here.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependency("an image was received, but Pillow is missing: pip install pillow") from error
    if [type(field) for field in fields] != [str, str, bytes, int, int]:
        raise BadFrame("an image is [format, mode, bytes, width, height]")
    form, mode, data, width, height = fields
    if not 0 < width * height <= MAX_IMAGE_PIXELS or mode not in _MODES.get(form, ()):
        raise BadFrame("an image of an unknown format, mode or size")
    if form == "RAW" and len(data) != width * height * _RAW_MODES[mode]:
        raise BadFrame("an image with more pixels than it says, or fewer")
    try:
        if form == "RAW":
            return Image.frombytes(mode, (width, height), data)
        image = Image.open(io.BytesIO(data), formats=("PNG",))
        if image.size != (width, height):
            raise BadFrame("an image has another size than it says")
        image.load()
        return image if image.mode == mode else image.convert(mode)
    except Exception as error:  # Pillow lets through whatever its parsers raise
        raise BadFrame(f"unreadable image: {type(error).__name__}") from error
