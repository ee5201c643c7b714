"""Functions that take tables of polars, as users save them; their module is saved with them."""

from __future__ import annotations

from typing import Any


def with_total(table: Any) -> Any:
    """The table with one more column; a method of polars alone makes it."""
    import polars as pl

    return table.with_columns((pl.col("price") * pl.col("count")).alias("total"))


def schema(df: Any) -> list[str]:
    """The dtypes of a table of pandas, for each row, then its cells."""
    dtypes = [f"{name}: {dtype}" for name, dtype in df.dtypes.items()]
    return [", ".join([*dtypes, *map(repr, row)]) for row in df.itertuples(index=False)]
