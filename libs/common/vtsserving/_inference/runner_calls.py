"""Calls that a Service's function makes through a runner: packed, and their mistakes told from those of its callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vtsserving._catalog.catalog import CatalogEntry, Method
from vtsserving._wire.rows import Packed
from vtsserving.exceptions import BadInput, InvalidArgument, MethodNotFound, UnknownArgument


def packed_call(
    entry: CatalogEntry, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Method, Packed]:
    """The method and the packed arguments of a runner's call.

    Raises:
        BadInput: of its many kinds: the values do not fit the contract.
        InvalidArgument, MethodNotFound: the call itself is wrong; `by_author` is set.
    """
    try:
        described = entry.method(method)
        return described, entry.pack(described, args, kwargs)
    except (InvalidArgument, MethodNotFound) as error:
        error.by_author = not _is_about_values(error)
        raise


def _is_about_values(error: Exception) -> bool:
    """Whether it is about values, which mostly are the caller's, rather than about names and types that code chose."""
    return isinstance(error, BadInput) and type(error) not in (BadInput, UnknownArgument)
