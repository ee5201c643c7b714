"""Packages that only some files need, with the line that installs them where they are missing."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from vtsserving.exceptions import MissingDependency


def pyarrow(module: str = "pyarrow") -> Any:
    """A module of pyarrow.

    Args:
        module: its dotted name.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(
            "Parquet and Arrow files need a package: pip install 'vtsserving[arrow]'; CSV and .npy files do not"
        ) from error


def pandas() -> Any:
    """The package pandas.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise MissingDependency(
            "the method takes a table, which needs a package: pip install 'vtsserving[pandas]'"
        ) from error


def has_pandas() -> bool:
    """Whether pandas is installed."""
    return importlib.util.find_spec("pandas") is not None
