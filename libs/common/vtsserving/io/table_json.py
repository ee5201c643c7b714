"""DataFrames and Series as JSON in the orients of pandas, with every digit: pandas' own writer cuts floats short."""

from __future__ import annotations

from typing import Any

from vtsserving.json_writing import to_json


def frame_to_json(frame: Any, orient: str) -> bytes:
    """A DataFrame as JSON.

    Args:
        frame: a DataFrame.
        orient: records, columns, index, split or values, as pandas names them.

    Returns:
        UTF-8; labels are text where they are keys; times are ISO 8601; what is missing or not finite is null.

    Raises:
        BadModelOutput: a cell has no JSON form.
    """
    columns = [str(label) for label in frame.columns]
    rows = frame.itertuples(index=False, name=None)
    if orient == "values":
        return to_json(list(rows))
    if orient == "split":
        labels = {"columns": frame.columns.tolist(), "index": frame.index.tolist()}
        return to_json({**labels, "data": list(rows)})
    if orient == "records":
        return to_json([dict(zip(columns, row, strict=True)) for row in rows])
    index = [str(label) for label in frame.index]
    if orient == "index":
        records = (dict(zip(columns, row, strict=True)) for row in rows)
        return to_json(dict(zip(index, records, strict=True)))
    by_column = [frame.iloc[:, number].tolist() for number in range(len(columns))]
    return to_json(
        {name: dict(zip(index, values, strict=True)) for name, values in zip(columns, by_column, strict=True)}
    )


def series_to_json(series: Any, orient: str) -> bytes:
    """A Series as JSON; orient records, index or split. Otherwise as frame_to_json."""
    values = series.tolist()
    if orient == "records":
        return to_json(values)
    if orient == "split":
        return to_json({"name": series.name, "index": series.index.tolist(), "data": values})
    return to_json({str(label): value for label, value in zip(series.index, values, strict=True)})
