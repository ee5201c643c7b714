"""What an author writes about a model, for people."""

from __future__ import annotations

from typing import Final

from vtsserving.exceptions import InvalidArgument

MAX_DESCRIPTION_CHARS: Final = 10_000


def check_description(description: str | None) -> str:
    """Check a description.

    Raises:
        InvalidArgument: it is no text, or too long.
    """
    if description is None:
        return ""
    if not isinstance(description, str) or len(description) > MAX_DESCRIPTION_CHARS:
        raise InvalidArgument(f"description is text of at most {MAX_DESCRIPTION_CHARS} characters")
    return description
