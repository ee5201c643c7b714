"""Plain text."""

from __future__ import annotations

from typing import Any

from vtsserving.exceptions import BadEncoding, BadModelOutput
from vtsserving.io.base import Body, Content, IODescriptor


class Text(IODescriptor):
    """A str; UTF-8 on the wire. Any media type is read."""

    media_types = ("text/plain",)
    takes_nothing = True

    def __init__(self) -> None:
        self._example: str | None = None

    @classmethod
    def from_sample(cls, sample: str) -> Text:
        """A descriptor with an example for the documentation."""
        made = cls()
        made._example = sample
        return made

    def accepts(self, media_type: str) -> bool:
        """Any text: clients rarely say text/plain."""
        return not media_type.startswith("multipart/")

    def read(self, body: Body) -> Any:
        """See IODescriptor.read."""
        try:
            return body.data.decode("utf-8")
        except UnicodeDecodeError:
            raise BadEncoding("the body is not UTF-8") from None

    def write(self, value: Any) -> Content:
        """See IODescriptor.write."""
        if not isinstance(value, str):
            raise BadModelOutput(f"expected text (str), got {type(value).__name__}")
        return Content(value.encode("utf-8", "replace"), "text/plain; charset=utf-8")

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        return {"type": "string", **({"examples": [self._example]} if self._example is not None else {})}
