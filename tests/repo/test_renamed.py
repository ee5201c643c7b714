"""tests/renamed.tsv says where each test of 0.1 is now."""

from __future__ import annotations

import pytest

from support.source_tree import REPOSITORY

pytestmark = pytest.mark.fast


def rows() -> list[tuple[str, str]]:
    lines = (REPOSITORY / "tests/renamed.tsv").read_text().splitlines()
    pairs = [line.split("\t") for line in lines if not line.startswith("#")]
    return [(before, now) for before, now in pairs]


def test_every_place_that_the_table_names_exists() -> None:
    missing = []
    for _, place in rows():
        file, _, test = place.partition("::")
        path = REPOSITORY / file
        if not path.exists() or (f"def {test.partition('[')[0]}(" not in path.read_text() and test):
            missing.append(place)
    assert missing == []


def test_no_file_has_two_places_and_none_is_left_where_it_was() -> None:
    files = [(before, now) for before, now in rows() if "::" not in before]
    assert len({before for before, _ in files}) == len({now for _, now in files}) == len(files)
    now = {place for _, place in files}
    assert [before for before, _ in files if before not in now and (REPOSITORY / before).exists()] == []
