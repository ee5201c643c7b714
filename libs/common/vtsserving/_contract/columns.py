"""Tables whose columns are known by name: any order comes in, the recorded order goes to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vtsserving._wire import tables
from vtsserving.exceptions import BadShape

MAX_NAMED: Final = 5
"""Most column names in one message."""


def with_known_columns(table: Any, columns: Sequence[Mapping[str, Any]], where: str) -> Any:
    """A table with its columns in the recorded order.

    Args:
        table: a DataFrame or Series.
        columns: those that are recorded, in order, each with a `name`; empty: nothing is known.
        where: how an error names the table.

    Returns:
        The same table if nothing is known of its columns, or if they are in order.

    Raises:
        BadShape: a column is missing, unknown, or there twice; the message names it.
    """
    if not columns or tables.is_series(table):
        return table
    wanted = [column["name"] for column in columns]
    found = list(table.columns)
    if found == wanted:
        return table
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    if missing or unknown:
        what = [f"misses {_listed(missing)}"] * bool(missing) + [
            f"has the unknown {_listed(unknown)}"
        ] * bool(unknown)
        raise BadShape(f"{where} {' and '.join(what)}; its columns are {_listed(wanted)}")
    if len(found) != len(wanted):
        raise BadShape(f"{where} has a column twice; its columns are {_listed(wanted)}")
    return table[wanted]


def _listed(names: Sequence[Any]) -> str:
    shown = ", ".join(repr(name)[:80] for name in names[:MAX_NAMED])
    return shown + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
