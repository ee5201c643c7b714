"""Rules by which tests pack calls."""

from __future__ import annotations

from vtsserving._wire.call_rule import CallRule


def every(axis: int | None) -> CallRule:
    """Every array and every list is rows, inside of dicts and tuples, too."""
    return CallRule(axis, undescribed="every_array_and_list")
