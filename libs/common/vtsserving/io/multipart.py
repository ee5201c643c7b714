"""Several inputs or outputs in one body, each with a descriptor of its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from vtsserving.exceptions import (
    BadInput,
    BadModelOutput,
    InvalidArgument,
    UnknownField,
    VtsServingException,
)
from vtsserving.io.base import OCTETS, Body, Content, IODescriptor
from vtsserving.io.form_parts import FORM, split


class Multipart(IODescriptor):
    """Named parts, multipart/form-data; the function takes and returns one value per name.

    Args:
        inputs: part name to its descriptor.
    """

    media_types = (FORM,)

    def __init__(self, **inputs: IODescriptor) -> None:
        plain = [
            isinstance(part, IODescriptor) and not isinstance(part, Multipart) for part in inputs.values()
        ]
        if not inputs or not all(plain):
            raise InvalidArgument(
                "Multipart takes descriptors by name: Multipart(image=Image(), options=JSON())"
            )
        self.inputs: Mapping[str, IODescriptor] = inputs

    def check_packages(self) -> None:
        """See IODescriptor.check_packages."""
        for part in self.inputs.values():
            part.check_packages()

    def read(self, body: Body) -> dict[str, Any]:
        """See IODescriptor.read; a dict with a value for each name."""
        if body.media_type != self.media_types[0] or not body.boundary:
            raise BadInput(f"send multipart/form-data with the parts {', '.join(self.inputs)}")
        parts = split(body)
        extra = sorted(set(parts) - set(self.inputs))
        if extra:
            raise UnknownField(f"unknown part {extra[0][:80]!a}; the parts are {', '.join(self.inputs)}")
        missing = [name for name in self.inputs if name not in parts]
        if missing:
            raise BadInput(f"the part {missing[0]!r} is missing")
        values = {}
        for name, descriptor in self.inputs.items():
            try:
                values[name] = _read_part(descriptor, parts[name])
            except VtsServingException as error:
                error.args = (f"the part {name!r}: {error.message}",)
                raise
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
            content = _write_part(name, descriptor, value[name], accept)
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
        return _object_of({name: descriptor.schema() for name, descriptor in self.inputs.items()})

    def result_schema(self) -> dict[str, Any]:
        """See IODescriptor.result_schema."""
        return _object_of({name: descriptor.result_schema() for name, descriptor in self.inputs.items()})

    def content_schema(self, *, result: bool = False) -> dict[str, Any]:
        """See IODescriptor.content_schema."""
        schema = self.result_schema() if result else self.schema()
        encoding = {name: {"contentType": ", ".join(part.media_types)} for name, part in self.inputs.items()}
        return {self.media_types[0]: {"schema": schema, "encoding": encoding}}


def _object_of(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _read_part(descriptor: IODescriptor, part: Body) -> Any:
    # What curl and browsers say of any file whose type they do not know.
    if part.media_type == OCTETS and not descriptor.accepts(OCTETS):
        part = part._replace(media_type="")
    descriptor.check_media_type(part)
    return descriptor.read(part)


def _write_part(name: str, descriptor: IODescriptor, value: Any, accept: str) -> Content:
    try:
        return descriptor.write_as(value, accept)
    except BadModelOutput as error:
        raise BadModelOutput(f"the part {name!r}: {error.message}") from error
