"""Where this user's models live on disk."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The directory that holds the local model store.

    Returns:
        `VTSSERVING_HOME` if it is set and not empty, `~/vtsserving` otherwise. Nothing is created.
    """
    configured = os.environ.get("VTSSERVING_HOME", "")
    return Path(configured).expanduser() if configured else Path.home() / "vtsserving"
