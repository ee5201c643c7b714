"""scipy's sparse matrices and arrays as values.

    matrix = [format, is array, shape, tensor...]

| format | tensors |
|---|---|
| csr, csc, bsr | data, indices, indptr |
| coo | data, row, column; one index fewer for one dimension |
| dia | data, offsets |
| lil | as csr |
| dok | as coo |

What scipy would not check, and would read or write beyond its memory for, is checked here before anything is built.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from vtsserving._wire.limits import MAX_ROWS
from vtsserving.exceptions import BadFrame, MissingDependency, UnsupportedValue

SPARSE: Final = 12

Array = np.ndarray[Any, Any]

_SENT_AS: Final = {"lil": "csr", "dok": "coo"}
_PARTS: Final = {"csr": 3, "csc": 3, "bsr": 3, "dia": 2}


def is_sparse(value: Any) -> bool:
    """Whether `value` is a sparse matrix or array of scipy; never imports scipy."""
    module = sys.modules.get("scipy.sparse")
    return module is not None and bool(module.issparse(value))


def is_mapping(value: Any) -> bool:
    """Whether `value` is a dict whose items are what it holds; scipy's dok matrices are dicts, too."""
    return type(value) is dict or (isinstance(value, dict) and not is_sparse(value))


def fields_of(value: Any, where: str) -> list[Any]:
    """The fields that travel; see the module.

    Args:
        value: a sparse matrix or array.
        where: how to name it in an error.

    Raises:
        UnsupportedValue: more than two dimensions, or too large.
    """
    shape = [int(size) for size in value.shape]
    if len(shape) > 2 or max(shape) >= MAX_ROWS:
        raise UnsupportedValue(
            f"{where} is a sparse array of shape {tuple(shape)}, which cannot be sent; at most two dimensions below "
            f"{MAX_ROWS} are"
        )
    if value.dtype.kind not in "biuf":
        raise UnsupportedValue(f"{where} is a sparse array of complex numbers, which cannot be sent")
    form = value.format
    is_array = type(value).__name__.endswith("_array")
    plain = value.asformat(_SENT_AS[form]) if form in _SENT_AS else value
    return [form, is_array, shape, *_parts(plain)]


def _parts(value: Any) -> list[Array]:
    if value.format == "coo":
        return [value.data, *(value.coords if hasattr(value, "coords") else (value.row, value.col))]
    if value.format == "dia":
        return [value.data, value.offsets]
    # What lies behind the last row is room that was not used.
    used = int(value.indptr[-1])
    return [value.data[:used], value.indices[:used], value.indptr]


def decode(fields: list[Any]) -> Any:
    """The sparse matrix or array of what travelled; its memory is its own.

    Raises:
        BadFrame: it is none.
        MissingDependency: scipy is not installed here.
    """
    try:
        import scipy.sparse
    except ImportError as error:
        raise MissingDependency(
            "a sparse matrix was received, but scipy is missing: pip install scipy"
        ) from error
    form, is_array, shape, parts = _checked(fields)
    sent_as = _SENT_AS.get(form, form)
    kind = "array" if is_array else "matrix"
    build = getattr(scipy.sparse, f"{sent_as}_{kind}")
    parts = [part.copy() for part in parts]
    content = (parts[0], tuple(parts[1:])) if sent_as == "coo" else tuple(parts)
    try:
        built = build(content, shape=shape, copy=False)
        return built if sent_as == form else built.asformat(form)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise BadFrame(f"unreadable sparse matrix: {type(error).__name__}") from error


def _checked(fields: list[Any]) -> tuple[str, bool, tuple[int, ...], list[Array]]:
    if (
        len(fields) < 5
        or type(fields[0]) is not str
        or type(fields[1]) is not bool
        or type(fields[2]) is not list
    ):
        raise BadFrame("a sparse matrix is [format, is array, shape, tensor...]")
    form, is_array, shape, *parts = fields
    if not 1 <= len(shape) <= 2 or any(type(size) is not int or not 0 <= size < MAX_ROWS for size in shape):
        raise BadFrame("a sparse matrix of an impossible shape")
    sent_as = _SENT_AS.get(form, form)
    if len(shape) == 1 and (not is_array or sent_as not in ("coo", "csr")):
        raise BadFrame("a sparse matrix of one dimension")
    if any(type(part) is not np.ndarray for part in parts) or parts[0].dtype.kind not in "biuf":
        raise BadFrame("a sparse matrix of something else than tensors of numbers")
    if any(part.ndim != 1 or part.dtype not in (np.int32, np.int64) for part in parts[1:]):
        raise BadFrame("a sparse matrix whose indices are not integers in one dimension")
    if sent_as == "coo":
        _check_coo(shape, parts)
    elif len(parts) != _PARTS.get(sent_as):
        raise BadFrame("a sparse matrix of an unknown format")
    elif sent_as == "dia":
        _check_dia(parts)
    else:
        _check_compressed(sent_as, shape, parts)
    return form, is_array, tuple(shape), parts


def _check_coo(shape: Sequence[int], parts: list[Array]) -> None:
    data, *coordinates = parts
    if data.ndim != 1 or len(coordinates) != len(shape):
        raise BadFrame("a sparse matrix without an index for each dimension")
    for indices, size in zip(coordinates, shape, strict=True):
        _check_indices(indices, size, len(data))


def _check_dia(parts: list[Array]) -> None:
    data, offsets = parts
    if data.ndim != 2 or len(offsets) != len(data) or len(np.unique(offsets)) != len(offsets):
        raise BadFrame("a sparse matrix without an offset for each diagonal")
    if len(offsets) and not -MAX_ROWS < int(offsets.min()) <= int(offsets.max()) < MAX_ROWS:
        raise BadFrame("a sparse matrix with a diagonal beyond its shape")


def _check_compressed(sent_as: str, shape: Sequence[int], parts: list[Array]) -> None:
    data, indices, indptr = parts
    rows, columns = (1, *shape)[-2:]
    if sent_as == "bsr":
        if data.ndim != 3 or 0 in data.shape[1:] or rows % data.shape[1] or columns % data.shape[2]:
            raise BadFrame("a sparse matrix whose blocks do not fill it")
        rows, columns = rows // data.shape[1], columns // data.shape[2]
    elif data.ndim != 1:
        raise BadFrame("a sparse matrix whose values are not in one dimension")
    major, minor = (columns, rows) if sent_as == "csc" else (rows, columns)
    if len(indptr) != major + 1 or indptr[0] or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise BadFrame("a sparse matrix whose rows do not add up")
    _check_indices(indices, minor, len(data))


def _check_indices(indices: Array, size: int, count: int) -> None:
    if len(indices) != count:
        raise BadFrame("a sparse matrix without an index for each value")
    if count and not 0 <= int(indices.min()) <= int(indices.max()) < size:
        raise BadFrame("a sparse matrix with an index beyond its shape")
