"""Functions over tables, as users save them; their module is saved with them."""

from __future__ import annotations

from typing import Any


def older(df: Any) -> list[bool]:
    """Whether each row's age is above 30."""
    return [bool(age > 30) for age in df["age"]]


def codes(df: Any) -> list[list[Any]]:
    """Each row's codes of categories, and what its objects say of themselves."""
    return [
        [int(bin_code), int(month_code), day.day, str(price * 2), took.total_seconds()]
        for bin_code, month_code, day, price, took in zip(
            df["bin"].cat.codes, df["month"].cat.codes, df["day"], df["price"], df["took"], strict=True
        )
    ]


def lengths(reviews: Any) -> Any:
    """The length of each text of a Series."""
    return reviews.str.len().fillna(0).astype(int)


def weighted(x: Any, weights: Any) -> Any:
    """Each row's sum."""
    return x @ weights


def shout(text: Any) -> Any:
    """One text, or each of a list, in capitals."""
    return text.upper() if isinstance(text, str) else [one.upper() for one in text]


def shown(df: Any) -> list[list[str]]:
    """Each row's values as text, then the dtypes of the columns."""
    dtypes = [str(dtype) for dtype in df.dtypes]
    return [[*map(str, row), *dtypes] for row in df.itertuples(index=False)]
