"""The page of documentation as people use it, in a real browser that can reach nothing but the gateway."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import vtsserving
from support.backend import entry, rows_spec
from support.chromium import Chromium, Page
from support.served_gateway import ServedGateway, served
from vtsserving._auth.token_file import TokenFile
from vtsserving._model.signature import ModelSignature
from vtsserving._runtime.settings import SharedSettings
from vtsserving.io import JSON, Image, Multipart, NumpyNdarray, OptionalPart, Repeated, Text

pytestmark = pytest.mark.slow

EVIL = "<img src=x onerror='window.stolen = true'>"
SUM = {("iris", "predict"): lambda X: X.sum(axis=1), ("names", "predict"): lambda *args: args}
ENTRIES = [
    replace(entry("iris", input_specs=rows_spec(4)), input_example=[[[5.5, 3.0, 1.0, 0.5]]]),
    replace(entry("names", methods={"predict": ModelSignature()}), input_example=[EVIL]),
    *(entry(f"other{number}", input_specs=rows_spec(2)) for number in range(30)),
]

svc = vtsserving.Service("flowers", runners=[])


@svc.api(input=JSON(), output=JSON(), doc="Says which flower it is.\n\nOf the garden.")
def classify(value):  # type: ignore[no-untyped-def]  # as users write them
    return {"flower": value}


@svc.api(input=Text.from_sample("rose"), output=Text())
def greet(name):  # type: ignore[no-untyped-def]
    return f"Hello, {name}"


@svc.api(input=Image(mime_type="image/png"), output=JSON())
def size(image):  # type: ignore[no-untyped-def]
    return image.size


@svc.api(input=Multipart(rows=NumpyNdarray(), note=Text(), image=Image()), output=JSON())
def all_of_it(rows, note, image):  # type: ignore[no-untyped-def]
    return [rows.tolist(), note, image.size]


@svc.api(input=Multipart(photos=Repeated(Image()), note=OptionalPart(Text(), default="none")), output=JSON())
def album(photos, note):  # type: ignore[no-untyped-def]
    return [[photo.size for photo in photos], note]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def documented() -> Iterator[ServedGateway]:
    with served(ENTRIES, SUM, service=svc) as gateway:
        yield gateway


@pytest.fixture
def page(chromium: Chromium, documented: ServedGateway) -> Iterator[Page]:
    """The page; at its end the browser has nothing to complain about, such as something from elsewhere."""
    with chromium.page(f"http://127.0.0.1:{documented.port}") as opened:
        opened.go("/docs")
        opened.until("document.querySelectorAll('#routes section').length > 3")
        yield opened
        assert opened.complaints() == []


def route(path: str, method: str = "post") -> str:
    """The selector of one route's box."""
    return f'details[data-words^="{method} {path} "]'


def test_every_route_of_models_and_services_is_there(page: Page) -> None:
    text = page.text("#routes")
    for shown in (
        "/v1/models/iris/predict",
        "/classify",
        "Says which flower it is.",
        "/v2/models/{model}/infer",
    ):
        assert shown in text
    for path, method in (("/v1/models/{tag}/loaded", "put"), ("/v1/models/{tag}/loaded", "delete")):
        assert page.run(f"!!document.querySelector('{route(path, method)}')")


def test_a_model_is_called_from_its_box_with_its_own_example(page: Page) -> None:
    box = route("/v1/models/iris/predict")
    page.click(f"{box} > summary")
    page.until(f"!!document.querySelector('{box} textarea')")
    assert page.run(f"document.querySelector('{box} textarea').value") == "[[5.5,3,1,0.5]]"
    assert '"maxItems": 4' in page.text(box)
    assert "application/x-npy" in page.text(box)
    command = page.text(f"{box} .command")
    assert command.startswith("curl -s 'http://127.0.0.1:")
    assert command.endswith("-d '[[5.5,3,1,0.5]]'")
    page.click(f"{box} form button")
    page.until(f"!!document.querySelector('{box} .status')")
    assert "200" in page.text(f"{box} .status")
    assert page.text(f"{box} .answer pre") == "[10.0]"
    page.fill(f"{box} textarea", "[[1,2]]")
    page.click(f"{box} form button")
    page.until(f"!!document.querySelector('{box} .status.bad')")
    assert "bad_shape" in page.text(f"{box} .answer pre")
    page.forget_complaints()  # of the 422


def test_a_service_is_called_and_path_parameters_are_filled_in(page: Page) -> None:
    box = route("/classify")
    page.click(f"{box} > summary")
    page.until(f"!!document.querySelector('{box} textarea')")
    assert "Of the garden." in page.text(box)
    page.fill(f"{box} textarea", '"rose"')
    page.click(f"{box} form button")
    page.until(f"!!document.querySelector('{box} .status')")
    assert page.text(f"{box} .answer pre") == '{"flower":"rose"}'
    box = route("/v1/models/{tag}", "get")
    page.click(f"{box} > summary")
    page.until(f"!!document.querySelector('{box} form')")
    page.fill(f"{box} [name=tag]", "iris:v1")
    assert page.text(f"{box} .command").endswith("/v1/models/iris:v1'")
    page.click(f"{box} form button")
    page.until(f"!!document.querySelector('{box} .status.good')")
    assert '"tag":"iris:v1"' in page.text(f"{box} .answer pre")


def opened_form(page: Page, path: str) -> str:
    """The selector of a route's box, opened."""
    box = route(path)
    page.click(f"{box} > summary")
    page.until(f"!!document.querySelector('{box} form')")
    return box


def answer_of(page: Page, box: str) -> str:
    """Send the form of a box; the body of its good answer."""
    page.click(f"{box} form button")
    page.until(f"!!document.querySelector('{box} .status')")
    assert "200" in page.text(f"{box} .status"), page.text(f"{box} .answer")
    return page.text(f"{box} .answer pre")


def choose_picture(page: Page, selector: str) -> None:
    """Put a drawn PNG of 3 x 2 into a field for files, as if it had been chosen."""
    page.run(
        "const canvas = Object.assign(document.createElement('canvas'), { width: 3, height: 2 });"
        "canvas.getContext('2d').fillRect(0, 0, 3, 2);"
        "canvas.toBlob((blob) => {"
        "  const chosen = new DataTransfer();"
        "  chosen.items.add(new File([blob], 'rose.png', { type: 'image/png' }));"
        f"  const field = document.querySelector('{selector}');"
        "  field.files = chosen.files;"
        "  field.dispatchEvent(new Event('input', { bubbles: true }));"
        "}); true"
    )
    page.until(f"document.querySelector('{selector}').files.length === 1")


def test_text_is_sent_as_it_stands(page: Page) -> None:
    box = opened_form(page, "/greet")
    assert page.run(f"document.querySelector('{box} textarea').value") == "rose"
    assert page.text(f"{box} .command").endswith("-H 'Content-Type: text/plain' -d 'rose'")
    assert answer_of(page, box) == "Hello, rose"


def test_a_file_is_chosen_and_sent(page: Page) -> None:
    box = opened_form(page, "/size")
    assert page.text(f"{box} .command").endswith("--data-binary '@FILE'")
    choose_picture(page, f"{box} input[type=file]")
    assert page.text(f"{box} .command").endswith("-H 'Content-Type: image/png' --data-binary '@rose.png'")
    assert answer_of(page, box) == "[3,2]"


def test_a_form_of_several_parts_is_filled_in_and_sent(page: Page) -> None:
    box = opened_form(page, "/all_of_it")
    page.fill(f"{box} [name=rows]", "[[1, 2]]")
    page.fill(f"{box} [name=note]", "@it's;type=x")
    choose_picture(page, f"{box} [name=image]")
    command = page.text(f"{box} .command")
    assert (
        "--form-string 'rows=[[1, 2]]' --form-string 'note=@it'\\''s;type=x' -F 'image=@rose.png'" in command
    )
    assert answer_of(page, box) == '[[[1,2]],"@it\'s;type=x",[3,2]]'


def test_a_part_that_may_be_left_out_is_left_out_while_it_is_empty(page: Page) -> None:
    box = opened_form(page, "/album")
    assert page.run(f"document.querySelector('{box} [name=photos]').multiple") is True
    choose_picture(page, f"{box} [name=photos]")
    assert page.text(f"{box} .command").endswith("-F 'photos=@rose.png'")
    assert answer_of(page, box) == '[[[3,2]],"none"]'


def test_what_models_say_stays_text(page: Page) -> None:
    box = route("/v1/models/names/predict")
    page.click(f"{box} > summary")
    page.until(f"!!document.querySelector('{box} textarea')")
    assert EVIL in page.run(f"document.querySelector('{box} textarea').value")
    page.click(f"{box} form button")
    page.until(f"!!document.querySelector('{box} .status')")
    assert EVIL in page.text(f"{box} .answer pre")
    assert page.run("window.stolen") is None


def test_words_find_routes(page: Page) -> None:
    page.fill("#search", "other7 predict")
    page.until("document.querySelectorAll('#routes details:not([hidden])').length === 1")
    assert "/v1/models/other7/predict" in page.text("#routes")


def test_the_keyboard_a_phone_and_the_dark_do(page: Page) -> None:
    page.run("document.querySelector('#routes summary').focus()")
    page.press("Enter")
    page.until("document.querySelector('#routes details').open")
    page.window(360, 740, phone=True)
    page.dark()
    assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    width, height = struct.unpack(">II", page.picture()[16:24])
    assert (width, height) == (720, 1480)


def test_where_tokens_are_needed_the_page_asks_for_one(chromium: Chromium, tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.jsonl")
    text = file.create("me", "infer")[1]
    shared = SharedSettings(auth="required", tokens_file=tmp_path / "tokens.jsonl")
    with (
        served(ENTRIES, SUM, shared=shared) as gateway,
        chromium.page(f"http://127.0.0.1:{gateway.port}") as page,
    ):
        page.go("/docs")
        page.until("!document.querySelector('#sign-in').hidden")
        assert "iris" not in page.text()
        page.fill("#token", f"vts_{'0' * 16}_{'0' * 64}")
        page.press("Enter")
        page.until("!!document.querySelector('#sign-in-note').innerText.includes('not valid')")
        page.forget_complaints()  # of the 401s
        page.fill("#token", text)
        page.press("Enter")
        page.until("!!document.querySelector('#routes section')")
        box = route("/v1/models/iris/predict")
        page.click(f"{box} > summary")
        page.until(f"!!document.querySelector('{box} textarea')")
        assert text not in page.text(f"{box} .command")
        page.click(f"{box} form button")
        page.until(f"!!document.querySelector('{box} .status.good')")
        assert page.complaints() == []
