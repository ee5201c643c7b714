"""Descriptors as data: what the OpenAPI document says of a function, so that clients write and read as it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vtsserving.exceptions import InvalidArgument
from vtsserving.io.base import IODescriptor
from vtsserving.io.file import File
from vtsserving.io.image import Image
from vtsserving.io.json_value import JSON
from vtsserving.io.multipart import Multipart
from vtsserving.io.numpy_ndarray import NumpyNdarray
from vtsserving.io.pandas_frames import PandasDataFrame, PandasSeries, has_arrow
from vtsserving.io.part_rules import OptionalPart, Repeated
from vtsserving.io.text import Text

INPUT: Final = "x-vts-input"
OUTPUT: Final = "x-vts-output"
"""Keys of an OpenAPI operation."""


def from_spec(spec: Mapping[str, Any]) -> IODescriptor:
    """A descriptor that writes what the described one reads, and reads what it writes.

    Args:
        spec: of IODescriptor.to_spec.

    Returns:
        A descriptor without the described one's checks, which are the other side's.

    Raises:
        InvalidArgument: it is no such spec.
    """
    try:
        return _of(spec)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InvalidArgument(f"{spec!r:.200} is no descriptor: {error}") from error


def _part_of(spec: Mapping[str, Any]) -> IODescriptor | Repeated | OptionalPart:
    """A part of a form; what a later release adds to its rules counts as not said."""
    repeated = spec.get("repeated")
    if repeated is not None:
        return Repeated(from_spec(spec), at_least=repeated["at_least"], at_most=repeated["at_most"])
    return OptionalPart(from_spec(spec)) if spec.get("optional") else from_spec(spec)


def _of(spec: Mapping[str, Any]) -> IODescriptor:
    kind, media_types = spec["type"], tuple(spec["media_types"])
    if kind == "Multipart":
        return Multipart(**{name: _part_of(one) for name, one in spec["inputs"].items()})
    if kind == "PandasDataFrame":
        # The form that keeps the most, where both sides have it.
        form: Any = "parquet" if spec.get("parquet") is True and has_arrow() else spec["default_format"]
        return PandasDataFrame(spec["orient"], default_format=form)
    if kind == "PandasSeries":
        return PandasSeries(spec["orient"])
    if kind == "NumpyNdarray":
        return NumpyNdarray()
    if kind == "Image":
        return Image.of_client(media_types)
    if kind == "Text":
        return Text()
    if kind == "JSON" or media_types[0] == "application/json":
        return JSON()
    return File("bytes", media_types[0])
