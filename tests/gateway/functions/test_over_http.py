"""One function per descriptor over real HTTP: embedded, and over NATS with two gateways that share batches."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import msgpack
import numpy as np
import pandas as pd
import pydantic
import pytest
from PIL import Image as PilImage

import vtsserving
from support.cluster import row_and_answer, save_model
from support.nats_server import NatsServer
from support.runner_models import GATE, calls_of, open_gate, save, trouble
from support.served_stack import ServedStack, serving
from support.waiting import eventually
from vtsserving.io import (
    JSON,
    File,
    Image,
    Multipart,
    NumpyNdarray,
    OptionalPart,
    PandasDataFrame,
    PandasSeries,
    Repeated,
    Text,
)


class Iris(pydantic.BaseModel):
    sepal: float
    petal: float = 1.0


def png(mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    PilImage.new(mode, (4, 3), 7).save(file, format="PNG")
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


FRAME = pd.DataFrame({"a": [1, 2], "b": [0.1, 1 / 3]})
NPY, CSV, JSON_TYPE = "application/x-npy", "text/csv", "application/json"
MSGPACK = "application/msgpack"


class Case(NamedTuple):
    """A descriptor, bodies that it takes with what its function answers, and bodies that it refuses with their code."""

    descriptor: Any
    good: list[tuple[str, bytes, Any]]
    bad: list[tuple[str, bytes, int, str]]


CASES = {
    "array": Case(
        NumpyNdarray(dtype="float32", shape=(-1, 2), enforce_shape=True),
        [(JSON_TYPE, b"[[1, 2]]", [[1.0, 2.0]]), (NPY, npy(np.ones((1, 2), "float32")), [[1.0, 1.0]])],
        [
            (JSON_TYPE, b"[[1, 2", 400, "bad_json"),
            (JSON_TYPE, b"[[1, 2, 3]]", 422, "bad_shape"),
            (JSON_TYPE, b'[["x", 2]]', 422, "wrong_type"),
            (NPY, npy(np.ones((1, 2), "complex64")), 422, "bad_dtype"),
            (CSV, b"1,2", 415, "unsupported_media_type"),
            (JSON_TYPE, b"", 400, "bad_input"),
        ],
    ),
    "int8": Case(
        NumpyNdarray(dtype="int8"),
        [
            (JSON_TYPE, b"[1, -2]", [1, -2]),
            (NPY, npy(np.array([1, -2])), [1, -2]),
            (MSGPACK, msgpack.packb([1, -2]), [1, -2]),
        ],
        [
            (JSON_TYPE, b"[300, -200]", 422, "out_of_range"),
            (NPY, npy(np.array([300, -200])), 422, "out_of_range"),
            (MSGPACK, msgpack.packb([300, -200]), 422, "out_of_range"),
        ],
    ),
    "json": Case(
        JSON(),
        [(JSON_TYPE, b'{"a": [1, null]}', {"a": [1, None]})],
        [(JSON_TYPE, b"{", 400, "bad_json"), (JSON_TYPE, b'{"a": 1, "a": 2}', 400, "duplicate_key")],
    ),
    "model": Case(
        JSON(pydantic_model=Iris),
        [(JSON_TYPE, b'{"sepal": 2}', {"sepal": 2.0, "petal": 1.0})],
        [(JSON_TYPE, b'{"petal": 2}', 422, "wrong_type")],
    ),
    "text": Case(
        Text(), [("text/plain", "grün".encode(), "grün")], [("text/plain", b"\xff", 400, "bad_encoding")]
    ),
    "file": Case(File(kind="bytes"), [("application/pdf", b"\x00\xff", b"\x00\xff")], []),
    "image": Case(
        Image(pilmode="L", mime_type="image/png"),
        [("image/png", png(), (4, 3, "L"))],
        [("image/png", b"none", 400, "bad_input"), ("text/plain", b"", 415, "unsupported_media_type")],
    ),
    "frame": Case(
        PandasDataFrame(columns=["a", "b"]),
        [
            (JSON_TYPE, b'[{"a": 1, "b": 0.1}, {"a": 2, "b": 0.3333333333333333}]', FRAME.to_dict("records")),
            (CSV, FRAME.to_csv(index=False).encode(), FRAME.to_dict("records")),
        ],
        [(JSON_TYPE, b'[{"a": 1}]', 422, "bad_shape"), (JSON_TYPE, b'{"a": 1}', 400, "bad_input")],
    ),
    "series": Case(
        PandasSeries(dtype="float64", enforce_dtype=True),
        [(JSON_TYPE, b"[1, 0.5]", [1.0, 0.5])],
        [(JSON_TYPE, b'["x"]', 422, "bad_dtype")],
    ),
}


def shown(answer: httpx2.Response) -> Any:
    """What came back, in the terms of the cases."""
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == JSON_TYPE:
        return answer.json()
    if kind == "image/png":
        image = PilImage.open(io.BytesIO(answer.content))
        return (*image.size, image.mode)
    return answer.text if kind == "text/plain" else answer.content


def make_service() -> vtsserving.Service:
    linear = vtsserving.sklearn.get("linear:latest").to_runner()
    gated = vtsserving.models.get("gated:latest").to_runner()
    svc = vtsserving.Service("descriptors", runners=[linear, gated])
    for name, case in CASES.items():
        svc.api(input=case.descriptor, output=case.descriptor, name=name)(lambda value: value)

    @svc.api(input=NumpyNdarray(), output=NumpyNdarray())
    def classify(input_series: Any) -> Any:
        return linear.predict.run(input_series)

    @svc.api(input=NumpyNdarray(), output=NumpyNdarray())
    def gate(rows: Any) -> Any:
        return gated.predict.run(rows)

    parts = Multipart(rows=NumpyNdarray(), note=Text())

    @svc.api(input=parts, output=parts)
    async def several(rows: Any, note: str) -> Any:
        return {"rows": rows, "note": note}

    album_parts = Multipart(photos=Repeated(Image()), note=OptionalPart(Text(), default="none"))

    @svc.api(input=album_parts, output=JSON())
    def album(photos: Any, note: str) -> Any:
        return {"widths": [photo.width for photo in photos], "note": note}

    return svc


@pytest.fixture(scope="module", params=["embedded", "two gateways over NATS"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServedStack, Path]]:
    folder = tmp_path_factory.mktemp("services")
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith("VTSSERVING_")]:
        patch.delenv(name)
    patch.setenv("VTSSERVING_HOME", str(folder / "home"))
    save_model("linear")
    save("gated", trouble(folder))
    try:
        if request.param == "embedded":
            with serving(make_service) as embedded:
                yield embedded, folder
        else:
            with NatsServer(folder) as nats, serving(make_service, nats_url=nats.url, gateways=2) as both:
                yield both, folder
    finally:
        patch.undo()


@pytest.mark.parametrize("name", CASES)
def test_a_descriptor_reads_and_writes_on_every_gateway(stack: tuple[ServedStack, Path], name: str) -> None:
    for url in stack[0].urls:
        for media_type, body, expected in CASES[name].good:
            answer = httpx2.post(f"{url}/{name}", content=body, headers={"content-type": media_type})
            assert answer.status_code == 200, answer.text
            assert shown(answer) == expected


@pytest.mark.parametrize(
    ("name", "media_type", "body", "status", "code"),
    [(name, *bad) for name, case in CASES.items() for bad in case.bad],
)
def test_a_body_that_does_not_fit_is_refused_exactly(
    stack: tuple[ServedStack, Path], name: str, media_type: str, body: bytes, status: int, code: str
) -> None:
    for url in stack[0].urls:
        answer = httpx2.post(f"{url}/{name}", content=body, headers={"content-type": media_type})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_several_inputs_come_and_go_in_one_body(stack: tuple[ServedStack, Path]) -> None:
    for url in stack[0].urls:
        with vtsserving.Client(url) as client:
            given = client.several(rows=np.array([[1, 2]], "int8"), note="hi")
            assert (given["rows"].dtype, given["rows"].tolist(), given["note"]) == ("int8", [[1, 2]], "hi")
            for sent in ([300, -200], np.array([300, -200]), np.array([300, -200], "int16")):
                with pytest.raises(vtsserving.exceptions.OutOfRange, match=r"300 \(item 0"):
                    client.int8(sent)
        missing = httpx2.post(f"{url}/several", files={"rows": ("", b"[1]", JSON_TYPE)})
        assert (missing.status_code, missing.json()["error"]["code"]) == (400, "bad_input")


def test_files_of_one_field_and_parts_that_may_be_left_out(stack: tuple[ServedStack, Path]) -> None:
    photos = [PilImage.new("RGB", (width, 2)) for width in (3, 5)]
    for url in stack[0].urls:
        files = [("photos", (f"{one}.png", png(), "image/png")) for one in range(2)]
        assert httpx2.post(f"{url}/album", files=files).json() == {"widths": [4, 4], "note": "none"}
        none = httpx2.post(f"{url}/album", files={"note": ("", b"x", "text/plain")})
        assert (none.status_code, none.json()["error"]["message"]) == (400, "the part 'photos' is missing")
        with vtsserving.Client(url) as client:
            assert client.album(photos=photos) == {"widths": [3, 5], "note": "none"}
            assert client.album(photos=photos[:1], note="hi") == {"widths": [3], "note": "hi"}
            with pytest.raises(vtsserving.exceptions.InvalidArgument, match="photos, note"):
                client.album(note="hi")


def test_a_table_comes_as_the_file_of_a_form(stack: tuple[ServedStack, Path]) -> None:
    for url in stack[0].urls:
        file = httpx2.post(f"{url}/frame", files={"file": ("t.csv", FRAME.to_csv(index=False), CSV)})
        assert file.json() == FRAME.to_dict("records")


def test_the_document_describes_every_descriptor(stack: tuple[ServedStack, Path]) -> None:
    paths = httpx2.get(f"{stack[0].url}/openapi.json").json()["paths"]
    for name, case in CASES.items():
        operation = paths[f"/{name}"]["post"]
        assert set(operation["requestBody"]["content"]) == set(case.descriptor.media_types)
        assert operation["x-vts-input"]["type"] == type(case.descriptor).__name__


def test_the_example_of_the_specification_answers_on_every_gateway(stack: tuple[ServedStack, Path]) -> None:
    row, answer = row_and_answer(5)
    for url in stack[0].urls:
        assert httpx2.post(f"{url}/classify", json=[row]).json() == pytest.approx([answer])


def test_calls_from_all_gateways_share_a_batch(stack: tuple[ServedStack, Path]) -> None:
    served, folder = stack

    async def ask(url: str, number: float) -> Any:
        async with httpx2.AsyncClient(timeout=60) as client:
            return (await client.post(f"{url}/gate", json=[[number, 0.0]])).json()

    async def scenario() -> None:
        first = asyncio.ensure_future(ask(served.urls[0], GATE))
        await eventually(lambda: calls_of(folder), within_s=30, what="the model process is busy")
        # One more takes the place of the batch that is sent ahead: what comes now waits at the batcher.
        second = asyncio.ensure_future(ask(served.urls[0], 99.0))
        await eventually(lambda: served.depth == (0, 2), within_s=30)
        before = served.queued
        numbers = [
            (url, 100.0 * place + one) for place, url in enumerate(served.urls) for one in range(1, 17)
        ]
        others = [asyncio.ensure_future(ask(url, number)) for url, number in numbers]
        # More than that if a stall of this machine had them sent again; of both gateways there are some in any case.
        await eventually(lambda: served.queued >= before + len(numbers), within_s=30)
        open_gate(folder)
        assert await first == [[2 * GATE, 0.0]]
        assert await second == [[198.0, 0.0]]
        assert await asyncio.gather(*others) == [[[2 * number, 0.0]] for _, number in numbers]

    asyncio.run(scenario())
    shared = [{int(number // 100) for number in batch} for batch in calls_of(folder) if GATE not in batch]
    assert set(range(len(served.urls))) in shared, shared
