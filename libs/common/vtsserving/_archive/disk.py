"""The local disk's refusals, as the one error that users see."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from vtsserving.exceptions import StorageError


@contextlib.contextmanager
def path_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that names a path, and says that nothing was changed.

    Args:
        path: what the block works on; the error names it where the system does not.

    Raises:
        StorageError: full, read-only, not permitted, not a folder, and the like.
    """
    try:
        yield
    except OSError as e:
        where = e.filename if isinstance(e.filename, str) and e.filename else os.fspath(path)
        raise StorageError(f"{where}: {e.strerror or e}; nothing was changed") from e
