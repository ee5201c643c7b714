"""The functions of a service against their OpenAPI document, by schemathesis: one for each descriptor."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pydantic
import pytest

import vtsserving
from support.schemathesis import findings
from support.served_gateway import ServedGateway, served
from vtsserving.io import (
    JSON,
    File,
    Image,
    IODescriptor,
    Multipart,
    NumpyNdarray,
    PandasDataFrame,
    PandasSeries,
    Text,
)

pytestmark = [pytest.mark.frameworks("own"), pytest.mark.slow, pytest.mark.timeout(600)]


class Strict(pydantic.BaseModel):
    """Otherwise pydantic takes more than its schema says: text for numbers, numbers for dates."""

    model_config = pydantic.ConfigDict(strict=True)


class Petal(Strict):
    length: float = pydantic.Field(gt=0, lt=1e6)


class Flower(Strict):
    petals: list[Petal] = pydantic.Field(max_length=9)
    name: str | None = None
    seen: datetime.date = datetime.date(2026, 1, 1)


FRAME = pd.DataFrame({"a": [1.0], "b": [2.0]})

DESCRIPTORS: dict[str, IODescriptor] = {
    "array": NumpyNdarray(),
    "float32": NumpyNdarray(dtype="float32", shape=(-1, 2), enforce_shape=True, enforce_dtype=True),
    "integers": NumpyNdarray(dtype="int16", enforce_dtype=True),
    "reshaped": NumpyNdarray(dtype="float64", shape=(-1, 2)),
    "sampled": NumpyNdarray.from_sample(np.ones((2, 3))),
    "words": NumpyNdarray(dtype="U"),
    "json": JSON(),
    "model": JSON(pydantic_model=Flower),
    "text": Text(),
    "file": File(kind="bytes"),
    "pdf": File(kind="bytes", mime_type="application/pdf"),
    "image": Image(mime_type="image/png"),
    "frame": PandasDataFrame(),
    "columns": PandasDataFrame.from_sample(FRAME, dtype="float64", enforce_dtype=True),
    "by_column": PandasDataFrame(orient="columns"),
    "by_index": PandasDataFrame(orient="index"),
    "split": PandasDataFrame(orient="split"),
    "values": PandasDataFrame(orient="values", shape=(-1, 2), enforce_shape=True),
    "csv": PandasDataFrame(default_format="csv"),
    "series": PandasSeries(),
    "floats": PandasSeries(dtype="float64", enforce_dtype=True),
    "series_by_index": PandasSeries(orient="index"),
    "series_split": PandasSeries(orient="split"),
    "several": Multipart(rows=NumpyNdarray(dtype="float64"), flower=JSON(pydantic_model=Flower), note=Text()),
}


def make_service() -> vtsserving.Service:
    svc = vtsserving.Service("all", runners=[])
    for name, descriptor in DESCRIPTORS.items():
        if isinstance(descriptor, Multipart):
            svc.api(input=descriptor, output=descriptor, name=name)(lambda **values: values)
        else:
            svc.api(input=descriptor, output=descriptor, name=name)(lambda value: value)
    return svc


@pytest.fixture(scope="module")
def gateway() -> Iterator[ServedGateway]:
    with served([], {}, service=make_service()) as running:
        yield running


def test_a_function_answers_as_its_document_says(gateway: ServedGateway, tmp_path: Path) -> None:
    names = "|".join(DESCRIPTORS)
    found = findings(gateway.port, tmp_path, only=f"^/({names})$")
    assert not found, found
