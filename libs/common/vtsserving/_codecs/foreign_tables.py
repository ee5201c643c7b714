"""Tables and columns of pyarrow and polars as those of pandas, with every digit."""

from __future__ import annotations

from typing import Any, Final

from vtsserving._codecs.arrow_tables import frame_of_arrow
from vtsserving._codecs.columns import inferred, pandas_module
from vtsserving._wire import arrow_data

FRAMES: Final = ("pyarrow.Table", "pyarrow.RecordBatch", "polars.DataFrame")
"""Classes of tables, as `arrow_data.class_of` names them."""


def as_pandas(value: Any) -> Any:
    """The DataFrame or Series that a table or column of pyarrow or polars is; everything else as it is.

    Raises:
        UnsupportedMediaType: pandas is not installed here.
    """
    name = arrow_data.class_of(value)
    if name in FRAMES:
        return _frame(value, name)
    if not name:
        return value
    frame = _frame(value.to_frame("0"), "polars.DataFrame") if name == "polars.Series" else _column(value)
    series = frame.iloc[:, 0]
    series.name = (value.name or None) if name == "polars.Series" else None
    return series


def _column(value: Any) -> Any:
    import pyarrow as pa

    return frame_of_arrow(pa.table({"0": value}))


def _frame(value: Any, name: str) -> Any:
    if not name.startswith("polars"):
        return frame_of_arrow(value)
    try:
        import pyarrow  # noqa: F401  polars asks for it
    except ImportError:
        return _by_items(value)
    return frame_of_arrow(value.to_arrow())


def _by_items(value: Any) -> Any:
    """The DataFrame of a table of polars where pyarrow, by which polars becomes pandas, is missing."""
    pd = pandas_module()
    columns = [inferred(_items(value[name])) for name in value.columns]
    made = pd.DataFrame(dict(enumerate(columns)), index=range(value.height))
    made.columns = pd.Index(list(value.columns))
    return made


def _items(series: Any) -> Any:
    """The values of a column of polars; Python's own times have no nanoseconds."""
    import polars

    kind = series.dtype
    if kind not in (polars.Datetime, polars.Duration):
        return series.to_list()
    pd = pandas_module()
    numbers = series.to_physical().to_list()
    if kind == polars.Duration:
        return [None if one is None else pd.Timedelta(one, unit=kind.time_unit) for one in numbers]
    zone = kind.time_zone
    return [None if one is None else pd.Timestamp(one, unit=kind.time_unit, tz=zone) for one in numbers]
