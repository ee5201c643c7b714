"""Bytes of any kind."""

from __future__ import annotations

import io
from typing import Any, Literal

from vtsserving.exceptions import BadModelOutput, InvalidArgument
from vtsserving.io.base import OCTETS, Body, Content, IODescriptor
from vtsserving.io.form_parts import FORM, only_part


class File(IODescriptor):
    """A file: the function gets an io.BytesIO, or bytes.

    Args:
        kind: "binaryio" or "bytes".
        mime_type: what is read and written; None reads any type and writes application/octet-stream.
    """

    takes_nothing = True

    def __init__(self, kind: Literal["binaryio", "bytes"] = "binaryio", mime_type: str | None = None) -> None:
        if kind not in ("binaryio", "bytes"):
            raise InvalidArgument(f"kind is 'binaryio' or 'bytes', not {kind!r}")
        self._kind = kind
        self._any = mime_type is None
        self.media_types = (mime_type or OCTETS,)

    @classmethod
    def from_sample(cls, sample: Any, **options: Any) -> File:
        """A descriptor of the kind that the sample is."""
        return cls("bytes" if isinstance(sample, bytes) else "binaryio", **options)

    def accepts(self, media_type: str) -> bool:
        """Any type unless one was given; a form with one file counts as the file."""
        return self._any or media_type == FORM or media_type in self.media_types

    def read(self, body: Body) -> Any:
        """See IODescriptor.read."""
        body = only_part(body)
        self.check_media_type(body)
        if self._kind == "bytes":
            return body.data
        file = io.BytesIO(body.data)
        file.name = body.filename
        return file

    def write(self, value: Any) -> Content:
        """See IODescriptor.write."""
        data = value.read() if hasattr(value, "read") else value
        if not isinstance(data, bytes | bytearray | memoryview):
            raise BadModelOutput(f"expected bytes or a binary file, got {type(value).__name__}")
        return Content(bytes(data), self.media_types[0])

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        return {"type": "string", "format": "binary"}
