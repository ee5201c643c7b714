"""Values of every kind through a served model, in every form: what docs/values.md says of each is what happens."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx2
import numpy as np
import pandas as pd
import pytest

import vtsserving
from support import value_kinds
from support.first_release import serving
from support.value_kinds import NONE, OF_JSON, ValueKind, Values, check_same, installed
from vtsserving._wire.call_rule import CallRule
from vtsserving._wire.leaves import cut
from vtsserving._wire.rows import pack_call
from vtsserving._wire.values import decode_value, encode_value

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

JSON, NPY, MSGPACK = "application/json", "application/x-npy", "application/msgpack"
ARROW = "application/vnd.apache.arrow.stream"


class Served(NamedTuple):
    """A gateway, and the client of it."""

    url: str
    client: vtsserving.Client

    def give(self, kind: ValueKind, accept: str) -> httpx2.Response:
        headers = {"content-type": JSON, "accept": accept}
        body = json.dumps({"args": [kind.name]})
        url = f"{self.url}/v1/models/values/predict"
        return httpx2.post(url, content=body, headers=headers, trust_env=False, timeout=60)


@pytest.fixture(scope="module", params=["embedded", "nats"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("values")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", str(folder / "home"))
        form = {"batchable": True, "arguments": {"x": {"kind": "rows"}}, "result": {"axis": 0}}
        vtsserving.picklable_model.save_model(
            "values",
            Values(),
            signatures={**{name: {"batchable": False} for name in ("predict", "echo", "sees")}, "rows": form},
            options={"max_wait_ms": 100},
            external_modules=[value_kinds],
        )
        workers = ("--workers", "1") if request.param == "nats" else ()
        with (
            serving(folder, "serve", "values:latest", *workers) as url,
            vtsserving.Client(url, timeout=60) as client,
        ):
            yield Served(url, client)


def named(kinds: list[ValueKind]) -> Any:
    return pytest.mark.parametrize("kind", kinds, ids=[kind.name for kind in kinds])


def plain(value: Any) -> Any:
    """What comes back of a result: arrays for tensors of torch, of which those of bfloat16 are compared as float32."""
    if type(value).__module__.startswith("torch"):
        return (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return list(value) if value_kinds.is_read_to_its_end(value) else value


def check_answer(got: Any, kind: ValueKind) -> None:
    is_half = kind.needs == "torch" and str(got.dtype) == "bfloat16"
    check_same(got.astype(np.float32) if is_half else got, plain(kind.make()))


ALL = installed()


@named(ALL)
def test_a_result_has_the_json_form_that_the_page_says(served: Served, kind: ValueKind) -> None:
    answer = served.give(kind, JSON)
    if kind.json is None and kind.name.startswith("complex"):
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "bad_model_output")
    else:
        assert (answer.status_code, answer.json()) == (200, kind.json)


@named(ALL)
def test_a_result_comes_back_through_the_client_as_it_was(served: Served, kind: ValueKind) -> None:
    check_answer(served.client.call_model("values", "predict", [kind.name], {}), kind)


@named(ALL)
def test_a_result_has_an_npy_form_or_406(served: Served, kind: ValueKind) -> None:
    answer = served.give(kind, NPY)
    if kind.npy == NONE:
        assert (answer.status_code, answer.json()["error"]["code"]) == (406, "not_acceptable")
        return
    array = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert str(np.lib.format.dtype_to_descr(array.dtype)) == kind.npy
    if array.dtype.names is None and not isinstance(kind.json, float) and array.dtype.kind in "biufU":
        assert np.array_equal(array, np.array(kind.json, array.dtype), equal_nan=array.dtype.kind == "f")


@named(ALL)
def test_a_result_has_the_oip_datatypes_that_the_page_says(served: Served, kind: ValueKind) -> None:
    sent = {"name": "kind", "shape": [1], "datatype": "BYTES", "data": [kind.name]}
    answer = httpx2.post(
        f"{served.url}/v2/models/values/infer", json={"inputs": [sent]}, trust_env=False, timeout=60
    )
    if not kind.oip:
        assert answer.status_code == 500, answer.text
        return
    assert answer.status_code == 200, answer.text
    outputs = answer.json()["outputs"]
    if kind.oip == OF_JSON:
        (output,) = outputs
        assert (output["datatype"], output["parameters"]) == ("BYTES", {"content_type": "json"})
        assert [json.loads(item) for item in output["data"]] == kind.json
        return
    assert [output["datatype"] for output in outputs] == kind.oip.split()


@named(ALL)
def test_a_result_has_an_arrow_form_or_406(served: Served, kind: ValueKind) -> None:
    answer = served.give(kind, ARROW)
    if not kind.arrow or importlib.util.find_spec("pyarrow") is None:
        assert (answer.status_code, answer.json()["error"]["code"]) == (406, "not_acceptable")
        return
    import pyarrow as pa

    table = pa.ipc.open_stream(answer.content).read_all()
    right = kind.make()
    if isinstance(right, pd.DataFrame | pd.Series):
        got = table.to_pandas()
        wanted = right if isinstance(right, pd.DataFrame) else right.to_frame(str(right.name or 0))
        if "Sparse" in str(right.dtypes):
            wanted = wanted.sparse.to_dense()
        if "Arrow" not in kind.name:
            check_same(got, wanted)
    assert table.num_rows == 2


SENDABLE = [kind for kind in ALL if kind.sendable]


@named(SENDABLE)
def test_a_model_gets_what_a_client_sends(served: Served, kind: ValueKind) -> None:
    sent = kind.make()
    assert served.client.call_model("values", "sees", [sent], {}) == Values().sees(sent)


@named(SENDABLE)
def test_what_a_client_sends_comes_back(served: Served, kind: ValueKind) -> None:
    check_answer(served.client.call_model("values", "echo", [kind.make()], {}), kind)


def of_rows(value: Any) -> list[Any]:
    """What several callers send: the first row, the second, and both."""
    return [cut(value, 0, 0, 1), cut(value, 0, 1, 2), value, cut(value, 0, 0, 1)]


@named([kind for kind in SENDABLE if kind.rows and kind.needs != "torch"])
def test_callers_that_share_a_batch_get_their_own_back(served: Served, kind: ValueKind) -> None:
    headers = {"content-type": MSGPACK, "accept": MSGPACK}
    calls = of_rows(kind.make())

    def ask(sent: Any) -> tuple[Any, int]:
        body = encode_value({"args": [sent], "kwargs": {}})
        url = f"{served.url}/v1/models/values/rows"
        answer = httpx2.post(url, content=body, headers=headers, trust_env=False, timeout=60)
        assert answer.status_code == 200, answer.text
        return decode_value(answer.content), int(answer.headers["x-vts-batch-size"])

    heads = {pack_call((sent,), {}, CallRule(0)).head for sent in calls}
    # Calls whose labels are in another one, too, may have to be computed alone.
    can_join = len(heads) < len(calls) and kind.name != "DataFrame with labels"
    rows, joined = (1, 1, 2, 1), False
    for _ in range(10):
        with ThreadPoolExecutor(len(calls)) as pool:
            answers = list(pool.map(ask, calls))
        for (got, _), sent in zip(answers, calls, strict=True):
            check_same(got, sent)
        joined = any(size > own for (_, size), own in zip(answers, rows, strict=True))
        if joined or not can_join:
            break
    assert joined or not can_join


def test_a_generator_without_an_end_is_an_error_that_says_so(served: Served) -> None:
    answer: Callable[..., Any] = served.client.call_model
    with pytest.raises(vtsserving.exceptions.ResultTooLarge, match="more than 100,000 items"):
        answer("values", "predict", ["endless generator"], {})
