"""Several inputs or outputs in one body, each with a descriptor of its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Final

from vtsserving.exceptions import BadInput, BadModelOutput, InvalidArgument, UnknownField
from vtsserving.io.base import Body, Content, IODescriptor

MAX_PARTS: Final = 64


class Multipart(IODescriptor):
    """Named parts, multipart/form-data; the function takes and returns one value per name.

    Args:
        inputs: part name to its descriptor.
    """

    media_types = ("multipart/form-data",)

    def __init__(self, **inputs: IODescriptor) -> None:
        plain = [
            isinstance(part, IODescriptor) and not isinstance(part, Multipart) for part in inputs.values()
        ]
        if not inputs or not all(plain):
            raise InvalidArgument(
                "Multipart takes descriptors by name: Multipart(image=Image(), options=JSON())"
            )
        self.inputs: Mapping[str, IODescriptor] = inputs

    def read(self, body: Body) -> dict[str, Any]:
        """See IODescriptor.read; a dict with a value for each name."""
        if body.media_type != self.media_types[0] or not body.boundary:
            raise BadInput(f"send multipart/form-data with the parts {', '.join(self.inputs)}")
        parts = _split(body)
        extra = sorted(set(parts) - set(self.inputs))
        if extra:
            raise UnknownField(f"unknown part {extra[0][:80]!a}; the parts are {', '.join(self.inputs)}")
        missing = [name for name in self.inputs if name not in parts]
        if missing:
            raise BadInput(f"the part {missing[0]!r} is missing")
        values = {}
        for name, descriptor in self.inputs.items():
            descriptor.check_media_type(parts[name])
            values[name] = descriptor.read(parts[name])
        return values

    def write(self, value: Any) -> Content:
        """See IODescriptor.write."""
        return self.write_as(value, "")

    def write_as(self, value: Any, accept: str) -> Content:
        """See IODescriptor.write_as; what is accepted goes for the parts, too."""
        if not isinstance(value, Mapping) or set(value) != set(self.inputs):
            raise BadModelOutput(f"the function must return a dict with {', '.join(self.inputs)}")
        boundary = secrets.token_hex(16)
        pieces = []
        for name, descriptor in self.inputs.items():
            content = descriptor.write_as(value[name], accept)
            pieces.append(
                f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n'
                f"content-type: {content.media_type}\r\n\r\n".encode()
                + content.data
                + b"\r\n"
            )
        pieces.append(f"--{boundary}--\r\n".encode())
        return Content(b"".join(pieces), f"multipart/form-data; boundary={boundary}")

    def to_spec(self) -> dict[str, Any]:
        """See IODescriptor.to_spec."""
        return {**super().to_spec(), "inputs": {name: part.to_spec() for name, part in self.inputs.items()}}

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        properties = {name: descriptor.schema() for name, descriptor in self.inputs.items()}
        return {"type": "object", "properties": properties, "required": list(properties)}

    def content_schema(self) -> dict[str, Any]:
        """See IODescriptor.content_schema."""
        encoding = {name: {"contentType": ", ".join(part.media_types)} for name, part in self.inputs.items()}
        return {self.media_types[0]: {"schema": self.schema(), "encoding": encoding}}


def _split(body: Body) -> dict[str, Body]:
    """The parts of a body by name.

    Raises:
        BadInput: it is no multipart body, a name is missing or there twice, or there are too many parts.
    """
    delimiter = b"--" + body.boundary.encode("latin-1")
    pieces = (b"\r\n" + body.data).split(b"\r\n" + delimiter)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise BadInput("the multipart body is cut off or has another boundary")
    if len(pieces) - 2 > MAX_PARTS:
        raise BadInput(f"the body has more than {MAX_PARTS} parts")
    parts: dict[str, Body] = {}
    for piece in pieces[1:-1]:
        head, found, data = piece.lstrip(b" \t").partition(b"\r\n\r\n")
        headers = BytesParser(policy=HTTP).parsebytes(
            head.removeprefix(b"\r\n") + b"\r\n\r\n", headersonly=True
        )
        name = headers.get_param("name", header="content-disposition")
        if not found or not isinstance(name, str):
            raise BadInput("a part of the body has no name")
        if name in parts:
            raise BadInput(f"the part {name[:80]!a} is there twice")
        media_type = headers.get_content_type() if headers["content-type"] else ""
        parts[name] = Body(data, media_type, headers.get_filename() or "")
    return parts
