"""Tables of polars to models that have the columns of pandas, to models that take polars, and to Services."""

from __future__ import annotations

import concurrent.futures
import datetime
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import httpx2
import numpy as np
import pandas as pd
import pytest

import vtsserving
from support import polars_models
from support.served_stack import ServedStack, serving_on
from vtsserving._codecs.arrow_tables import read_arrow
from vtsserving._codecs.foreign_tables import as_pandas
from vtsserving._codecs.table import Table
from vtsserving._wire import arrow_data
from vtsserving._wire.values import decode_value, encode_value
from vtsserving.client.sync_client import Client
from vtsserving.exceptions import BadDtype
from vtsserving.io import JSON, PandasDataFrame, PandasSeries

pytestmark = [pytest.mark.frameworks("tables"), pytest.mark.timeout(300)]

EXAMPLE = pd.DataFrame(
    {
        "id": pd.array([9007199254740993, None], dtype="Int64"),
        "zip": ["01067", None],
        "at": pd.to_datetime(["2024-05-01T00:00:00.000000001", None]).as_unit("ns"),
        "local": pd.to_datetime(["2024-05-01", None]).tz_localize("Europe/Rome").as_unit("us"),
        "took": pd.to_timedelta([1, None], unit="ns"),
        "kind": pd.Categorical(["old", None], categories=["new", "old"]),
        "born": [datetime.date(2000, 1, 2), None],
        "price": [Decimal("1.20"), None],
        "narrow": pd.Series([0.1, None], dtype="float32"),
    }
)
SHARED = pd.DataFrame({0: pd.array([2**60 + 1, None], dtype="Int64"), 1: [0.5, 1.5], 2: ["x", "y"]})
SHARED.columns = ["a", "a", "b"]
ROWS = {"__call__": {"batchable": True}}


def polars_of_example() -> Any:
    """The table of the example as polars has it, its columns in another order."""
    import polars as pl

    rome = pl.Series("local", [datetime.datetime(2024, 4, 30, 22), None]).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        {
            "price": [Decimal("1.20"), None],
            "narrow": pl.Series([0.1, None], dtype=pl.Float32),
            "born": [datetime.date(2000, 1, 2), None],
            "kind": pl.Series(["old", None], dtype=pl.Enum(["old", "new"])),
            "took": pl.Series([1, None]).cast(pl.Duration("ns")),
            "local": rome.dt.convert_time_zone("Europe/Rome"),
            "at": pl.Series([1714521600000000001, None]).cast(pl.Datetime("ns")),
            "zip": ["01067", None],
            "id": [9007199254740993, None],
        }
    )


def orders(start: int, rows: int) -> Any:
    import polars as pl

    price = [None if at == start + 1 else at / 4 for at in range(start, start + rows)]
    return pl.DataFrame(
        {"price": price, "count": range(rows)}, schema={"price": pl.Float64, "count": pl.Int64}
    )


class Served(NamedTuple):
    """A running stack."""

    stack: ServedStack

    def ask(self, model: str, value: Any) -> tuple[int, Any]:
        """Status, and the answer or the text of the error."""
        headers = {"content-type": "application/msgpack", "accept": "application/msgpack"}
        body = encode_value({"args": [value], "kwargs": {}})
        with httpx2.Client(trust_env=False, timeout=60) as client:
            answer = client.post(f"{self.stack.url}/v1/models/{model}", content=body, headers=headers)
        done = answer.status_code == 200
        return answer.status_code, decode_value(answer.content) if done else answer.text


def service() -> vtsserving.Service:
    svc = vtsserving.Service("shop", runners=[])
    svc.api(input=PandasDataFrame.from_sample(EXAMPLE), output=JSON(), name="read")(polars_models.schema)
    svc.api(input=PandasDataFrame(), output=PandasDataFrame(default_format="parquet"), name="give")(
        lambda df: orders(0, len(df))
    )
    series = PandasSeries.from_sample(EXAMPLE["at"])
    svc.api(input=series, output=JSON(), name="column")(lambda one: [str(one.dtype), *map(str, one)])
    return svc


@pytest.fixture(scope="module", params=["embedded", "nats"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", str(tmp_path_factory.mktemp("home")))
        for name, call, example in (
            ("recorded", polars_models.schema, EXAMPLE),
            ("shared", polars_models.schema, SHARED),
            ("orders", polars_models.with_total, orders(0, 3)),
        ):
            vtsserving.picklable_model.save_model(
                name,
                call,
                signatures=ROWS,
                input_example=example,
                external_modules=[polars_models],
                options={"max_wait_ms": 300},
            )
        folder, tags = tmp_path_factory.mktemp("nats"), ["recorded", "shared", "orders"]
        with serving_on(request.param, folder, service, tags=tags) as stack:
            yield Served(stack)


def test_a_recorded_table_is_made_of_one_of_polars(world: Served) -> None:
    right = polars_models.schema(EXAMPLE)
    assert world.ask("recorded", EXAMPLE) == (200, right)
    assert world.ask("recorded", polars_of_example()) == (200, right)


def test_what_does_not_fit_the_record_is_named(world: Served) -> None:
    import polars as pl

    table = polars_of_example()
    for changed, said in (
        (table.drop("zip"), "misses 'zip'"),
        (table.with_columns(more=1), "unknown 'more'"),
        (table.with_columns(kind=pl.lit("else")), "not among its categories"),
        (table.with_columns(id=pl.lit(0.5)), "0.5; expected an integer"),
    ):
        status, text = world.ask("recorded", changed)
        assert status == 422
        assert said in text


def test_a_model_that_takes_polars_gets_it_and_callers_share_batches(world: Served) -> None:
    tables = [orders(at * 10, at % 3 + 1) for at in range(12)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda table: world.ask("orders", table), tables))
    for table, (status, got) in zip(tables, found, strict=True):
        assert status == 200, got
        assert got.equals(polars_models.with_total(table))
        assert got.schema == polars_models.with_total(table).schema


def test_a_service_gets_the_frame_of_its_sample_and_may_return_polars(world: Served) -> None:
    with Client(world.stack.url) as client:
        assert client.read(polars_of_example()) == polars_models.schema(EXAMPLE)
        assert client.read(EXAMPLE) == polars_models.schema(EXAMPLE)
        given = client.give(orders(0, 4))
        assert client.column(polars_of_example()["at"]) == [
            str(EXAMPLE["at"].dtype),
            *map(str, EXAMPLE["at"]),
        ]
    pd.testing.assert_frame_equal(given, as_pandas(orders(0, 4)))


def test_without_pyarrow_the_recorded_table_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from vtsserving._saving.table_columns import columns_of

    table, value = Table.of(columns_of(EXAMPLE)), polars_of_example()
    right = table.of_frame(as_pandas(value), "input")
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it was not installed
    found = table.of_frame(as_pandas(value), "input")
    pd.testing.assert_frame_equal(found, right)
    pd.testing.assert_frame_equal(found, EXAMPLE, check_column_type=False)


def test_columns_of_pyarrow_and_polars_become_series() -> None:
    import polars as pl
    import pyarrow as pa

    whole = [9007199254740993, None]
    for column, name in (
        (pa.array(whole), None),
        (pa.chunked_array([whole]), None),
        (pl.Series("n", whole), "n"),
    ):
        found = as_pandas(column)
        assert (found.tolist()[0], str(found.dtype), found.name) == (whole[0], "Int64", name)
    assert as_pandas([1]) == [1]


def test_the_types_that_errors_about_arrow_advise_are_read() -> None:
    """Each hint, followed."""
    import pyarrow as pa

    def read(column: Any) -> Any:
        return read_arrow(arrow_data.stream_of(pa.table({"a": column})))

    wide = pa.array([b"x" * 2_000], pa.binary(2_000))
    with pytest.raises(BadDtype, match="values of 2000 bytes each; send binary"):
        read(wide)
    assert read(wide.cast(pa.binary()))["a"].tolist() == [b"x" * 2_000]
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 2)))
    with pytest.raises(
        BadDtype, match=r"'arrow.fixed_shape_tensor', which is not taken; send its storage type"
    ):
        read(tensor)
    assert [list(cell) for cell in read(tensor.storage)["a"]] == [[1.0, 1.0]] * 2


def test_names_that_are_there_twice_go_by_position_in_arrow(world: Served) -> None:
    import pyarrow as pa

    columns = [pa.array([2**60 + 1, None]), pa.array([0.5, 1.5]), pa.array(["x", "y"])]
    for names, status in ((["a", "a", "b"], 200), (["b", "a", "a"], 422), (["a", "c", "b"], 422)):
        body = arrow_data.stream_of(pa.table(columns, names=names))
        headers = {"content-type": "application/vnd.apache.arrow.stream"}
        with httpx2.Client(trust_env=False, timeout=60) as client:
            answer = client.post(f"{world.stack.url}/v1/models/shared", content=body, headers=headers)
        assert answer.status_code == status, answer.text
        if status == 200:
            assert answer.json() == polars_models.schema(SHARED)
