"""IO descriptors: how the functions of a service read their inputs and write their outputs."""

from __future__ import annotations

from vtsserving.io.base import IODescriptor
from vtsserving.io.file import File
from vtsserving.io.image import Image
from vtsserving.io.json_value import JSON
from vtsserving.io.multipart import Multipart
from vtsserving.io.numpy_ndarray import NumpyNdarray
from vtsserving.io.pandas_frames import PandasDataFrame, PandasSeries
from vtsserving.io.part_rules import OptionalPart, Repeated
from vtsserving.io.text import Text

__all__ = [
    "JSON",
    "File",
    "IODescriptor",
    "Image",
    "Multipart",
    "NumpyNdarray",
    "OptionalPart",
    "PandasDataFrame",
    "PandasSeries",
    "Repeated",
    "Text",
]
