"""The web pages as people use them, in a real browser: mouse, keyboard, clipboard, phone and dark mode."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

import vtsserving.sklearn
from support.chromium import Chromium, Page
from support.sdk import iris_classifier, save_text
from support.source_tree import REPOSITORY
from support.stores import ThreadedStore, store_settings, token
from vtsserving._local_store.store import LocalStore
from vtsserving._store_client import transfer

pytestmark = pytest.mark.slow

EVIL = "<script>window.stolen = true</script><img src=x onerror='window.stolen = true'>"
PICTURES = os.environ.get("VTSSERVING_PICTURES", "")
"""Set by `make pictures`: keep what the pages look like in docs/pictures."""


TOO_SMALL = """[...document.querySelectorAll('button, input:not([type=hidden]), select, summary')]
    .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 24).map(e => e.outerHTML)"""


TORN = """[...document.querySelectorAll('.fact, .version code, figcaption')].filter(e => {
    const range = document.createRange(); range.selectNodeContents(e); return range.getClientRects().length > 1;
}).map(e => e.outerHTML)"""
"""Sizes, times and versions that do not stand on one line."""

COVERED = """[...document.querySelectorAll('figure')].filter(e =>
    e.querySelector('.copy').getBoundingClientRect().bottom > e.querySelector('pre').getBoundingClientRect().top
).map(e => e.outerHTML)"""
"""Code that a button lies on."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ThreadedStore]:
    with ThreadedStore(store_settings(tmp_path / "store")) as store:
        yield store


@pytest.fixture
def page(chromium: Chromium, running: ThreadedStore) -> Iterator[Page]:
    """A tab on the store; at its end the browser has nothing to complain about."""
    with chromium.page(running.url) as opened:
        yield opened
        assert opened.complaints() == []


@pytest.fixture
def models(running: ThreadedStore, local: LocalStore) -> LocalStore:
    """Three versions of two models in the store."""
    push(running, local, "digits:v1", labels={"team": "vision"})
    push(running, local, "iris:v1", labels={"team": "flowers", "stage": "old"}, metadata={"accuracy": 0.97})
    push(running, local, "iris:v2", labels={"team": "flowers"}, extra={"description": "Which iris is it?"})
    return local


def push(store: ThreadedStore, local: LocalStore, tag: str, **draft: object) -> None:
    transfer.push(save_text(local, tag, **draft).tag, store_url=store.url, store=local)


@pytest.mark.usefixtures("models")
def test_typing_into_the_search_shows_what_fits_without_leaving_the_page(page: Page) -> None:
    page.go("/")
    assert "digits" in page.text("#list")
    page.run("window.same = true")
    page.type("iri")  # the field has the focus
    page.until("!document.querySelector('#list').innerText.includes('digits')")
    assert "iris" in page.text("#list")
    assert page.run("window.same && location.search.includes('q=iri')")
    page.fill("[name=q]", "")
    page.fill("[name=label]", "team=vision")
    page.until("!document.querySelector('#list').innerText.includes('iris')")
    assert "digits" in page.text("#list")
    page.fill("[name=label]", "team=nobody")
    page.until("document.querySelector('#list').innerText.includes('Nothing fits')")


@pytest.mark.usefixtures("models")
def test_links_lead_from_the_list_to_versions_to_one_version_and_from_a_label_back(page: Page) -> None:
    page.go("/")
    with page.leaving():
        page.click("a[href='/models/iris']")
    assert page.text("h1") == "iris"
    assert page.run("[...document.querySelectorAll('tbody th code')].map(e => e.innerText)") == ["v2", "v1"]
    with page.leaving():
        page.click("a[href='/models/iris/v1']")
    assert page.text("h1") == "iris:v1"
    for text in ("accuracy", "0.97", "weights.txt", "sha256:", "vtsserving models pull iris:v1"):
        assert text in page.text()
    page.go("/models/iris")
    with page.leaving():
        page.click("a.label[href*=stage]")
    assert page.run("document.querySelector('[name=label]').value") == "stage=old"
    assert "No" not in page.text("#list")


@pytest.mark.usefixtures("models")
def test_labels_are_changed_added_and_removed(page: Page) -> None:
    page.go("/models/iris/v1")
    page.fill("[name='value:team']", "gardeners")
    page.fill("[name='value:stage']", "")
    page.fill("[name=key]", "approved")
    page.fill("[name=value]", "yes")
    with page.leaving():
        page.click("form[action$=labels] button")
    shown = (
        "Object.fromEntries([...document.querySelectorAll('[name^=\"value:\"]')].map(e => [e.name, e.value]))"
    )
    assert page.run(shown) == {"value:team": "gardeners", "value:approved": "yes"}


@pytest.mark.usefixtures("models")
def test_an_alias_is_moved_and_removed_and_remembers_where_it_pointed(page: Page) -> None:
    page.go("/models/iris/v1")
    page.fill("[name=alias]", "production")
    with page.leaving():
        page.click("form[action$=aliases] button")
    assert page.run("location.pathname") == "/models/iris/v1"
    assert "production" in page.text("dl")
    page.go("/models/iris")
    page.run("document.querySelector('select').value = 'v2'")
    page.fill("[name=alias]", "production")
    with page.leaving():
        page.click("form[action$=aliases] button")
    assert page.text("summary") == "production v2"
    assert page.run("document.querySelector('details ol').checkVisibility()") is False
    page.click("summary")
    page.until("document.querySelector('details').open")
    moves = page.run("[...document.querySelectorAll('details li code')].map(e => e.innerText)")
    assert moves == ["v2", "v1"]
    page.go("/models/iris/v2")
    page.click("summary")
    page.until("document.querySelector('details').open")
    with page.leaving():
        page.click("form[action$=remove] button")
    assert page.run("location.pathname") == "/models/iris/v2"
    assert page.text("summary") == "production removed"
    page.fill("[name=alias]", "Not Good")
    page.click("form[action$=aliases] button")
    assert page.run("document.querySelector('[name=alias]:invalid') !== null"), "refused before it is sent"


@pytest.mark.usefixtures("models")
def test_a_copy_button_copies_what_stands_beside_it(page: Page) -> None:
    page.go("/models/iris/v1")
    wanted = page.text("figure:nth-of-type(2) pre")
    page.click("figure:nth-of-type(2) button.copy")
    page.until("document.querySelector('figure:nth-of-type(2) button.copy').innerText === 'Copied'")
    assert page.run("navigator.clipboard.readText()") == wanted
    assert wanted.startswith("import vtsserving")


@pytest.mark.usefixtures("models")
def test_a_version_is_deleted_only_when_its_tag_was_typed(page: Page) -> None:
    page.go("/models/iris/v1")
    page.click(".danger summary")
    page.until("document.querySelector('.danger').open")
    page.click(".danger button")
    assert page.run("document.querySelector('[name=confirm]:invalid') !== null"), "an empty field is not sent"
    page.fill("[name=confirm]", "iris:v2")
    with page.leaving():
        page.click(".danger button")
    assert "nothing was deleted: type iris:v1" in page.text()
    assert len(page.complaints()) == 1, "the browser notes the answer 400"
    page.forget_complaints()
    page.go("/models/iris/v1")
    page.click(".danger summary")
    page.until("document.querySelector('.danger').open")
    page.fill("[name=confirm]", "iris:v1")
    with page.leaving():
        page.click(".danger button")
    page.go("/models/iris")
    assert "v1" not in page.text("table")


def test_stored_text_is_text_wherever_it_stands(
    page: Page, running: ThreadedStore, local: LocalStore
) -> None:
    push(running, local, "m:1", labels={"evil": EVIL}, metadata={EVIL: [EVIL]}, extra={"description": EVIL})
    for path in ("/", "/models/m", "/models/m/1"):
        page.go(path)
        assert "<script>window.stolen" in page.text()
        assert page.run("window.stolen") is None
        assert page.run("document.querySelectorAll('main img, main script').length") == 0
    page.go("/")
    page.type(EVIL)
    page.until("document.querySelector('#list').innerText.includes('m')")
    assert page.run("window.stolen") is None


def test_the_policy_stops_a_script_that_got_into_a_page(chromium: Chromium, running: ThreadedStore) -> None:
    with chromium.page(running.url) as page:
        page.go("/")
        page.run(
            "(() => { const s = document.createElement('script'); s.textContent = 'window.stolen = true';"
            " document.body.append(s); document.body.insertAdjacentHTML('beforeend',"
            " '<img src=x onerror=\"window.stolen = true\">'); })()"
        )
        page.until("document.querySelector('img').complete")
        assert page.run("window.stolen") is None
        assert any("ContentSecurityPolicy" in complaint for complaint in page.complaints())


@pytest.mark.usefixtures("models")
def test_everything_can_be_reached_and_used_with_the_keyboard(page: Page) -> None:
    page.go("/models/iris/v1")
    page.press("Tab")
    assert page.run("document.activeElement.className") == "skip"
    page.press("Enter")
    page.until("location.hash === '#content'")
    reached = []
    for _ in range(40):
        page.press("Tab")
        name = page.run("(e => e.name || e.textContent.trim())(document.activeElement)")
        outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
        reached.append(name)
        if name == "Delete this version":
            break
        assert outline != "none", f"no focus is shown on {name}"
    for wanted in (
        "All versions of iris",
        "Copy",
        "value:team",
        "Save labels",
        "alias",
        "Point to this version",
    ):
        assert wanted in reached, reached
    assert reached[-1] == "Delete this version"
    page.press("Enter")
    page.until("document.querySelector('.danger').open")
    page.press("Tab")
    page.type("iris:v1")
    with page.leaving():
        page.press("Enter")
    assert page.run("location.pathname") == "/"


def test_who_has_no_token_signs_in_and_out(chromium: Chromium, tmp_path: Path) -> None:
    settings = store_settings(tmp_path / "store", auth="required")
    with ThreadedStore(settings) as store, chromium.page(store.url) as page:
        text = token(settings, "pull")
        page.go("/")
        assert page.text("h1") == "Sign in"
        page.type("wrong")
        with page.leaving():
            page.press("Enter")
        assert page.text("h1") == "Sign in"
        page.fill("[name=token]", text)
        with page.leaving():
            page.press("Enter")
        assert page.text("h1") == "Models"
        assert page.run("document.cookie") == "", "no script can read the token"
        with page.leaving():
            page.click("header button")
        page.go("/")
        assert page.text("h1") == "Sign in"


@dataclass(frozen=True)
class View:
    """One way to look at a page."""

    width: int
    height: int
    phone: bool = False
    dark: bool = False


VIEWS = {"light": View(1280, 860), "dark": View(1280, 860, dark=True), "phone": View(390, 844, phone=True)}
PICTURED = {("models", "light"), ("model", "dark"), ("version", "light"), ("version", "phone")}
"""Those that docs/store.md shows."""
PATHS = {"models": "/", "model": "/models/iris_clf", "version": "/models/iris_clf/v3"}


def test_the_pages_fit_a_phone_and_the_dark(page: Page, running: ThreadedStore, local: LocalStore) -> None:
    show_case(running, local)
    for name, path in PATHS.items():
        for kind, view in VIEWS.items():
            page.window(view.width, view.height, phone=view.phone)
            page.dark(view.dark)
            page.go(path)
            assert page.run("document.documentElement.scrollWidth <= innerWidth"), (
                f"{path} {kind} is too wide"
            )
            colour = page.run("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, colour[4:-1].split(","))) < 3 * 64) is view.dark, colour
            if view.phone:
                assert page.run(TOO_SMALL) == [], "too small for a thumb"
            assert page.run(TORN) == [], f"{path} {kind}"
            assert page.run(COVERED) == [], f"{path} {kind}"
            picture = page.picture()
            assert struct.unpack(">I", picture[16:20])[0] == view.width * (2 if view.phone else 1)
            if PICTURES and (name, kind) in PICTURED:
                (REPOSITORY / "docs" / "pictures" / f"store-{name}-{kind}.png").write_bytes(picture)


def show_case(store: ThreadedStore, local: LocalStore) -> None:
    """A store as a team might have it."""
    for version, stage in (("v1", "retired"), ("v2", "production"), ("v3", "candidate")):
        vtsserving.sklearn.save_model(
            f"iris_clf:{version}",
            iris_classifier(),
            signatures={"predict": {"batchable": True}},
            labels={"team": "flowers", "stage": stage},
            metadata={"accuracy": 0.97, "trained_on": "iris, 150 rows"},
        )
        transfer.push(f"iris_clf:{version}", store_url=store.url, store=local)
    for name, labels in (
        ("churn", {"team": "growth"}),
        ("digits", {"team": "vision"}),
        ("fraud", {"team": "risk"}),
    ):
        push(store, local, f"{name}:2026-11", labels=labels)
    with httpx2.Client(base_url=store.url, headers={"origin": store.url}, follow_redirects=True) as client:
        for version in ("v1", "v2"):
            client.post("/models/iris_clf/aliases", data={"alias": "production", "version": version})
        client.post("/models/iris_clf/aliases", data={"alias": "canary", "version": "v3"})
