"""Text that JSON can carry."""

from __future__ import annotations


def sendable(text: str) -> str:
    """The text, with what is no Unicode replaced."""
    return text.encode("utf-8", "replace").decode()
