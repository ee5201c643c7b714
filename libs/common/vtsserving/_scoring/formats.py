"""The formats of files that are scored, told by the ends of their names."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from vtsserving.exceptions import InvalidArgument

Format = Literal["csv", "tsv", "parquet", "arrow", "arrows", "npy"]

SUFFIXES: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".arrows": "arrows",
    ".npy": "npy",
}
FORMATS: Final = tuple(dict.fromkeys(SUFFIXES.values()))
DELIMITERS: Final = {"csv": ",", "tsv": "\t"}
OF_PYARROW: Final = ("parquet", "arrow", "arrows")
"""Those that need pyarrow."""


def format_of(path: Path, said: str | None = None) -> Format:
    """The format of a file.

    Args:
        path: of the file, which need not exist.
        said: the format, where the name does not tell it.

    Raises:
        InvalidArgument: the name tells none, or `said` is none.
    """
    if said is not None:
        for known in FORMATS:
            if said == known:
                return known
        raise InvalidArgument(f"the format {said!r:.40} is not known; there are {', '.join(FORMATS)}")
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InvalidArgument(
            f"the name {path.name!r} does not tell a format; it ends in {', '.join(SUFFIXES)}, or say the format"
        )
    return found
