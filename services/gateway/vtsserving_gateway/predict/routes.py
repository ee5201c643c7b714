"""URLs of the predict routes: `/v1/models/{tag}` and `/v1/models/{tag}/{method}`."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from vtsserving._model.tag import Tag
from vtsserving.exceptions import InvalidTag, ModelNotFound, NotFound

PREFIX: Final = b"/v1/models/"


class Route(NamedTuple):
    """What a URL names.

    Attributes:
        tag: `name` or `name:reference`, in the grammar of tags.
        method: empty where the URL leaves it out.
        prefers: the method to call then, if the model has it.
        ordinal: the number that the URL gave instead of a version.
    """

    tag: str
    method: str = ""
    prefers: str = ""
    ordinal: str = ""


def parse_route(url: bytes) -> Route:
    """Read the URL of a predict route; a query is ignored.

    Args:
        url: as it stands in the request line; its parts are unquoted once.

    Raises:
        ModelNotFound: what stands for the tag cannot be one.
        NotFound: the URL has other parts, too.
    """
    path = url.partition(b"?")[0].partition(b"#")[0]
    parts = path.removeprefix(PREFIX).split(b"/")
    if len(parts) > 2:
        raise NotFound("no such route; a call is POST /v1/models/{tag}/{method}")
    tag = unquoted(parts[0])
    return Route(known_tag(tag), unquoted(parts[1]) if len(parts) == 2 else "")


def known_tag(text: str) -> str:
    """A tag in its canonical form; ModelNotFound if the text cannot be one, whatever models there are."""
    try:
        # Lowered here and not by Tag, which would warn the operator about what a client sent.
        return str(Tag.parse(text.lower() if text.isascii() else text))
    except InvalidTag as error:
        raise ModelNotFound(f"no such model: {error.message}") from None


def unquoted(part: bytes) -> str:
    """One part of a path, with its %XX decoded once; what is no UTF-8 is kept visible."""
    return (unquote_to_bytes(part) if b"%" in part else part).decode("utf-8", "backslashreplace")
