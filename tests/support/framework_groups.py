"""The mark `frameworks(GROUP, ...)`: scripts/test_frameworks.py says what is installed, and so which tests run."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

# Read at import: every test forgets the variables of this kind.
CHOSEN = [name for name in os.environ.get("VTSSERVING_TEST_FRAMEWORKS", "").split(",") if name]


def needs(item: pytest.Item) -> set[str]:
    """The groups that a test needs, from all its marks."""
    return {str(group) for mark in item.iter_markers("frameworks") for group in mark.args}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need a group which was not chosen."""
    if not CHOSEN:
        return
    left_out = [item for item in items if not needs(item) <= set(CHOSEN)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if needs(item) <= set(CHOSEN)]


def of_module(module: str) -> Sequence[str]:
    """The group of a framework module of the product."""
    return {
        "pytorch": ("torch",),
        "torchscript": ("torch",),
        "pytorch_lightning": ("lightning",),
        "transformers": ("transformers",),
    }.get(module, (module,))
