"""Handles to the methods of models, and custom Runnables."""

from __future__ import annotations

from typing import Any

__all__ = ["Runner", "RunnerHandle", "RunnerMethod"]


def __getattr__(name: str) -> Any:
    """The classes of `runner.runner`, which was this module in 0.1; loaded when they are first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vtsserving.runner import runner

    return getattr(runner, name)
