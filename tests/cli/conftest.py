"""A private store for every test, and the command line."""

from __future__ import annotations

from support.command_fixtures import (  # noqa: F401  fixtures: pytest finds them by name in this module
    store,
    vts,
)
