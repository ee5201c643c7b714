"""Columns of every kind of value: a table that an input example recorded reads JSON and CSV as what the example was."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from support.value_kinds import ValueKind, installed
from vtsserving._codecs.csv_text import read_csv
from vtsserving._codecs.json_write import to_json
from vtsserving._codecs.table import Table
from vtsserving._saving.table_columns import columns_of

COLUMNS = [kind for kind in installed() if kind.column]
IN_OTHER_TEXT = ("column of bytes",)
"""Kinds that pandas writes into CSV as Python shows them, not as the gateway reads them."""


def test_each_kind_that_can_be_a_column_is_among_these() -> None:
    could = [kind.name for kind in installed() if isinstance(kind.make(), pd.Series | pd.Categorical)]
    assert [kind.name for kind in COLUMNS] == could
    assert len(could) > 18


@pytest.mark.parametrize("kind", COLUMNS, ids=[kind.name for kind in COLUMNS])
def test_a_recorded_column_is_read_as_what_it_was(kind: ValueKind) -> None:
    frame = pd.DataFrame({"a": kind.make()})
    columns = columns_of(frame)
    assert json.loads(json.dumps(columns)) == columns
    table = Table.of(columns)
    pd.testing.assert_frame_equal(table.of_records(json.loads(to_json(frame)), "input"), frame)
    pd.testing.assert_frame_equal(table.of_frame(frame.astype(object), "input"), frame)
    csv = b"a\nYWI=\nYw==\n" if kind.name in IN_OTHER_TEXT else frame.to_csv(index=False).encode()
    pd.testing.assert_frame_equal(table.of_texts(read_csv(csv), "input"), frame)
