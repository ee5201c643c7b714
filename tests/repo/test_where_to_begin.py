"""CONTRIBUTING.md's table of places: each names a file that there is, and a name that stands in it."""

from __future__ import annotations

import re

import pytest

from support.source_tree import REPOSITORY

pytestmark = pytest.mark.fast

PATH = re.compile(r"`((?:libs|services|tests|docs)/[^`\s]+|docs/\S+?\.md)`(?: `(\w+)`)?")


def test_each_place_is_there() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    table = text[text.index("## Where to begin") : text.index("## Rules")]
    places = PATH.findall(table)
    assert len(places) >= 10
    for path, name in places:
        found = REPOSITORY / path
        assert found.exists(), path
        if name:
            assert re.search(rf"^(def |class )?{name}\b", found.read_text(), re.MULTILINE), (path, name)
