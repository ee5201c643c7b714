"""The HTTP API: documented answers for good and bad input alike."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.sdk import save_text
from support.stores import ThreadedStore
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._store_client import transfer
from vtsserving._store_client.client import RegistryClient
from vtsserving_store.objects.object_store import PART_BYTES

GOOD = "sha256:" + hashlib.sha256(b"good").hexdigest()


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def push(store: ThreadedStore, local: LocalStore, tag: str, content: str = "x", **draft: Any) -> Model:
    model = save_text(local, tag, content, **draft)
    return transfer.push(model.tag, store_url=store.url, store=local)


def error_code(answer: httpx2.Response) -> str:
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "request_id"}
    assert error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    return str(error["code"])


NAMES = ["..", "-rf", "a:b", "a b", "a%0a", "a%00", "%2e%2e", "a.", "con", "nul", "a" * 129, "Iris", "stats"]
NAMES += ["%EF%BD%89ris", "%C4%B1ris", "a%E2%80%8Bb", "cafe%CC%81"]


@pytest.mark.parametrize("name", NAMES)
def test_b50_b51_bad_names_are_422_everywhere(shared_http: httpx2.Client, name: str) -> None:
    for method, path in [
        ("GET", f"/api/v1/models/{name}"),
        ("GET", f"/api/v1/models/{name}/versions/latest"),
        ("PUT", f"/api/v1/models/{name}/versions/1"),
        ("DELETE", f"/api/v1/models/{name}/versions/1"),
        ("GET", f"/api/v1/models/{name}/aliases"),
    ]:
        answer = shared_http.request(method, path.replace("/..", "/%2e%2e"))
        assert (answer.status_code, error_code(answer)) == (422, "invalid_tag"), (method, path)


@pytest.mark.parametrize(
    "version", [*NAMES[:-5], *NAMES[-4:]]
)  # all but `stats`, which only a name cannot be
def test_b50_b51_bad_versions_and_aliases_are_422_everywhere(
    shared_http: httpx2.Client, version: str
) -> None:
    for method, path, body in [
        ("GET", "versions/{}", None),
        ("PUT", "versions/{}", {}),
        ("DELETE", "versions/{}", None),
        ("PATCH", "versions/{}/labels", {"labels": {}}),
        ("PUT", "aliases/{}", {"version": "1"}),
        ("DELETE", "aliases/{}", None),
        ("GET", "aliases/{}", None),
    ]:
        path = "/api/v1/models/m/" + path.format(version.replace("..", "%2e%2e"))
        answer = shared_http.request(method, path, json=body)
        assert (answer.status_code, error_code(answer)) == (422, "invalid_tag"), (method, path)


def test_b52_other_bytes_under_a_tag_are_409_and_the_same_bytes_200(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore, other: LocalStore
) -> None:
    model = push(store, local, "m:1", "one")
    again = http.put("/api/v1/models/m/versions/1", content=model.manifest.to_bytes())
    assert again.status_code == 200
    clash = save_text(other, "m:1", "two")
    for entry in clash.manifest.files:
        http.put(f"/api/v1/blobs/sha256:{entry.sha256}", content=clash.path_of(entry.path).read_bytes())
    answer = http.put("/api/v1/models/m/versions/1", content=clash.manifest.to_bytes())
    assert (answer.status_code, error_code(answer)) == (409, "already_exists")


@pytest.mark.parametrize(
    ("digest", "body", "status", "code"),
    [
        pytest.param(GOOD, b"evil", 400, "digest_mismatch", id="other content"),
        pytest.param(GOOD, b"", 400, "digest_mismatch", id="no content"),
        pytest.param(GOOD.upper(), b"good", 422, "bad_digest", id="upper case"),
        pytest.param(GOOD[:-1], b"good", 422, "bad_digest", id="short"),
        pytest.param("sha256:..%2fx", b"good", 404, "not_found", id="slash"),
        pytest.param("sha256:..", b"good", 422, "bad_digest", id="dots"),
        pytest.param("md5:" + "0" * 32, b"good", 422, "bad_digest", id="other algorithm"),
        pytest.param(GOOD, b"x" * (PART_BYTES + 1), 413, "too_large", id="too large"),
    ],
)
def test_b53_blobs_that_are_not_what_they_claim_are_refused(
    shared_http: httpx2.Client, digest: str, body: bytes, status: int, code: str
) -> None:
    answer = shared_http.put(f"/api/v1/blobs/{digest}", content=body)
    assert (answer.status_code, error_code(answer)) == (status, code)
    assert shared_http.get(f"/api/v1/blobs/{GOOD}").status_code == 404


def begin(http: httpx2.Client, data: bytes, **more: Any) -> dict[str, Any]:
    answer = http.post("/api/v1/uploads", json={"digest": digest_of(data), "size": len(data), **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_b54_parts_may_come_in_any_order_and_more_than_once(shared_http: httpx2.Client) -> None:
    data = os.urandom(2 * PART_BYTES + 100)
    upload = begin(shared_http, data)
    path = f"/api/v1/uploads/{upload['id']}"
    spans = {1: data[:PART_BYTES], 2: data[PART_BYTES : 2 * PART_BYTES], 3: data[2 * PART_BYTES :]}
    for number in (3, 1, 1):
        assert shared_http.put(f"{path}/parts/{number}", content=spans[number]).status_code == 204
    early = shared_http.post(f"{path}/complete")
    assert (early.status_code, error_code(early)) == (400, "size_mismatch")
    assert shared_http.get(path).json()["received"] == [1, 3]
    assert shared_http.put(f"{path}/parts/2", content=spans[2]).status_code == 204
    assert shared_http.post(f"{path}/complete", timeout=60).status_code == 204
    assert shared_http.get(f"/api/v1/blobs/{digest_of(data)}").content == data
    assert shared_http.post(f"{path}/complete").status_code == 204, "finished twice"
    assert shared_http.get(path).json()["received"] == []
    assert shared_http.delete(path).status_code == 204
    gone = shared_http.post(f"{path}/complete")
    assert (gone.status_code, error_code(gone)) == (404, "not_found")


@pytest.mark.parametrize(
    ("number", "size", "status", "code"),
    [
        (0, 10, 416, "range_not_satisfiable"),
        (3, 10, 416, "range_not_satisfiable"),
        (-1, 10, 416, "range_not_satisfiable"),
        (1, 10, 400, "size_mismatch"),
        (2, 101, 413, "too_large"),
        ("x", 10, 400, "bad_request"),
    ],
)
def test_b54_parts_that_do_not_fit_are_refused(
    shared_http: httpx2.Client, number: object, size: int, status: int, code: str
) -> None:
    upload = begin(shared_http, os.urandom(PART_BYTES + 100))
    answer = shared_http.put(f"/api/v1/uploads/{upload['id']}/parts/{number}", content=b"x" * size)
    assert (answer.status_code, error_code(answer)) == (status, code)


def test_b54_unknown_uploads_and_too_many_parts_are_refused(shared_http: httpx2.Client) -> None:
    for upload in ("0" * 32, "x", "%2e%2e"):
        answer = shared_http.put(f"/api/v1/uploads/{upload}/parts/1", content=b"x")
        assert (answer.status_code, error_code(answer)) == (404, "not_found")
    answer = shared_http.post("/api/v1/uploads", json={"digest": GOOD, "size": 10_001 * (64 << 20)})
    assert (answer.status_code, error_code(answer)) == (400, "invalid_argument")


def test_b54_wrong_parts_are_found_out_and_the_upload_starts_over(shared_http: httpx2.Client) -> None:
    data = os.urandom(PART_BYTES + 5)
    upload = begin(shared_http, data)
    path = f"/api/v1/uploads/{upload['id']}"
    damaged = shared_http.put(
        f"{path}/parts/2", content=b"xxxxx", headers={"x-part-sha256": digest_of(data[-5:])[7:]}
    )
    assert (damaged.status_code, error_code(damaged)) == (400, "digest_mismatch")
    shared_http.put(f"{path}/parts/1", content=data[:PART_BYTES])
    shared_http.put(f"{path}/parts/2", content=b"wrong")
    answer = shared_http.post(f"{path}/complete")
    assert (answer.status_code, error_code(answer)) == (400, "digest_mismatch")
    assert shared_http.get(f"/api/v1/blobs/{digest_of(data)}").status_code == 404
    assert shared_http.get(path).json()["received"] == []


def test_a_session_is_found_again_by_its_key_and_by_no_other(shared_http: httpx2.Client) -> None:
    data = os.urandom(PART_BYTES + 5)
    first = begin(shared_http, data, resume_key="mine")
    shared_http.put(f"/api/v1/uploads/{first['id']}/parts/2", content=data[PART_BYTES:])
    assert begin(shared_http, data, resume_key="mine")["received"] == [2]
    assert begin(shared_http, data, resume_key="other")["received"] == []


def test_b55_manifests_that_cannot_be_are_refused(shared_http: httpx2.Client, local: LocalStore) -> None:
    model = save_text(local, "m:1")
    path = "/api/v1/models/m/versions/1"
    entry = {"path": "a", "sha256": "0" * 64, "size": 1}
    many = json.dumps({"files": [{**entry, "path": f"f{n}"} for n in range(100_000)]}).encode()
    for body, status, code in [
        (model.manifest.to_bytes(), 400, "blob_unknown"),
        (b"{}", 422, "invalid_manifest"),
        (b"", 422, "invalid_manifest"),
        (b"\xff", 422, "invalid_manifest"),
        (b'{"a":' * 5_000, 422, "invalid_manifest"),
        (b" " * (10 << 20), 413, "too_large"),
        (many, 413, "too_large"),
    ]:
        answer = shared_http.put(path, content=body)
        assert (answer.status_code, error_code(answer)) == (status, code), body[:50]
    assert shared_http.get(path).status_code == 404


@pytest.mark.parametrize("more", [1, -1])
def test_b53_a_manifest_with_another_size_than_its_blob_is_a_size_mismatch(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore, more: int
) -> None:
    path = "/api/v1/models/m/versions/1"
    honest = push(store, local, "m:1").manifest
    assert http.delete(path).status_code == 204
    files = [f if f.path == "model.yaml" else f._replace(size=f.size + more) for f in honest.files]
    lying = dataclasses.replace(honest, files=tuple(files))
    answer = http.put(path, content=lying.to_bytes())
    assert (answer.status_code, error_code(answer)) == (400, "size_mismatch")
    assert http.get(path).status_code == 404
    assert http.put(path, content=honest.to_bytes()).status_code == 201


@pytest.mark.parametrize(
    ("labels", "status"),
    [
        ({"k": "v" * 1_000_000}, 422),
        ({"k" * 64: "v"}, 422),
        ({"": "v"}, 422),
        ({"k": "\x1b[31mred"}, 422),
        ({"k\n": "v"}, 422),
        ({"k": 1}, 422),
        ({"k": {"deep": "er"}}, 422),
        ({f"k{n}": "v" for n in range(65)}, 422),
        ({"k": "<script>alert(1)</script>"}, 200),
    ],
)
def test_b56_labels_are_limited_and_printable(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore, labels: dict[str, Any], status: int
) -> None:
    push(store, local, "m:1")
    answer = http.patch("/api/v1/models/m/versions/1/labels", json={"labels": labels})
    assert answer.status_code == status
    shown = http.get("/api/v1/models/m/versions/1").json()["labels"]
    assert shown == (labels if status == 200 else {})


def test_b56_nan_and_nesting_are_refused_as_json(shared_http: httpx2.Client) -> None:
    deep = b'{"labels":' + b"[" * 1000 + b"]" * 1000 + b"}"
    for body in (b'{"labels": {"k": NaN}}', deep, b"{", b"\xff\xfe", b"[]", b"null"):
        headers = {"content-type": "application/json"}
        answer = shared_http.patch("/api/v1/models/m/versions/1/labels", content=body, headers=headers)
        assert answer.status_code in {400, 422}, body[:20]
        error_code(answer)


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=0",
        "limit=1000000000",
        "limit=x",
        "cursor=garbage",
        "cursor=%00",
        "cursor=e30",
        "cursor=WzFd",
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/models", "/api/v1/versions"])
def test_b57_bad_pages_are_400(shared_http: httpx2.Client, path: str, query: str) -> None:
    answer = shared_http.get(f"{path}?{query}")
    assert (answer.status_code, error_code(answer)) == (400, "bad_request")


def test_b57_a_filter_is_text_and_nothing_else(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore
) -> None:
    push(store, local, "m:1", labels={"a": "b"})
    for query in ({"q": "' OR 1=1"}, {"q": "*"}, {"q": ".*"}, {"label": "a=' OR 1=1"}, {"module": "%"}):
        assert http.get("/api/v1/models", params=query).json()["models"] == []


def test_b58_ranges(shared_http: httpx2.Client) -> None:
    data = os.urandom(1000)
    path = f"/api/v1/blobs/{digest_of(data)}"
    shared_http.put(path, content=data)
    for header, status, body in [
        ("bytes=0-9", 206, data[:10]),
        ("bytes=990-", 206, data[990:]),
        ("bytes=-10", 206, data[-10:]),
        ("bytes=-5000", 206, data),
        ("bytes=995-5000", 206, data[995:]),
        ("bytes=" + ",".join(["0-0"] * 1000), 200, data),
        ("bytes=0-0,0-0..", 200, data),
        ("bytes=9-5", 200, data),
        ("lines=1-2", 200, data),
        ("bytes=-", 200, data),
    ]:
        answer = shared_http.get(path, headers={"range": header})
        assert (answer.status_code, answer.content) == (status, body), header
    for header in ("bytes=1000-", "bytes=5000-6000", "bytes=-0"):
        answer = shared_http.get(path, headers={"range": header})
        assert (answer.status_code, error_code(answer)) == (416, "range_not_satisfiable")
    assert shared_http.get(path, headers={"if-none-match": f'"{digest_of(data)}"'}).status_code == 304
    assert shared_http.head(path).headers["content-length"] == "1000"


def test_b59_deleting_what_is_in_use_or_gone(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore
) -> None:
    push(store, local, "m:1")
    path = "/api/v1/models/m/versions/1"
    assert http.put("/api/v1/models/m/aliases/prod", json={"version": "1"}).status_code == 200
    used = http.delete(path)
    assert (used.status_code, error_code(used)) == (409, "in_use")
    assert http.delete("/api/v1/models/m/aliases/prod").status_code == 204
    assert http.delete(path).status_code == 204
    gone = http.delete(path)
    assert (gone.status_code, error_code(gone)) == (404, "version_not_found")


def test_unknown_paths_and_methods_answer_in_the_one_form(shared_http: httpx2.Client) -> None:
    unknown = shared_http.get("/api/v1/nowhere/at/all")
    assert (unknown.status_code, error_code(unknown)) == (404, "not_found")
    method = shared_http.put("/api/v1/models")
    assert (method.status_code, error_code(method)) == (405, "method_not_allowed")
    assert method.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/v1/models/m/versions/1", "DELETE GET HEAD PUT"),
        ("/api/v1/models/m/settings", "GET HEAD PATCH"),
        ("/api/v1/models/m/aliases/a", "DELETE GET HEAD PUT"),
        ("/api/v1/tokens", "GET HEAD POST"),
        ("/api/v1/uploads/u", "DELETE GET HEAD"),
        ("/api/v1/events", "GET HEAD"),
        ("/livez", "GET HEAD"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_told_all_that_it_has(
    shared_http: httpx2.Client, path: str, methods: str
) -> None:
    answer = shared_http.request("TRACE", path)
    assert (answer.status_code, error_code(answer)) == (405, "method_not_allowed")
    assert sorted(answer.headers["allow"].split(", ")) == methods.split()
    assert answer.json()["error"]["message"] == f"use {answer.headers['allow']}"


def test_operations_have_short_names(shared_http: httpx2.Client) -> None:
    paths = shared_http.get("/openapi.json").json()["paths"]
    names = [operation["operationId"] for item in paths.values() for operation in item.values()]
    assert len(set(names)) == len(names)
    assert {"list_models", "show_version", "begin_push"} <= set(names)


def test_head_answers_as_get_without_a_body(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore
) -> None:
    push(store, local, "m:1")
    pages = ("/", "/models/m", "/models/m/1", "/models/nothing", "/static/style.css", "/docs")
    api = ("", "/models", "/versions", "/models/m", "/models/m/versions/1", "/models/m/aliases", "/tokens")
    for path in (*pages, *(f"/api/v1{path}" for path in api), "/livez", "/readyz", "/openapi.json"):
        got, head = http.get(path), http.head(path)
        for name in ("content-type", "content-length", "content-security-policy"):
            assert head.headers.get(name) == got.headers.get(name), (path, name)
        assert (head.status_code, head.content) == (got.status_code, b""), path
    assert http.get("/livez").text == "ok\n", "the connection is in step"


def test_head_of_the_events_ends(shared_http: httpx2.Client) -> None:
    answer = shared_http.head("/api/v1/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


def test_a_page_leads_to_the_next_until_all_were_seen(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore
) -> None:
    tags = [f"m{name}:{version}" for name in range(3) for version in range(3)]
    for tag in tags:
        push(store, local, tag)
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = http.get("/api/v1/versions", params={"limit": 2, "cursor": cursor}).json()
        seen += [version["tag"] for version in page["versions"]]
        cursor = page["next"]
    assert sorted(seen) == sorted(tags)
    assert seen == [f"m{name}:{version}" for name in range(3) for version in reversed(range(3))]
    names = [m["name"] for m in http.get("/api/v1/models").json()["models"]]
    assert names == ["m0", "m1", "m2"]


def test_filters_look_at_name_description_labels_and_module(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore
) -> None:
    push(store, local, "iris:1", labels={"team": "nlp"})
    push(store, local, "digits:1", labels={"team": "cv"})
    for query, expected in [
        ({"q": "IRI"}, ["iris"]),
        ({"label": "team=cv"}, ["digits"]),
        ({"label": "team"}, ["digits", "iris"]),
        ({"label": ["team=cv", "x"]}, []),
        ({"module": "vtsserving.sklearn"}, []),
    ]:
        found = http.get("/api/v1/models", params=query).json()["models"]
        assert [model["name"] for model in found] == expected, query


def test_the_info_keeps_text_as_it_is_and_the_answer_tells_its_digest(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore
) -> None:
    model = push(store, local, "m:1", metadata={"html": "<b>&", "deep": {"a": [1, 2.5, None, True]}})
    answer = http.get("/api/v1/models/m/versions/latest")
    assert answer.json()["info"] == model.info.to_json_dict()
    assert answer.headers["content-digest"].startswith("sha-256=:")
    assert http.get("/api/v1/models/m/versions/1/manifest").content == model.manifest.to_bytes()


def test_an_alias_moves_only_from_where_it_is_expected(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore
) -> None:
    for version in ("a1", "a2"):
        push(store, local, f"m:{version}")
    path = "/api/v1/models/m/aliases/prod"
    assert http.put(path, json={"version": "a1", "expected": ""}).json()["version"] == "a1"
    assert http.put(path, json={"version": "a2", "expected": ""}).status_code == 409
    assert http.put(path, json={"version": "latest", "expected": "a1"}).json()["version"] == "a2"
    assert [move["version"] for move in http.get(path).json()] == ["a2", "a1"]
    assert http.get("/api/v1/models/m/versions/prod").json()["version"] == "a2"
    for alias in ("latest", "Prod", "2prod", "a" * 64, "abcdefghijklmnop", "a1"):
        answer = http.put(f"/api/v1/models/m/aliases/{alias}", json={"version": "a1"})
        assert answer.status_code in {409, 422}, alias


def test_changes_are_told_as_they_happen(
    store: ThreadedStore, http: httpx2.Client, local: LocalStore
) -> None:
    told: list[dict[str, Any]] = []
    listening = threading.Event()

    def listen() -> None:
        with (
            httpx2.Client(timeout=30) as client,
            client.stream("GET", f"{store.url}/api/v1/events") as events,
        ):
            for line in events.iter_lines():
                listening.set()
                if line.startswith("data: "):
                    told.append(json.loads(line[6:]))
                if len(told) == 3:
                    return

    thread = threading.Thread(target=listen)
    thread.start()
    assert listening.wait(10)
    model = push(store, local, "m:1")
    http.put("/api/v1/models/m/aliases/prod", json={"version": "1"})
    http.patch("/api/v1/models/m/versions/1/labels", json={"labels": {"a": "b"}})
    thread.join(10)
    assert [(event["kind"], event["name"], event["version"]) for event in told] == [
        ("pushed", "m", "1"),
        ("alias", "m", "1"),
        ("labels", "m", "1"),
    ]
    assert told[0]["digest"] == model.digest


def test_an_open_event_stream_does_not_hold_up_the_end_of_the_service(
    store: ThreadedStore, tmp_path: Path
) -> None:
    with httpx2.Client(timeout=30) as client, client.stream("GET", f"{store.url}/api/v1/events") as events:
        lines = events.iter_lines()
        assert next(lines) == ": listening"
        store.call(store.app.drain())
        assert [line for line in lines if line.startswith("data")] == []


def test_the_store_says_what_it_is(client: RegistryClient, http: httpx2.Client) -> None:
    assert client.service()["service"] == "vtsserving-store"
    assert http.get("/openapi.json").json()["info"]["title"] == "VtsServing store"
    for path in ("/livez", "/readyz", "/healthz"):
        assert http.get(path).text == "ok\n"
    assert "vtsserving_store_requests_total" in http.get("/metrics").text
