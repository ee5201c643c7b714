"""The routes that are not calls: health, metrics, documentation, models, and errors in the one shape."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from support.backend import Backend, entry, rows_spec
from support.served_gateway import ServedGateway, get, post, served, wait_until
from vtsserving.exceptions import BadInput, walk

SUM = {("iris", "predict"): lambda X: X.sum(axis=1)}
ENTRIES = [entry("iris", input_specs=rows_spec(4))]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_a_healthy_gateway_says_so(unharmed: ServedGateway, path: str) -> None:
    answer = unharmed.ask(get(path))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]


def test_liveness_needs_nobody_and_readiness_a_batcher() -> None:
    with served(ENTRIES, SUM) as gateway:
        gateway.wait(gateway.backend.close())
        wait_until(lambda: not gateway.app.client.batchers_alive)
        assert gateway.ask(get("/livez")).status == 200
        answer = gateway.ask(get("/readyz"))
        assert (answer.code, answer.status, answer.headers["retry-after"]) == ("unavailable", 503, "1")
        assert "no batcher is alive" in answer.json["error"]["message"]

        async def again() -> None:
            gateway.backend = Backend(gateway.bus, SUM)
            await gateway.backend.start()

        gateway.wait(again())
        wait_until(lambda: gateway.ask(get("/readyz")).status == 200)


def test_readiness_waits_for_preloaded_models() -> None:
    with served(ENTRIES, SUM, {"preload": "iris:latest, other"}) as gateway:
        answer = gateway.ask(get("/readyz"))
        assert answer.code == "unavailable"
        assert "iris:latest, other" in answer.json["error"]["message"]
        gateway.run(lambda: gateway.backend.loaded.append("iris:v1"))
        wait_until(lambda: "loaded: other" in gateway.ask(get("/readyz")).json["error"]["message"])
        gateway.run(lambda: gateway.catalog.latest.update(other=entry("other")))
        gateway.run(lambda: gateway.backend.loaded.append("other:v1"))
        wait_until(lambda: gateway.ask(get("/readyz")).status == 200)


def test_a_model_can_be_looked_at(unharmed: ServedGateway) -> None:
    answer = unharmed.ask(get("/v1/models/iris"))
    shown = answer.json
    assert shown["tag"] == "iris:v1"
    assert shown["signatures"] == {"predict": {"batchable": True}}
    assert shown["input_specs"] == rows_spec(4)
    assert (shown["state"], shown["runners"]) == ("not_loaded", 0)


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("/v1/models/nothing", "model_not_found", 404),
        ("/v1/models/iris:v9", "version_not_found", 404),
        ("/v1/models/%3E", "model_not_found", 404),
        ("/nothing", "not_found", 404),
        ("/%00", "not_found", 404),
        ("/..%2f..%2fetc/passwd", "not_found", 404),
        ("/livez/", "not_found", 404),
    ],
)
def test_unknown_things_are_404_in_the_one_shape(
    unharmed: ServedGateway, path: str, code: str, status: int
) -> None:
    answer = unharmed.ask(get(path))
    assert (answer.code, answer.status) == (code, status)


def test_other_methods_of_a_route_are_405(unharmed: ServedGateway) -> None:
    answer = unharmed.ask(post(b"", "/livez"))
    assert (answer.code, answer.status, answer.headers["allow"]) == ("method_not_allowed", 405, "GET, HEAD")


def test_operations_have_names_that_a_client_can_be_made_of(unharmed: ServedGateway) -> None:
    paths = unharmed.ask(get("/openapi.json")).json["paths"]
    names = [operation["operationId"] for item in paths.values() for operation in item.values()]
    assert len(set(names)) == len(names)
    of_routes = {
        path: item for path, item in paths.items() if "{" in path or not path.startswith("/v1/models/")
    }
    own = [name for item in of_routes.values() for name in operation_ids(item)]
    assert [name for name in own if not re.fullmatch("[a-z]+(_[a-z]+){0,4}", name)] == []
    assert {"list_models", "load_model", "oip_repository_index", "call_method"} <= set(own)


def operation_ids(item: dict[str, Any]) -> list[str]:
    return [operation["operationId"] for operation in item.values()]


@pytest.mark.parametrize("path", ["system", "cuda"])
def test_regions_of_shared_memory_cannot_be_registered_and_the_answer_says_what_to_do(
    unharmed: ServedGateway, path: str
) -> None:
    answer = unharmed.ask(post(b"{}", f"/v2/{path}sharedmemory/region/mine/register"))
    assert answer.status == 404
    assert "shared memory" in answer.json["error"]
    assert "binary data" in answer.json["error"]


@pytest.mark.parametrize(
    "path",
    ["/livez", "/v1/models", "/v1/models/iris", "/v1/models/nothing", "/v2", "/v2/models/iris", "/docs"],
)
def test_head_answers_as_get_without_a_body(unharmed: ServedGateway, path: str) -> None:
    with unharmed.connect() as client:
        client.send(f"HEAD {path} HTTP/1.1\r\nHost: gateway\r\n\r\n".encode())
        status, headers = client.head()
        got = client.ask(get(path))
    assert int(status.split()[1]) == got.status
    for name in ("content-type", "content-length"):
        assert headers[name] == got.headers[name]


def test_docs_are_served(unharmed: ServedGateway) -> None:
    assert unharmed.ask(get("/docs")).headers["content-type"].startswith("text/html")
    document = unharmed.ask(get("/openapi.json")).json
    assert document["openapi"].startswith("3.1")
    assert {
        "/livez",
        "/readyz",
        "/healthz",
        "/metrics",
        "/v1/models/{tag}",
        "/v1/models/{tag}/{method}",
    } <= set(document["paths"])
    assert set(document["paths"]["/v1/models/{tag}"]) == {"get", "post"}


def test_the_document_shows_the_methods_of_each_model_with_their_inputs(unharmed: ServedGateway) -> None:
    paths = unharmed.ask(get("/openapi.json")).json["paths"]
    operation = paths["/v1/models/iris/predict"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    row = {"type": "array", "items": {"type": ["number", "boolean", "null"]}, "minItems": 4, "maxItems": 4}
    assert schema["oneOf"][0] == {"type": "array", "items": row, "description": "Rows along axis 0."}
    (example,) = schema["examples"]
    assert unharmed.ask(post(json.dumps(example).encode())).json == [0.0]
    assert operation["summary"] == "predict of iris:v1"
    assert set(paths["/v1/models/many/first"]) == {"post"}


def test_the_document_is_valid(unharmed: ServedGateway) -> None:
    validate(unharmed.ask(get("/openapi.json")).json)


def test_the_document_names_every_status_that_a_call_can_have(unharmed: ServedGateway) -> None:
    document = unharmed.ask(get("/openapi.json")).json
    documented = set(document["paths"]["/v1/models/{tag}/{method}"]["post"]["responses"])
    elsewhere = {405, 416}
    assert {
        str(error.http_status) for error in walk(BadInput) if error.http_status not in elsewhere
    } <= documented


def apis(gateway: ServedGateway) -> dict[str, float]:
    text = gateway.ask(get("/metrics")).body.decode()
    return {
        f"{sample.name}{json.dumps(sample.labels, sort_keys=True)}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_calls_are_counted_by_model_and_status() -> None:
    with served(ENTRIES, SUM) as gateway:
        for body in (b"[[1,2,3,4]]", b"[[1,2,3,4]]", b"[["):
            gateway.ask(post(body))
        gateway.ask(post(b"[1]", "/v1/models/nothing"))
        gateway.ask(get("/livez"))
        gateway.ask(get("/nothing"))
        gateway.ask(b"nonsense\r\n\r\n")
        found = apis(gateway)

    def requests(code: int, route: str, model: str = "", version: str = "", method: str = "") -> float:
        labels = {"code": str(code), "method": method, "model": model, "route": route, "version": version}
        return found["vtsserving_http_requests_total" + json.dumps(labels, sort_keys=True)]

    call = "/v1/models/{tag}/{method}"
    assert requests(200, call, "iris", "v1", "predict") == 2
    assert requests(400, call, "iris", "v1", "predict") == 1
    assert requests(404, call) == 1
    assert requests(200, "/livez") == 1
    assert requests(404, "other") == 1
    assert requests(400, "other") == 1
    assert found['vtsserving_requests_rejected_total{"reason": "bad_json"}'] == 1
    assert found['vtsserving_requests_rejected_total{"reason": "model_not_found"}'] == 1
    assert found["vtsserving_connections{}"] == 1
    assert found["vtsserving_batchers_alive{}"] == 1
    assert found["vtsserving_requests_in_progress{}"] == 1


def test_names_that_clients_make_up_do_not_become_labels(unharmed: ServedGateway) -> None:
    for number in range(50):
        unharmed.ask(post(b"[1]", f"/v1/models/made-up-{number}"))
        unharmed.ask(get(f"/made-up-{number}"))
    assert "made-up" not in unharmed.ask(get("/metrics")).body.decode()


def test_the_access_log_has_one_line_for_each_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), served(ENTRIES, SUM, {"access_log": True}) as gateway:
        gateway.ask(post(b"[[1,2,3,4]]", headers={"X-Request-Id": "one"}))
        gateway.ask(get("/livez?secret=1", {"X-Request-Id": "two"}))
        wait_until(lambda: len([record for record in caplog.records if record.message == "request"]) == 2)
    lines = {record.request_id: record for record in caplog.records if record.message == "request"}  # type: ignore[attr-defined]
    assert (lines["one"].status, lines["one"].model, lines["one"].method) == (200, "iris:v1", "POST")
    assert (lines["two"].status, lines["two"].url) == (200, "/livez")
