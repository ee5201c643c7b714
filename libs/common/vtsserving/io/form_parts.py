"""The parts of a multipart body."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP
from typing import Final

from vtsserving.exceptions import BadInput
from vtsserving.io.base import Body

FORM: Final = "multipart/form-data"
MAX_PARTS: Final = 64


def split(body: Body) -> dict[str, Body]:
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


def only_part(body: Body) -> Body:
    """The file of a form with one field, as `curl -F file=@NAME` and browsers send it; any other body as it is.

    Raises:
        BadInput: the form has several parts, or is none.
    """
    if body.media_type != FORM:
        return body
    parts = split(body)
    if len(parts) != 1:
        raise BadInput(f"send one file; the form has the parts {', '.join(list(parts)[:8])}")
    return next(iter(parts.values()))
