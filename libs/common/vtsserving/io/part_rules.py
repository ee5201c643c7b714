"""Rules of how often a part of a form comes."""

from __future__ import annotations

from typing import Any

from vtsserving.exceptions import InvalidArgument
from vtsserving.io.base import IODescriptor
from vtsserving.io.form_parts import MAX_PARTS


class Repeated:
    """A part that may come several times under one name, such as the files of one field; its value is a list.

    A client may also write its name with brackets, `photos[]`.

    Args:
        part: reads and writes each.
        at_least: fewest; with 0 the part may be left out, and the list is then empty.
        at_most: most; a form has 64 parts in all.

    Raises:
        InvalidArgument: `part` is not a descriptor of one part, or the numbers are not possible.
    """

    def __init__(self, part: IODescriptor, *, at_least: int = 1, at_most: int = MAX_PARTS) -> None:
        self.part = check_part(part)
        if not 0 <= at_least <= at_most <= MAX_PARTS or not at_most:
            raise InvalidArgument(
                f"at_least and at_most are numbers from 0 to {MAX_PARTS}, not {at_least!r} and {at_most!r}"
            )
        self.at_least = at_least
        self.at_most = at_most


class OptionalPart:
    """A part that may be left out.

    Args:
        part: reads and writes it.
        default: what the function gets where it is left out. A function leaves it out of its results by None.

    Raises:
        InvalidArgument: `part` is not a descriptor of one part.
    """

    def __init__(self, part: IODescriptor, default: Any = None) -> None:
        self.part = check_part(part)
        self.default = default


def check_part(part: Any) -> IODescriptor:
    """A descriptor that one part of a form may have.

    Raises:
        InvalidArgument: it is none, or one of whole forms.
    """
    if not isinstance(part, IODescriptor) or hasattr(part, "inputs"):
        raise InvalidArgument("Multipart takes descriptors by name: Multipart(image=Image(), options=JSON())")
    return part
