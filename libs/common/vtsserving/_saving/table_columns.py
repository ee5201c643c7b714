"""The columns of a table that an input example shows: names, dtypes, and categories in their order."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from vtsserving._model.argument import NOT_DESCRIBED, Argument
from vtsserving._model.contract import MethodContract

MAX_RECORDED_CATEGORIES: Final = 65_536
"""Most categories of one column that a contract holds."""

Known = Sequence[Mapping[str, Any]]


def with_tables(
    contracts: Mapping[str, MethodContract], args: Sequence[Any], categories: Sequence[Sequence[Any]] = ()
) -> dict[str, MethodContract]:
    """The same contracts, knowing the columns of the tables among the arguments of an example.

    What the author wrote stays; of the columns that he named alone, dtype and categories come from the example.

    Args:
        contracts: by method.
        args: of the example.
        categories: of the categorical columns that the framework was trained on, in the order of these columns.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return dict(contracts)
    frames = {at: value for at, value in enumerate(args) if isinstance(value, pandas.DataFrame)}
    found = {}
    for method, contract in contracts.items():
        arguments = dict(contract.arguments)
        for at, frame in frames.items():
            name = contract.names[at] if at < len(contract.names) else ""
            known = arguments.get(name, NOT_DESCRIBED)
            has_rows_first = not known.axis and not contract.batch_dim[0]
            if name and has_rows_first and known.type in ("", "table") and known.shape is None:
                arguments[name] = _described(known, frame, categories if at == 0 else ())
        found[method] = replace(contract, arguments=arguments)
    return found


def _described(known: Argument, frame: Any, categories: Sequence[Sequence[Any]]) -> Argument:
    shown = columns_of(frame, categories)
    if not shown:
        return replace(known, type="table")
    return replace(known, type="table", columns=tuple(_merged(known.columns, shown)))


def _merged(said: Known, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The columns of an author or a framework, completed by those of the example, or these where the names differ."""
    if not said:
        return shown
    by_name = {column["name"]: column for column in shown}
    if any(len(column) > 1 for column in said):
        return [{**_fitting(by_name.get(column["name"], {}), column), **column} for column in said]
    names = [column["name"] for column in said]
    if set(names) == set(by_name):
        return [by_name[name] for name in names]
    # LightGBM writes names with spaces in another way than the table that it was trained on.
    spaced = {str(name).replace(" ", "_"): name for name in by_name}
    if set(names) == set(spaced):
        return [by_name[spaced[name]] for name in names]
    # The example was answered, so its columns are right, whatever else the estimator has seen.
    return shown


def _fitting(shown: Mapping[str, Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
    """The column as the example shows it, unless its author says another dtype."""
    is_other = "dtype" in said and said["dtype"] != shown.get("dtype")
    return {} if is_other or "categories" in said else shown


def columns_of(frame: Any, categories: Sequence[Sequence[Any]] = ()) -> list[dict[str, Any]]:
    """The columns of a frame as a contract records them.

    Args:
        frame: a pandas DataFrame.
        categories: of its categorical columns, where they are known better.

    Returns:
        In their order; empty where the names are not texts or numbers, or one is there twice.
    """
    names = [name.item() if hasattr(name, "item") else name for name in frame.columns]
    if any(isinstance(name, bool) or not isinstance(name, str | int) for name in names):
        return []
    if len({str(name) for name in names}) < len(names):
        return []
    categorical = [at for at, dtype in enumerate(frame.dtypes) if str(dtype) == "category"]
    better = dict(zip(categorical, categories, strict=True)) if len(categories) == len(categorical) else {}
    return [{"name": name, **_values_of(frame.iloc[:, at], better.get(at))} for at, name in enumerate(names)]


def _values_of(series: Any, categories: Sequence[Any] | None) -> dict[str, Any]:
    dtype = series.dtype
    is_whole = getattr(dtype, "kind", "") in "iub" and type(dtype).__module__.startswith("numpy")
    found: dict[str, Any] = {"dtype": str(dtype), "nullable": not is_whole}
    if found["dtype"] == "category":
        listed = [_plain(value) for value in (dtype.categories if categories is None else categories)]
        if listed and all(map(_is_recordable, listed)) and len(listed) <= MAX_RECORDED_CATEGORIES:
            found["categories"] = listed
        if dtype.ordered:
            found["ordered"] = True
    return found


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _is_recordable(value: Any) -> bool:
    return isinstance(value, str | bool) or (isinstance(value, int | float) and math.isfinite(value))
