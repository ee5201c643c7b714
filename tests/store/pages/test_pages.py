"""The web pages: every text is escaped, forms work without scripts and only from our own pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx2
import pytest

from support.sdk import save_text
from support.stores import ThreadedStore, store_settings
from vtsserving._local_store.store import LocalStore
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_record import write_contracts
from vtsserving._model.parameters import Parameters
from vtsserving._model.signature import ModelSignature
from vtsserving._store_client import transfer
from vtsserving_store import maintenance

EVIL = "<script>alert('x')</script>\"&"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ThreadedStore]:
    with ThreadedStore(store_settings(tmp_path / "store")) as store:
        yield store


@pytest.fixture
def browser(running: ThreadedStore) -> Iterator[httpx2.Client]:
    with httpx2.Client(
        base_url=running.url, headers={"origin": running.url}, follow_redirects=True
    ) as client:
        yield client


def push(store: ThreadedStore, local: LocalStore, tag: str, **draft: object) -> None:
    transfer.push(save_text(local, tag, **draft).tag, store_url=store.url, store=local)


def test_an_empty_store_says_how_to_fill_it(running: ThreadedStore, browser: httpx2.Client) -> None:
    answer = browser.get("/")
    assert answer.status_code == 200
    assert f"vtsserving login {running.url}" in answer.text


def test_models_are_listed_searched_and_shown(
    running: ThreadedStore, browser: httpx2.Client, local: LocalStore
) -> None:
    signatures = {"predict": ModelSignature(batchable=True)}
    push(running, local, "iris:v1", labels={"team": "nlp"}, metadata={"acc": 0.5}, signatures=signatures)
    push(running, local, "iris:v2", labels={"team": "nlp"})
    push(running, local, "digits:v1", labels={"team": "cv"})
    assert all(f'href="/models/{name}"' in browser.get("/").text for name in ("iris", "digits"))
    found = browser.get("/", params={"label": "team=cv"}).text
    assert 'href="/models/digits"' in found
    assert 'href="/models/iris"' not in found
    assert "Nothing fits" in browser.get("/", params={"q": "nothing"}).text
    versions = browser.get("/models/iris").text
    assert versions.index("v2") < versions.index("v1")
    version = browser.get("/models/iris/v1").text
    for text in (
        "vtsserving models pull iris:v1",
        "not recorded",
        "weights.txt",
        "sha256:",
        "acc",
        "0.5",
        "team",
    ):
        assert text in version


def test_stored_text_is_always_escaped(
    running: ThreadedStore, browser: httpx2.Client, local: LocalStore
) -> None:
    push(running, local, "m:1", labels={"evil": EVIL}, metadata={EVIL: [EVIL]}, extra={"description": EVIL})
    for path in ("/", "/models/m", "/models/m/1", f"/?q={EVIL}", f"/?label={EVIL}"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "alert" in unescape(answer.text)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_forms_edit_labels_move_aliases_and_delete(
    running: ThreadedStore, browser: httpx2.Client, local: LocalStore
) -> None:
    push(running, local, "m:v1", labels={"a": "1", "b": "2"})
    push(running, local, "m:v2")
    form = {"value:a": "changed", "value:b": "", "key": "c", "value": "3"}
    assert browser.post("/models/m/v1/labels", data=form).status_code == 200
    assert browser.get("/api/v1/models/m/versions/v1").json()["labels"] == {"a": "changed", "c": "3"}
    for version in ("v1", "v2"):
        browser.post("/models/m/aliases", data={"alias": "prod", "version": version})
    assert browser.get("/api/v1/models/m/aliases").json() == {"prod": "v2"}
    assert "prod" in browser.get("/models/m").text
    refused = browser.post("/models/m/v1/delete", data={"confirm": "m"})
    assert (refused.status_code, "type m:v1 to confirm" in refused.text) == (400, True)
    in_use = browser.post("/models/m/v2/delete", data={"confirm": "m:v2"})
    assert (in_use.status_code, "has the alias prod" in in_use.text) == (409, True)
    assert browser.post("/models/m/v1/delete", data={"confirm": "m:v1"}).status_code == 200
    assert browser.get("/models/m/v1").status_code == 404


def test_a_form_removes_an_alias_and_keeps_its_history(
    running: ThreadedStore, browser: httpx2.Client, local: LocalStore
) -> None:
    push(running, local, "m:v1")
    browser.post("/models/m/aliases", data={"alias": "prod", "version": "v1"})
    removal = 'action="/models/m/aliases/prod/remove"'
    assert all(removal in browser.get(path).text for path in ("/models/m", "/models/m/v1"))
    done = browser.post("/models/m/aliases/prod/remove")
    assert (done.status_code, done.url.path, removal in done.text) == (200, "/models/m", False)
    assert browser.get("/api/v1/models/m/aliases").json() == {}
    history = browser.get("/api/v1/models/m/aliases/prod").json()
    assert [move["version"] for move in history] == [None, "v1"]
    again = browser.post("/models/m/aliases/prod/remove")
    assert (again.status_code, "has no alias" in again.text) == (404, True)


def test_a_form_cannot_name_an_alias_like_a_version(
    running: ThreadedStore, browser: httpx2.Client, local: LocalStore
) -> None:
    push(running, local, "m:v1")
    push(running, local, "m:v2")
    refused = browser.post("/models/m/aliases", data={"alias": "v1", "version": "v2"})
    assert (refused.status_code, "is a version" in refused.text) == (409, True)
    assert browser.get("/api/v1/models/m/aliases").json() == {}


def test_what_is_wrong_is_shown_as_a_page(browser: httpx2.Client) -> None:
    for path, status in (("/models/nothing", 404), ("/models/Bad", 422), ("/models/m/x", 404)):
        answer = browser.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert browser.get("/static/../app.py").status_code == 404
    assert browser.get("/static/app.py").status_code == 404
    for name in ("style.css", "htmx.min.js", "pages.js"):
        assert browser.get(f"/static/{name}").status_code == 200


def test_forms_of_other_sites_are_refused(
    running: ThreadedStore, browser: httpx2.Client, local: LocalStore
) -> None:
    push(running, local, "m:v1")
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"origin": ""}):
        answer = browser.post("/models/m/v1/delete", data={"confirm": "m:v1"}, headers=headers)
        assert answer.status_code == 403, headers
    assert browser.get("/models/m/v1").status_code == 200


def test_a_guarded_store_shows_nothing_before_one_signs_in(tmp_path: Path) -> None:
    settings = store_settings(tmp_path / "guarded", auth="required")
    with maintenance.opened(settings) as parts:
        token = parts.tokens.create("me", "pull")[1]
    with ThreadedStore(settings) as store:
        origin = {"origin": store.url}
        with httpx2.Client(base_url=store.url, headers=origin, follow_redirects=True) as browser:
            for path in ("/", "/models/m", "/models/m/1"):
                answer = browser.get(path)
                assert (answer.status_code, "Sign in" in answer.text) == (401, True)
            assert browser.post("/login", data={"token": "wrong"}).status_code == 401
            answer = browser.post("/login", data={"token": token})
            assert (answer.status_code, "The store is empty" in answer.text) == (200, True)
            assert browser.post("/models/m/1/delete", data={"confirm": "m:1"}).status_code == 403
            assert browser.post("/models/m/aliases/prod/remove").status_code == 403
            assert browser.get("/api/v1/models").status_code == 401, "the API takes no cookies"
            browser.post("/logout")
            assert browser.get("/").status_code == 401


def contract_on_page(browser: httpx2.Client, path: str) -> str:
    """What the page says below the heading of contracts, without tags and line ends."""
    text = browser.get(path).text.partition("<h2>Contract</h2>")[2].partition("<h2>")[0]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_arguments_and_results_are_shown_as_tables(
    running: ThreadedStore, browser: httpx2.Client, local: LocalStore
) -> None:
    described = {
        "batchable": True,
        "parameters": ["weights"],
        "arguments": {EVIL: {"axis": 1, "dtype": "float32", "shape": [3, -1]}},
        "result": [{"axis": 0}, {EVIL: {"same": True, "type": "texts"}}],
    }
    contract = MethodContract.declared("predict", described)
    contract = contract.completed("predict", Parameters(("x", "weights", "y"), ("scale",)))
    signatures = {"predict": contract.signature_for_0_1}
    push(running, local, "m:1", signatures=signatures, extra=write_contracts({"predict": contract}))
    shown = contract_on_page(browser, "/models/m/1")
    for text in (
        "predict Argument Rows or parameter Type",
        "x rows along axis 0 if it is an array, a table or a list, else a parameter not said",
        "weights parameter not said",
        "y rows along axis 0 if it is an array or a table, else a parameter not said",
        f"{EVIL} rows along axis 1 tensor float32 [3, -1]",
        "and other named arguments",
        "result[0] rows along axis 0 not said",
        f"result[1][{EVIL!r}] the same for everybody texts",
        "How results follow rows was said by its author.",
    ):
        assert text in shown, shown
    assert "<script>alert" not in browser.get("/models/m/1").text


def test_the_page_of_a_model_of_0_1_says_by_which_rule_it_is_served(
    running: ThreadedStore, browser: httpx2.Client, local: LocalStore
) -> None:
    push(running, local, "m:1", signatures={"predict": ModelSignature(batchable=True)})
    shown = contract_on_page(browser, "/models/m/1")
    assert "it is served by the rule of 0.1, by which every array and every list in a call is rows" in shown


def test_the_page_of_a_model_with_a_later_contract_says_so(
    running: ThreadedStore, browser: httpx2.Client, local: LocalStore
) -> None:
    signatures = {"predict": ModelSignature(batchable=True)}
    later = {"contract": {"number": 2, "methods": {"predict": {"anything": "else"}}}}
    push(running, local, "m:1", signatures=signatures, extra=later)
    shown = contract_on_page(browser, "/models/m/1")
    assert "m:1 has contracts of number 2" in shown
    assert "later release" in shown
