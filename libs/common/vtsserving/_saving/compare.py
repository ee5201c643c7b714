"""Comparing what an object answers with what the saved model answers, within what computing elsewhere may change.

Another process may add numbers in another order, so numbers are compared within a tolerance that follows from their
dtype, relative to the spread of the output. Texts, whole numbers, types, dtypes and shapes must be equal.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

TOLERANCES: Final = {"float64": 1e-6, "float32": 1e-4, "float16": 2e-2, "bfloat16": 2e-2}
"""Of the output's spread, by dtype; numbers of Python are taken for float32, which most of them were."""

_PLAIN_FLOAT: Final = "float32"
_ROUNDINGS: Final = {"float64": 4e-15, "float32": 2e-6, "float16": 2e-3, "bfloat16": 1.6e-2}
"""The most that rounding otherwise changes of a number far from zero, relative to it, by dtype."""

_COARSE: Final = "bfloat16"
_SHOWN_CHARS: Final = 60

Path = tuple[Any, ...]


class Difference(NamedTuple):
    """Where two answers differ.

    Attributes:
        path: keys and positions from the outside in.
        text: how, for people.
    """

    path: Path
    text: str

    def __str__(self) -> str:
        where = "".join(f"[{part!r}]" for part in self.path)
        return f"{where}: {self.text}" if where else self.text


def differences(
    expected: Any, found: Any, ignored: Collection[Path] = (), *, coarse: bool = False
) -> list[Difference]:
    """Compare two answers, both as the wire carries them.

    Args:
        expected: the object's.
        found: the saved model's.
        ignored: parts that are not compared, as `unsteady` gives them.
        coarse: whether all numbers come from computing with half precision.

    Returns:
        Where they differ; empty where they are equal as far as can be told.
    """
    if () in ignored:
        return []
    if type(expected) is not type(found) and not isinstance(expected, list | tuple | Mapping):
        text = f"{type(expected).__name__} {_shown(expected)} became {type(found).__name__} {_shown(found)}"
        return [Difference((), text)]
    parts, others = dict(_leaves(expected)), dict(_leaves(found))
    result = []
    floats: dict[Path, list[Path]] = {}
    for path in [*parts, *(path for path in others if path not in parts)]:
        if any(path[: len(part)] == part for part in ignored):
            continue
        if path not in others or path not in parts:
            here, there = (_shown(side[path]) if path in side else "nothing" for side in (parts, others))
            result.append(Difference(path, f"{here} became {there}"))
        elif type(parts[path]) is float and type(others[path]) is float:
            floats.setdefault(_pattern(path), []).append(path)
        elif text := _leaf_difference(parts[path], others[path], coarse):
            result.append(Difference(path, text))
    for paths in floats.values():
        result += _plain_float_differences(parts, others, paths, coarse)
    return result


def unsteady(first: Any, second: Any) -> set[Path]:
    """Parts that differ between two answers of one object to one question: they say nothing about another object."""
    parts, others = dict(_leaves(first)), dict(_leaves(second))
    if parts.keys() != others.keys():
        return {()}
    return {path for path in parts if not _equal(parts[path], others[path])}


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The parts of an answer that have no parts; containers give their kind and size, too."""
    if isinstance(value, list | tuple):
        yield (*path, "type"), f"{type(value).__name__} of {len(value)}"
        for at, item in enumerate(value):
            yield from _leaves(item, (*path, at))
    elif isinstance(value, Mapping):
        yield (*path, "type"), f"{type(value).__name__} with {sorted(map(str, value))}"[:500]
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "index"):
        yield from _table_leaves(value, path)
    else:
        yield path, value


def _table_leaves(table: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    yield (*path, "type"), type(table).__name__
    yield (*path, "index"), table.index
    if hasattr(table, "columns"):
        yield (*path, "columns"), table.columns
        for at, name in enumerate(table.columns):
            yield (*path, str(name)), _array_of(table.iloc[:, at])
    else:
        yield (*path, "name"), table.name
        yield (*path, "values"), _array_of(table)


def _array_of(column: Any) -> Any:
    kind = getattr(column.dtype, "kind", "O")
    return column.to_numpy() if kind in "biufcmM" and hasattr(column.dtype, "itemsize") else column


def _leaf_difference(expected: Any, found: Any, coarse: bool) -> str:
    """How two parts differ; empty if they do not."""
    if type(expected) is not type(found):
        return f"{type(expected).__name__} {_shown(expected)} became {type(found).__name__} {_shown(found)}"
    here, there = _numbers(expected), _numbers(found)
    if here is None or there is None:
        return "" if _equal(expected, found) else f"{_shown(expected)} became {_shown(found)}"
    if expected.dtype != found.dtype or tuple(expected.shape) != tuple(found.shape):
        return f"{_kind(expected)} became {_kind(found)}"
    dtype = str(expected.dtype).removeprefix("torch.")
    return _number_difference(here, there, _COARSE if coarse else dtype)


def _numbers(value: Any) -> Any:
    """An array of fractions as float64, or complex128; None for everything else."""
    import numpy as np

    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "is_floating_point"):
        if not (value.is_floating_point() or value.is_complex()):
            return None
        return (value.double() if value.is_floating_point() else value.cdouble()).numpy()
    if not isinstance(value, np.ndarray | np.generic):
        return None
    if value.dtype.kind in "fc":
        return np.asarray(value, dtype=np.complex128 if value.dtype.kind == "c" else np.float64)
    return np.asarray(value, dtype=np.float64) if value.dtype.name in TOLERANCES else None


def _number_difference(expected: Any, found: Any, dtype: str) -> str:
    import numpy as np

    name = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
    special = ~np.isfinite(expected) | ~np.isfinite(found)
    if not np.array_equal(expected[special], found[special], equal_nan=True):
        at = np.argwhere(special)[0]
        return f"{expected[tuple(at)]} became {found[tuple(at)]} at {at.tolist()}"
    plain, other = expected[~special], found[~special]
    if plain.size == 0:
        return ""
    sizes = np.abs(plain)
    largest = float(sizes.max())
    spread = float(np.ptp(plain)) if plain.dtype.kind == "f" else largest
    allowed = TOLERANCES.get(name, 1e-6) * (spread or largest) + _ROUNDINGS.get(name, 4e-15) * largest
    away = np.abs(plain - other)
    if not (away > allowed).any():
        return ""
    at = int(away.argmax())
    return f"{plain[at]:.6g} became {other[at]:.6g} ({dtype}, {int((away > allowed).sum())} of {away.size} numbers)"


def _plain_float_differences(
    parts: Mapping[Path, Any], others: Mapping[Path, Any], paths: list[Path], coarse: bool
) -> list[Difference]:
    """Numbers of Python that stand at the same place of several items have one spread."""
    import numpy as np

    expected, found = (np.array([side[path] for path in paths]) for side in (parts, others))
    text = _number_difference(expected, found, _COARSE if coarse else _PLAIN_FLOAT)
    return [Difference(paths[0] if len(paths) == 1 else _pattern(paths[0]), text)] if text else []


def _pattern(path: Path) -> Path:
    return tuple("*" if isinstance(part, int) else part for part in path)


def _equal(expected: Any, found: Any) -> bool:
    """Whether two parts are the same, bit for bit; what cannot say counts as equal."""
    import numpy as np

    if type(expected) is not type(found):
        return False
    from vtsserving._contract.result_rows import same
    from vtsserving._wire import arrays, sparse

    if sparse.is_sparse(expected) or (isinstance(expected, np.ndarray) and arrays.is_unusual(expected)):
        return same(expected, found)
    if isinstance(expected, np.ndarray):
        return expected.dtype == found.dtype and np.array_equal(
            expected, found, equal_nan=expected.dtype.kind in "fcmM"
        )
    try:
        if hasattr(expected, "equals"):
            return bool(expected.equals(found))
        if type(expected).__module__.partition(".")[0] == "torch":
            return (
                expected.dtype == found.dtype
                and expected.shape == found.shape
                and bool((expected == found).all())
            )
        if isinstance(expected, float) and math.isnan(expected):
            return math.isnan(found)
        return bool(expected == found)
    except Exception:  # the comparison is the value's own code
        return True


def _kind(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}"


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
