"""What the methods of a framework's models take."""

from __future__ import annotations

from typing import Final, NamedTuple


class Taking(NamedTuple):
    """What a framework says of the arguments of all its methods.

    Attributes:
        arrays: whether lists become arrays; else they stay the lists that they are.
        tables: whether a method may take a table.
        one: whether the first argument is the data and every other one a parameter.
    """

    arrays: bool = True
    tables: bool = True
    one: bool = False


ARRAYS: Final = Taking()
"""Most frameworks: any number of arrays, and tables."""
