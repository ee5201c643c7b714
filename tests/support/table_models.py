"""Functions over tables, as users save them; their module is saved with them."""

from __future__ import annotations

from typing import Any


def older(df: Any) -> list[bool]:
    """Whether each row's age is above 30."""
    return [bool(age > 30) for age in df["age"]]


def shown(df: Any) -> list[list[str]]:
    """Each row's values as text, then the dtypes of the columns."""
    dtypes = [str(dtype) for dtype in df.dtypes]
    return [[*map(str, row), *dtypes] for row in df.itertuples(index=False)]
