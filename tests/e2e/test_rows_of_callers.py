"""Every caller gets what the object gives for its own arguments: by client, JSON and OIP, alone and among others."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest

import vtsserving
from support import row_cases
from support.callers import ORDERS, TIMES
from support.row_cases import CASES, METHODS, METHODS_OF_JSON, RowCase
from support.served_stack import serving_on
from support.wire_values import is_same
from vtsserving._codecs.json_write import to_json
from vtsserving.exceptions import BadInput, BadModelOutput

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

IDS = np.array([[1, 2]])
FAILED = "failed"
WAIT_MS = 60
MAX_BATCH = 16


@pytest.fixture(scope="module", params=["embedded", "nats"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, vtsserving.Model]]:
    """A gateway that serves all cases, and the model; batches wait for company."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", str(tmp_path_factory.mktemp("home")))
        model = vtsserving.picklable_model.save_model(
            "cases",
            row_cases.Model(),
            signatures=row_cases.SIGNATURES,
            options={"max_wait_ms": WAIT_MS, "max_batch_size": MAX_BATCH},
            external_modules=[row_cases],
        )
        with serving_on(request.param, tmp_path_factory.mktemp("nats"), tags=["cases"]) as running:
            yield running.url, model


@pytest.fixture
def url(served: tuple[str, vtsserving.Model]) -> str:
    return served[0]


def in_process(case: RowCase, i: int) -> Any:
    args, kwargs = copy.deepcopy(case.calls[i])
    return FAILED if i in case.fails else case.function(*args, **kwargs)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", CASES)
def test_by_client(url: str, name: str, order: str) -> None:
    case = CASES[name]
    with vtsserving.Client(url, timeout=30) as client:

        def call(i: int) -> Any:
            args, kwargs = case.calls[i]
            try:
                return client.call_model("cases", METHODS[name], args, kwargs)
            except BadModelOutput:
                return FAILED

        for _ in range(TIMES):
            for i, got in enumerate(ORDERS[order](len(case.calls), call)):
                right = in_process(case, i)
                assert is_same(got, right), f"caller {i} got {got!r}, not {right!r}"


def as_json(value: Any) -> Any:
    return json.loads(to_json(value))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.has_tables])
def test_by_json(url: str, name: str, order: str) -> None:
    case = CASES[name]
    sizes: list[int] = []
    with httpx2.Client(trust_env=False, timeout=30) as client:

        def call(i: int) -> Any:
            args, kwargs = case.calls[i]
            answer = client.post(
                f"{url}/v1/models/cases/{METHODS_OF_JSON[name]}",
                content=to_json({"args": list(args), "kwargs": kwargs}),
                headers={"content-type": "application/json"},
            )
            if answer.status_code != 200:
                assert answer.json()["error"]["code"] == "bad_model_output", answer.text
                return FAILED
            sizes.append(int(answer.headers["x-vts-batch-size"]))
            return answer.json()

        for _ in range(TIMES):
            for i, got in enumerate(ORDERS[order](len(case.calls), call)):
                assert got == as_json(in_process(case, i)), f"caller {i}"
    if order == "merged" and case.merges:
        assert max(sizes) > min(max(case.rows), MAX_BATCH // 2), "callers shared no batch"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "reversed"])
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.oip])
def test_by_oip(url: str, name: str, reverse: bool, order: str) -> None:
    """Inputs are known by their names."""
    case = CASES[name]
    with httpx2.Client(trust_env=False, timeout=30) as client:

        def call(i: int) -> Any:
            args, _ = case.calls[i]
            inputs = [oip_input(*one) for one in zip(case.oip, args, strict=True)]
            answer = client.post(
                f"{url}/v2/models/cases/infer",
                json={
                    "inputs": inputs[::-1] if reverse else inputs,
                    "parameters": {"method": METHODS[name]},
                },
            )
            assert answer.status_code == 200, answer.text
            (output,) = answer.json()["outputs"]
            return output

        for _ in range(TIMES):
            for i, got in enumerate(ORDERS[order](len(case.calls), call)):
                right = in_process(case, i)
                if isinstance(right, np.ndarray):
                    assert (got["shape"], got["data"]) == (list(right.shape), right.ravel().tolist())
                else:
                    assert got["parameters"] == {"content_type": "json"}
                    assert [json.loads(item) for item in got["data"]] == right


def oip_input(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        return {"name": name, "datatype": "INT64", "shape": list(value.shape), "data": value.ravel().tolist()}
    return {"name": name, "datatype": "BYTES", "shape": [len(value)], "data": value}


def test_a_name_that_the_method_does_not_have_is_refused(url: str) -> None:
    name = METHODS["two named inputs"]
    inputs = [oip_input("ids", np.ones((1, 2), int)), oip_input("maks", np.ones((1, 2), int))]
    answer = httpx2.post(
        f"{url}/v2/models/cases/infer",
        json={"inputs": inputs, "parameters": {"method": name}},
        trust_env=False,
    )
    assert answer.status_code == 400
    assert "'maks'; the method takes ids, mask" in answer.json()["error"]


CALLS_THAT_DO_NOT_FIT = {
    "too many": ((IDS, IDS, IDS), {}, "has 3 arguments; the method takes ids, mask"),
    "too few": ((IDS,), {}, "'mask' is missing"),
    "the first is missing": ((), {"mask": IDS}, "'ids' is missing"),
    "twice": ((IDS, IDS), {"mask": IDS}, "'mask' is there twice"),
    "unknown": ((IDS, IDS), {"more": 1}, "no argument 'more'"),
}


@pytest.mark.parametrize("name", CALLS_THAT_DO_NOT_FIT)
def test_arguments_that_do_not_fit_are_the_callers_error(
    served: tuple[str, vtsserving.Model], name: str
) -> None:
    """The same in every way of calling, and nothing reaches the model."""
    url, model = served
    args, kwargs, says = CALLS_THAT_DO_NOT_FIT[name]
    method = METHODS["two named inputs"]
    with vtsserving.Client(url) as client, pytest.raises(BadInput) as error:
        client.call_model("cases", method, args, kwargs)
    assert says in error.value.message
    body = to_json({"args": list(args), "kwargs": kwargs})
    answer = httpx2.post(
        f"{url}/v1/models/cases/{METHODS_OF_JSON['two named inputs']}", content=body, trust_env=False
    )
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    runner = model.to_runner()
    runner.init_local()
    with pytest.raises(BadInput, match=re.escape(says)):
        getattr(runner, method).run(*args, **kwargs)


def test_rows_alone_are_no_call_of_a_method_that_needs_more(url: str) -> None:
    answer = httpx2.post(
        f"{url}/v1/models/cases/{METHODS_OF_JSON['two named inputs']}", content=b"[[1, 2]]", trust_env=False
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_input")
    assert "'mask' is missing; the method takes ids, mask" in answer.json()["error"]["message"]
