"""The columns of a table that an input example shows: names, dtypes, and categories in their order."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from vtsserving._codecs.column_arrow import name_of
from vtsserving._codecs.column_categories import categories_index, is_usual
from vtsserving._codecs.column_objects import kind_of
from vtsserving._codecs.json_write import to_json
from vtsserving._model.argument import NOT_DESCRIBED, Argument
from vtsserving._model.contract import MethodContract
from vtsserving.exceptions import VtsServingException

MAX_RECORDED_CATEGORIES: Final = 65_536
"""Most categories of one column that a contract holds."""

Known = Sequence[Mapping[str, Any]]


def with_tables(
    contracts: Mapping[str, MethodContract],
    args: Sequence[Any],
    categories: Sequence[Sequence[Any]] = (),
    specs: Mapping[str, Any] | None = None,
) -> dict[str, MethodContract]:
    """The same contracts, knowing the columns of the tables among the arguments of an example.

    What the author wrote stays; of the columns that he named alone, dtype and categories come from the example.

    Args:
        contracts: by method.
        args: of the example.
        categories: of the categorical columns that the framework was trained on, in the order of these columns.
        specs: what the framework knows of the arguments, by method; texts that it splits itself cannot be missing.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return dict(contracts)
    frames = {at: one for at, one in enumerate(args) if isinstance(one, pandas.DataFrame | pandas.Series)}
    found = {}
    for method, contract in contracts.items():
        arguments = dict(contract.arguments)
        for at, frame in frames.items():
            name = contract.names[at] if at < len(contract.names) else ""
            known = arguments.get(name, NOT_DESCRIBED)
            has_rows_first = not known.axis and not contract.batch_dim[0]
            kind = "table" if isinstance(frame, pandas.DataFrame) else "series"
            if name and has_rows_first and known.type in ("", kind) and known.shape is None:
                arguments[name] = (
                    _series(known, frame)
                    if kind == "series"
                    else _described(known, frame, categories if at == 0 else ())
                )
                if not at and _are_texts((specs or {}).get(method)):
                    arguments[name] = _complete(arguments[name], known.columns)
        found[method] = replace(contract, arguments=arguments)
    return found


def with_categories(
    contracts: Mapping[str, MethodContract], categories: Mapping[str, Sequence[Any]]
) -> dict[str, MethodContract]:
    """The same contracts without an example, knowing the categories that the framework was trained on.

    Args:
        contracts: by method.
        categories: of columns of the first argument, by name; columns of which the author said more stay as they are.
    """
    listed = {name: [_plain(value) for value in values] for name, values in categories.items()}
    known = {
        name: {"dtype": "category", "categories": values}
        for name, values in listed.items()
        if values and all(map(_is_recordable, values)) and len(values) <= MAX_RECORDED_CATEGORIES
    }
    found = {}
    for method, contract in contracts.items():
        first = contract.names[0] if contract.names else ""
        argument = contract.arguments.get(first, NOT_DESCRIBED)
        columns = tuple(
            {**column, **known.get(column["name"], {})} if len(column) == 1 else column
            for column in argument.columns
        )
        more = {first: replace(argument, columns=columns)} if columns else {}
        found[method] = replace(contract, arguments={**contract.arguments, **more})
    return found


def _series(known: Argument, series: Any) -> Argument:
    """The record of a Series, its only column; as it was where its author said more, or its name is none."""
    name = "" if series.name is None else _plain(series.name)
    if known.columns or isinstance(name, bool) or not isinstance(name, str | int):
        return known
    return replace(known, type="series", columns=({"name": name, **_values_of(series, None)},))


def _are_texts(spec: Mapping[str, Any] | None) -> bool:
    """Whether the framework says that the first argument is texts."""
    return any(one.get("dtype") == "str" for one in (spec or {}).get("args", ())[:1])


def _complete(argument: Argument, said: Known) -> Argument:
    """The same without missing values, where its author says nothing of them."""
    kept = {column["name"] for column in said if "nullable" in column}
    columns = tuple(
        column if column["name"] in kept else {**column, "nullable": False} for column in argument.columns
    )
    return replace(argument, columns=columns)


def _described(known: Argument, frame: Any, categories: Sequence[Sequence[Any]]) -> Argument:
    shown = columns_of(frame, categories)
    if not shown:
        return replace(known, type="table")
    return replace(known, type="table", columns=tuple(_merged(known.columns, shown)))


def _merged(said: Known, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The columns of an author or a framework, completed by those of the example, or these where the names differ."""
    if not said:
        return shown
    if [column["name"] for column in said] == [column["name"] for column in shown]:
        return [{**_fitting(own, column), **column} for own, column in zip(shown, said, strict=True)]
    by_name = {column["name"]: column for column in shown}
    if len({str(name) for name in by_name}) < len(shown):
        return shown  # several have one name
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
        In their order; empty where the names are not texts or numbers. A name that is there twice is listed twice.
    """
    names = [name.item() if hasattr(name, "item") else name for name in frame.columns]
    if any(isinstance(name, bool) or not isinstance(name, str | int) for name in names):
        return []
    categorical = [at for at, dtype in enumerate(frame.dtypes) if str(dtype) == "category"]
    better = dict(zip(categorical, categories, strict=True)) if len(categories) == len(categorical) else {}
    return [{"name": name, **_values_of(frame.iloc[:, at], better.get(at))} for at, name in enumerate(names)]


def _values_of(series: Any, categories: Sequence[Any] | None) -> dict[str, Any]:
    dtype = series.dtype
    is_whole = getattr(dtype, "kind", "") in "iub" and type(dtype).__module__.startswith("numpy")
    found: dict[str, Any] = {"dtype": name_of(dtype), "nullable": not is_whole}
    if found["dtype"] == "object":
        found["dtype"] = kind_of(series) or "object"
    if found["dtype"] == "category":
        found |= _categories(dtype.categories, categories)
        if dtype.ordered:
            found["ordered"] = True
    return found


def _categories(own: Any, better: Sequence[Any] | None) -> dict[str, Any]:
    """The categories of a column as JSON values, with their dtype where it is another than pandas makes of these."""
    values = [_plain(value) for value in (own if better is None else better)]
    if not values or len(values) > MAX_RECORDED_CATEGORIES:
        return {}
    kind = kind_of(own) if str(own.dtype) == "object" else name_of(own.dtype)
    if all(map(_is_recordable, values)):
        if is_usual(own.dtype) or str(own.dtype) == "object" or better is not None:
            return {"categories": values}
    elif better is not None or not kind:
        return {}
    listed = json.loads(to_json(own))
    if not all(map(_is_recordable, listed)) or not _is_kept(own, listed, kind):
        return {"categories": values} if all(map(_is_recordable, values)) else {}
    return {"categories": listed, "categories_dtype": kind}


def _is_kept(own: Any, listed: Sequence[Any], kind: str) -> bool:
    """Whether the categories come back from what is recorded of them."""
    try:
        return bool(categories_index(listed, kind).equals(own))
    except (VtsServingException, ValueError, TypeError):
        return False


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _is_recordable(value: Any) -> bool:
    return isinstance(value, str | bool) or (isinstance(value, int | float) and math.isfinite(value))
