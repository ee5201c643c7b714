"""Pixels as a function gets them: the right way up, and brought into its mode without a value that is cut off."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vtsserving.exceptions import OutOfRange, WrongType

_WHITE_IS_ZERO: Final = 0
_BITS_TAG: Final = 258
_PHOTOMETRIC_TAG: Final = 262

_VALUE_MODES: Final = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Modes whose pixels are numbers of more than 8 bits; between them values stay as they are."""


def upright(image: Any) -> Any:
    """An image turned as its EXIF orientation says, which it then no longer says.

    Args:
        image: a loaded PIL image; TIFF was turned by Pillow when it was loaded.

    Returns:
        The image, or a new one; as it was where its EXIF data cannot be read.
    """
    from PIL import ImageOps

    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # damaged EXIF data ends in errors of many kinds, and does not make the pixels worse
        image.info.pop("exif", None)
    return image


def converted(image: Any, mode: str) -> Any:
    """An image in another mode.

    Grey values of 9 to 16 bits are scaled to 8: the largest that the format can hold becomes 255. Fractions (mode F)
    are scaled from 0 to 1, whole numbers of 32 bits (mode I) are taken as they are.

    Args:
        image: a loaded PIL image.
        mode: as Pillow names it.

    Returns:
        The same image where it has the mode already, else a new one.

    Raises:
        OutOfRange: a value lies outside of what can be scaled.
        WrongType: Pillow has no way from one mode to the other.
    """
    if image.mode == mode:
        return image
    if image.mode in _VALUE_MODES and mode not in _VALUE_MODES:
        image = _as_grey(image, mode)
    try:
        if image.mode == "LAB":  # from which Pillow converts to RGB alone
            image = image.convert("RGB")
        return image.convert(mode)
    except ValueError as error:
        raise WrongType(
            f"the image has the mode {image.mode}, which cannot be converted to {mode} ({error}); "
            "send one in RGB or grey"
        ) from None


def _as_grey(image: Any, mode: str) -> Any:
    """An image of 8 bits of one with more."""
    from PIL import Image as pil

    values = np.asarray(image)
    tags = getattr(image, "tag_v2", None) or {}
    if image.mode == "F":
        grey = _scaled_fractions(values, mode)
    elif image.mode == "I" and image.format != "PNG":
        grey = _small_numbers(values, mode)
    else:
        bits = int((tags.get(_BITS_TAG) or (16,))[0])
        grey = _scaled_numbers(values, 2**bits - 1)
    if tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO and image.mode != "I":
        # Pillow turns this round for 8 bits and fewer only.
        grey = 255 - grey
    scaled = pil.fromarray(grey)
    # A colour that counts as transparent is given in the numbers that were.
    scaled.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return scaled


def _scaled_numbers(values: Any, most: int) -> Any:
    """Whole numbers from 0 to `most` as uint8, rounded."""
    table = np.rint(np.arange(65536) * (255 / most)).clip(0, 255).astype(np.uint8)
    # By a table, which takes a byte for each pixel and no array of fractions.
    return table[np.asarray(values).astype(np.uint16, copy=False)]


def _scaled_fractions(values: Any, mode: str) -> Any:
    """Fractions from 0 to 1 as uint8, rounded."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also where one is NaN
        raise OutOfRange(
            f"the image holds fractions from {low:g} to {high:g}; from 0 (black) to 1 (white) they can be "
            f"converted to {mode}. Image(pilmode=None) passes on any"
        )
    scaled = values * np.float32(255)
    return np.rint(scaled, out=scaled).astype(np.uint8)


def _small_numbers(values: Any, mode: str) -> Any:
    """Whole numbers of which nobody says what white is: as they are, where 8 bits hold them."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 255:
        raise OutOfRange(
            f"the image holds whole numbers from {low} to {high} in 32 bits, whose white is not known; from 0 to "
            f"255 they can be converted to {mode}. Image(pilmode=None) passes on any"
        )
    return values.astype(np.uint8)
