"""A library's refusal of text in the place of numbers: the caller's mistake, where the text is certainly the caller's.

scikit-learn is believed where its `check_array` could not read as numbers the very table or array that the method was
given, or columns of it as they came: those that it was fitted on were read so. XGBoost and LightGBM take no texts, and
CatBoost knows which columns are numbers. Everything else that a model raises may be its own fault, and stays that.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, Final, NamedTuple

import numpy as np

from vtsserving._wire import tables
from vtsserving.exceptions import WrongType

_CONVERSION: Final = "could not convert string to float"
_REFUSALS: Final = (
    ("xgboost", "DataFrame.dtypes for data must be int, float, bool or category"),
    ("lightgbm", "pandas dtypes must be int, float or bool"),
)
"""Package, and how the message begins by which it refuses a table for the dtypes of its columns."""

_BAD_FEATURE: Final = re.compile(r"Bad value for num_feature\[\w+=\d+,feature_idx=(\d+)\]")
"""CatBoost's, with the position of the column."""

MAX_CHAIN: Final = 8
"""Most errors that are looked at, of those behind one another."""


class _Text(NamedTuple):
    column: Any
    value: str


HINT: Final = (
    "; a model that is saved with an input_example refuses such text of a request before it is called"
)


def hint(error: BaseException) -> str:
    """The way out for an author, where text among numbers may be the model's or a caller's; empty for other errors."""
    try:
        return HINT if isinstance(error, ValueError) and _CONVERSION in str(error) else ""
    except Exception:  # a __str__ that raises is the model's code too
        return ""


def called(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The result of a method.

    Args:
        function: the method.
        args: of the call, the data first.
        kwargs: likewise.

    Raises:
        WrongType: a text of the caller's stands where the model takes numbers. Everything else as the method raises it.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        refused = callers_text(error, args, kwargs)
        if refused is None:
            raise
        raise refused from error


def callers_text(error: BaseException, args: Sequence[Any], kwargs: Mapping[str, Any]) -> WrongType | None:
    """The error of a text that a caller sent where the model takes numbers.

    Args:
        error: what a method raised.
        args: that it was given; its data first.
        kwargs: the named ones.

    Returns:
        The error, with the column and the text; None: nobody can say whose fault it is.
    """
    given = next(iter((*args, *kwargs.values())), None)
    try:
        found = _refused(error, given)
    except Exception:  # errors and tables are a model's own, so anything may be wrong with them
        return None
    if found is None:
        return None
    # A row would be that of a part, where a large call is computed in several.
    return WrongType(f"input, column {found.column!r:.80} holds {found.value!r:.80}; expected a number")


def _refused(error: BaseException, given: Any) -> _Text | None:
    if type(error).__name__ == "CatBoostError":
        match = _BAD_FEATURE.match(str(error))
        return _first_text(given, only=int(match.group(1))) if match else None
    if type(error) is not ValueError:
        return None
    text = str(error)
    if any(text.startswith(beginning) and package in sys.modules for package, beginning in _REFUSALS):
        return _first_text(given)
    return _in_check(error, given) if "sklearn.utils.validation" in sys.modules else None


def _in_check(error: ValueError, given: Any) -> _Text | None:
    """The text in data that scikit-learn could not read as numbers, if it was given so."""
    for one in _chain(error):
        if type(one) is ValueError and _CONVERSION in str(one):
            for checked in _checked(one):
                return _first_text(checked) if checked is given or _is_part(checked, given) else None
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    for _ in range(MAX_CHAIN):
        if found is None:
            return
        yield found
        found = found.__cause__ or found.__context__


def _checked(error: BaseException) -> Iterator[Any]:
    """The arguments of the calls of `check_array` in which an error was raised, the innermost first."""
    from sklearn.utils import check_array

    code = check_array.__code__
    frames: list[FrameType] = []
    at = error.__traceback__
    while at is not None:
        frames.append(at.tb_frame)
        at = at.tb_next
    for frame in reversed(frames):
        if frame.f_code is code:
            yield frame.f_locals.get(code.co_varnames[0])


def _is_part(checked: Any, given: Any) -> bool:
    """Whether a table is some columns of another one, and nothing in them was changed."""
    if not all(tables.is_table(one) and not tables.is_series(one) for one in (checked, given)):
        return False
    names = list(checked.columns)
    is_known = given.columns.is_unique and set(names) <= set(given.columns) and len(checked) == len(given)
    return bool(is_known and checked.equals(given[names]))


def _first_text(data: Any, only: int | None = None) -> _Text | None:
    """The first text of a table or an array that is not a number; of the column `only`, where that is said."""
    if tables.is_table(data) and not tables.is_series(data):
        names, columns = list(data.columns), data.to_numpy(object)
    elif isinstance(data, np.ndarray) and data.ndim == 2 and data.dtype.kind in "OU":
        names, columns = list(range(data.shape[1])), data
    else:
        return None
    for at in range(len(names)) if only is None else (only,):
        for item in columns[:, at].tolist():
            if isinstance(item, str) and not _is_number(item):
                return _Text(names[at], item)
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
