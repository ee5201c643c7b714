"""What the OpenAPI document says of a service's functions, as programs read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pydantic
import pytest

import vtsserving
from support.served_gateway import get, served
from vtsserving.io import JSON, Multipart, NumpyNdarray, PandasDataFrame


class Petal(pydantic.BaseModel):
    length: float


class Flower(pydantic.BaseModel):
    petals: list[Petal]
    parent: Flower | None = None


class Other(pydantic.BaseModel):
    class Petal(pydantic.BaseModel):
        colour: str

    petals: list[Petal]


def make_service() -> vtsserving.Service:
    svc = vtsserving.Service("garden", runners=[])
    svc.api(input=JSON(pydantic_model=Flower), output=JSON(pydantic_model=Other), name="one")(
        lambda value: value
    )
    parts = Multipart(flower=JSON(pydantic_model=Flower), rows=NumpyNdarray())
    svc.api(input=parts, output=JSON(pydantic_model=Flower), name="two")(lambda flower, rows: flower)
    svc.api(input=PandasDataFrame(columns=["a", "b"]), output=NumpyNdarray(), name="table")(
        lambda table: table
    )
    return svc


@pytest.fixture(scope="module")
def document() -> Any:
    with served([], {}, service=make_service()) as gateway:
        return gateway.ask(get("/openapi.json")).json


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        assert "$defs" not in value
        if "$ref" in value:
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def found(document: Any, reference: str) -> Any:
    assert reference.startswith("#/components/")
    for key in reference.removeprefix("#/").split("/"):
        document = document[key]
    return document


def test_every_reference_leads_somewhere(document: Any) -> None:
    assert document["openapi"] == "3.1.0"
    of_functions = [one for one in references(document) if "garden" in one]
    assert len(of_functions) > 6
    for reference in references(document):
        assert found(document, reference)


def test_each_form_of_a_table_is_described_as_what_it_is(document: Any) -> None:
    content = document["paths"]["/table"]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"]["items"]["required"] == ["a", "b"]
    assert content["text/csv"]["schema"]["description"] == "The first line names the columns: a, b."
    assert content["application/vnd.apache.parquet"]["schema"]["format"] == "binary"


def test_models_of_one_name_are_kept_apart(document: Any) -> None:
    operation = document["paths"]["/one"]["post"]
    given = found(document, operation["requestBody"]["content"]["application/json"]["schema"]["$ref"])
    petal = found(document, given["properties"]["petals"]["items"]["$ref"])
    assert list(petal["properties"]) == ["length"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    petal = found(document, answer["properties"]["petals"]["items"]["$ref"])
    assert list(petal["properties"]) == ["colour"]
