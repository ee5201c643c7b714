"""The parts of a multipart body."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Final

from vtsserving.exceptions import BadInput
from vtsserving.io.base import OCTETS, Body, IODescriptor

FORM: Final = "multipart/form-data"
MAX_PARTS: Final = 64
MAX_HEAD_BYTES: Final = 16 * 1024
"""Longest headers of one part."""


def split(body: Body) -> list[tuple[str, Body]]:
    """The parts of a body with their names, in order.

    Raises:
        BadInput: it is not a multipart body, a name is missing, or there are too many parts.
    """
    delimiter = b"--" + body.boundary.encode("latin-1")
    pieces = (b"\r\n" + body.data).split(b"\r\n" + delimiter, MAX_PARTS + 2)
    if len(pieces) - 2 > MAX_PARTS:
        raise BadInput(f"the body has more than {MAX_PARTS} parts")
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise BadInput("the multipart body is cut off or has another boundary")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> tuple[str, Body]:
    head, found, data = piece.lstrip(b" \t").partition(b"\r\n\r\n")
    if len(head) > MAX_HEAD_BYTES:
        raise BadInput(f"the headers of a part are longer than {MAX_HEAD_BYTES} bytes")
    headers = BytesParser(policy=HTTP).parsebytes(head.removeprefix(b"\r\n") + b"\r\n\r\n", headersonly=True)
    name = headers.get_param("name", header="content-disposition")
    if not found or not isinstance(name, str):
        raise BadInput("a part of the body has no name")
    media_type = headers.get_content_type() if headers["content-type"] else ""
    return name, Body(data, media_type, headers.get_filename() or "")


def only_part(body: Body) -> Body:
    """The file of a form with one field, as `curl -F file=@NAME` and browsers send it; any other body as it is.

    Raises:
        BadInput: the form has several parts, or is none.
    """
    if body.media_type != FORM:
        return body
    parts = split(body)
    if len(parts) != 1:
        names = ", ".join(name[:80] for name, _ in parts[:8])
        raise BadInput(f"send one file; the form has the parts {names}")
    return parts[0][1]


def read_body(descriptor: IODescriptor, body: Body) -> Any:
    """The value of a request's body.

    A form with one file is the file, and bytes of which the client does not know the type are recognised by what they
    are.

    Raises:
        BadInput: of its many kinds, as `IODescriptor.read`.
    """
    if body.media_type == FORM and not descriptor.accepts(FORM):
        body = only_part(body)
    return read_part(descriptor, body)


def read_part(descriptor: IODescriptor, part: Body) -> Any:
    """The value of one part; raises as `read_body`."""
    # What curl and browsers say of any file whose type they do not know.
    if part.media_type == OCTETS and not descriptor.accepts(OCTETS):
        part = part._replace(media_type="")
    descriptor.check_media_type(part)
    return descriptor.read(part)
