"""A table of the Open Inference Protocol: one input per column, of the shape [n] or [n, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from vtsserving._codecs.columns import Column, pandas_module
from vtsserving._codecs.table_limits import MAX_TABLE_CELLS, MAX_TABLE_COLUMNS
from vtsserving.exceptions import BadShape, TooLarge, WrongType
from vtsserving_gateway.predict.decode import Target
from vtsserving_gateway.predict.oip_tensors import BYTES, DTYPES, read_tensor

PANDAS: Final = "pd"
"""The content type by which a request says that its inputs are columns."""


def is_table(target: Target, inputs: Sequence[Any], content_type: Any) -> bool:
    """Whether the inputs of a request are the columns of one table, which is the method's first argument.

    Args:
        target: the method.
        inputs: of the request, not yet checked.
        content_type: of the request's parameters.
    """
    names = {name for one in inputs if isinstance(one, dict) and isinstance(name := one.get("name"), str)}
    arguments = target.arguments
    known = arguments.known_columns(0)
    if known is not None and known.columns:
        texts = {str(name) for name in known.names}
        if texts <= names:
            return _are_columns(inputs)
    if content_type == PANDAS:
        return _are_columns(inputs)
    contract = arguments.contract
    takes = {*contract.names, *contract.keywords}
    table = arguments.table(0)
    return table is not None and not takes & names and _are_columns(inputs)


def _are_columns(inputs: Sequence[Any]) -> bool:
    shapes = [one.get("shape") for one in inputs if isinstance(one, dict)]
    return len(shapes) == len(inputs) and all(
        isinstance(shape, list) and (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1))
        for shape in shapes
    )


def read_column(raw: dict[str, Any], data: memoryview | None) -> tuple[str, Any]:
    """One column: its name, and its values, in the dtype of its datatype; null is a missing value.

    Args:
        raw: its JSON object.
        data: its binary data; None when it is in the JSON.

    Raises:
        BadInput: of many kinds.
    """
    given = raw.get("data")
    flat = _flat(given) if isinstance(given, list) else given
    if data is not None or not isinstance(flat, list) or None not in flat:
        name, array = read_tensor(raw, data)
        return name, array.reshape(-1)
    gaps = [at for at, item in enumerate(flat) if item is None]
    datatype = raw.get("datatype")
    filled = [
        ("" if datatype == BYTES else False if datatype == "BOOL" else 0) if item is None else item
        for item in flat
    ]
    name, array = read_tensor({**raw, "data": filled}, None)
    items = array.reshape(-1).astype(object)
    items[gaps] = None
    if datatype == BYTES:
        return name, items
    return name, Column(name, DTYPES[str(datatype)].name, nullable=True).of_items(
        items.tolist(), "the inputs"
    )


def _flat(items: list[Any]) -> list[Any]:
    return (
        [item for row in items for item in row]
        if items and all(isinstance(row, list) for row in items)
        else items
    )


def frame_of(columns: dict[str, Any]) -> Any:
    """The DataFrame of a request's columns, in their order.

    Raises:
        BadShape: they have different numbers of rows. TooLarge: there are too many.
        UnsupportedMediaType: pandas is not installed.
    """
    pd = pandas_module()
    rows = {len(values) for values in columns.values()}
    if len(rows) > 1:
        shown = ", ".join(f"{name!r:.40} {len(values)}" for name, values in list(columns.items())[:5])
        raise BadShape(f"the inputs are columns of different lengths: {shown}")
    if len(columns) > MAX_TABLE_COLUMNS or len(columns) * max(rows) > MAX_TABLE_CELLS:
        raise TooLarge("the inputs are columns of a table that is too large")
    frame = pd.DataFrame({at: _values(pd, values) for at, values in enumerate(columns.values())})
    frame.columns = pd.Index(list(columns))
    return frame


def _values(pd: Any, values: Any) -> Any:
    if not isinstance(values, np.ndarray) or values.dtype.kind != "O":
        return pd.Series(values)
    if not all(item is None or isinstance(item, str) for item in values):
        raise WrongType("an input of BYTES holds something else than text")
    return pd.Series(values.tolist(), dtype=object).infer_objects() if len(values) else pd.Series(values)
