"""Images, as PIL images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

from vtsserving.exceptions import (
    BadInput,
    BadModelOutput,
    InvalidArgument,
    MissingDependency,
    TooLarge,
    UnsupportedMediaType,
)
from vtsserving.io.base import OCTETS, URLENCODED, Body, Content, IODescriptor, require
from vtsserving.io.form_parts import FORM, only_part
from vtsserving.io.image_pixels import converted, upright

MAX_PIXELS: Final = 64 * 1024 * 1024
"""Largest image that is decoded, pixels: a small file can unpack to gigabytes."""

TIFF: Final = "image/tiff"
AVIF: Final = "image/avif"
_FORMATS: Final = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    TIFF: "TIFF",
    AVIF: "AVIF",
}
_MODES_OF_PNG: Final = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
_OTHER_NAMES: Final = {
    "image/jpg": "image/jpeg",
    "image/jpe": "image/jpeg",
    "image/jfif": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-jpeg": "image/jpeg",
    "image/x-jpg": "image/jpeg",
    "image/mpo": "image/jpeg",
    "image/x-png": "image/png",
    "image/apng": "image/png",
    "image/vnd.mozilla.apng": "image/png",
    "image/x-webp": "image/webp",
    "image/x-gif": "image/gif",
    "image/x-bmp": "image/bmp",
    "image/x-ms-bmp": "image/bmp",
    "image/x-windows-bmp": "image/bmp",
    "image/tif": "image/tiff",
    "image/x-tif": "image/tiff",
    "image/x-tiff": "image/tiff",
}
"""Media types that programs use and no registry has, and those that they mean."""


class Image(IODescriptor):
    """An image: the function gets a PIL image and returns one, or an array of [height, width(, channels)] uint8.

    An image is turned as its EXIF orientation says. Of an animation the first picture is read.

    Args:
        pilmode: PIL mode that the image is converted to. Grey of up to 16 bits is scaled to the 8 bits of RGB and its
            kind, fractions (TIFF) are scaled from 0 to 1; the modes I, F and I;16 keep the values. None leaves it.
        mime_type: what is written, and read first.
        allowed_mime_types: what else is read; None: all that are known here. `image/jpg` and its kind count as what
            they mean.
    """

    def __init__(
        self,
        pilmode: str | None = "RGB",
        mime_type: str = "image/jpeg",
        *,
        allowed_mime_types: Sequence[str] | None = None,
    ) -> None:
        others = _FORMATS if allowed_mime_types is None else allowed_mime_types
        self.media_types = tuple(dict.fromkeys(_OTHER_NAMES.get(one, one) for one in (mime_type, *others)))
        unknown = [other for other in self.media_types if other not in _FORMATS]
        if unknown:
            raise InvalidArgument(f"{unknown[0]!r} is not supported; supported are {', '.join(_FORMATS)}")
        self._mode = pilmode
        self._keeps_mode = False
        self._kinds = f"an image ({', '.join(self.media_types)})"

    @classmethod
    def from_sample(cls, sample: Any, **options: Any) -> Image:
        """A descriptor of images in the sample's mode."""
        return cls(pilmode=sample.mode, **options)

    def accepts(self, media_type: str) -> bool:
        """Also what clients say that do not know: an image says itself what it is. A form with one file is the file."""
        known = _OTHER_NAMES.get(media_type, media_type)
        return known in (OCTETS, URLENCODED, FORM) or known in self.media_types

    def check_packages(self) -> None:
        """See IODescriptor.check_packages."""
        _pil()

    def read(self, body: Body) -> Any:
        """See IODescriptor.read."""
        pil = _pil()
        body = only_part(body)
        self.check_media_type(body)
        require(body.data, self._kinds)
        image = self._opened(pil, body)
        return image if self._mode is None else converted(image, self._mode)

    def _opened(self, pil: Any, body: Body) -> Any:
        """The image of a body, the right way up; its size is looked at before its pixels are."""
        pil.init()
        formats = [_FORMATS[one] for one in self.media_types if _FORMATS[one] in pil.OPEN]
        named = _FORMATS.get(_OTHER_NAMES.get(body.media_type, body.media_type))
        if named is not None and named not in formats:
            raise UnsupportedMediaType(f"the Pillow of this server does not read {named}")
        try:
            image = pil.open(io.BytesIO(body.data), formats=formats)
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height}"
                raise TooLarge(f"the image has {size} pixels; at most {MAX_PIXELS} are read")
            image.load()
        except TooLarge:
            raise
        except (pil.DecompressionBombError, pil.DecompressionBombWarning, MemoryError):
            raise TooLarge(f"the image has too many pixels; at most {MAX_PIXELS} are read") from None
        except Exception as error:  # what is damaged ends in errors of many kinds in Pillow's readers
            raise BadInput(
                f"the body is not an image that can be read{_reason(error)}; send {self._kinds}"
            ) from None
        return upright(image)

    def write(self, value: Any) -> Content:
        """See IODescriptor.write."""
        pil = _pil()
        try:
            image = value if isinstance(value, pil.Image) else pil.fromarray(value)
            media_type = self._written_as(image)
            file = io.BytesIO()
            image.save(file, format=_FORMATS[media_type])
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            if not isinstance(value, pil.Image) and not hasattr(value, "__array_interface__"):
                raise BadModelOutput(
                    f"expected a PIL image or an array, got {type(value).__name__}"
                ) from error
            raise BadModelOutput(f"the image cannot be written as {self.media_types[0]}: {error}") from error
        return Content(file.getvalue(), media_type)

    def _written_as(self, image: Any) -> str:
        """The media type that holds an image of its mode without loss, if the other side reads one."""
        if self._keeps_mode and image.mode not in _MODES_OF_PNG and TIFF in self.media_types:
            return TIFF
        return self.media_types[0]

    @classmethod
    def of_client(cls, media_types: Sequence[str]) -> Image:
        """A descriptor that writes without loss where the other side reads that: a function gets what the caller has.

        Args:
            media_types: that the other side reads.
        """
        known = [one for one in media_types if one in _FORMATS] or ["image/png"]
        written = "image/png" if "image/png" in known else known[0]
        made = cls(None, written, allowed_mime_types=known)
        made._keeps_mode = written == "image/png"
        return made

    def to_spec(self) -> dict[str, Any]:
        """See IODescriptor.to_spec; without what clients of 0.1 do not know, unless nothing else is written."""
        known = [one for one in self.media_types if one != AVIF or one == self.media_types[0]]
        return {**super().to_spec(), "media_types": known}

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        return {"type": "string", "format": "binary"}


def _reason(error: Exception) -> str:
    """Why, in PIL's words, unless they are of its own objects only."""
    text = str(error)
    return "" if not text or "object at 0x" in text else f" ({text[:200]})"


def _pil() -> Any:
    try:
        from PIL import Image as pil
    except ImportError as error:
        raise MissingDependency("images need a package: pip install 'vtsserving[image]'") from error
    return pil
