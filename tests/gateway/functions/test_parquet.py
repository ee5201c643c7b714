"""Parquet to a function, however it is called, with a pyarrow that is installed where only this test sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.python_process import install, python_with

PROGRAM = """
import httpx2
import pandas as pd

import vtsserving
from support.served_gateway import served
from vtsserving.io import JSON, Multipart, PandasDataFrame

svc = vtsserving.Service("tables", runners=[])
svc.api(input=PandasDataFrame(), output=JSON(), name="table")(lambda frame: frame.to_dict("records"))
svc.api(input=Multipart(one=PandasDataFrame(), two=PandasDataFrame()), output=JSON(), name="two")(
    lambda one, two: [one.to_dict("records"), two.to_dict("records")]
)
frame = pd.DataFrame({"zip": ["01067", "1E5"], "n": [1, 2]})
parquet, records = frame.to_parquet(), frame.to_dict("records")
octets = {"content-type": "application/octet-stream"}
with served([], {}, service=svc) as gateway:
    url = f"http://127.0.0.1:{gateway.port}"
    for answer in (
        httpx2.post(f"{url}/table", content=parquet, headers={"content-type": "application/vnd.apache.parquet"}),
        httpx2.post(f"{url}/table", content=parquet, headers=octets),
        httpx2.post(f"{url}/table", content=parquet),
        httpx2.post(f"{url}/table", files={"file": ("t.parquet", parquet)}),
        httpx2.post(f"{url}/table", files={"any": ("t", parquet, "application/octet-stream")}),
    ):
        assert (answer.status_code, answer.json()) == (200, records), answer.text
    both = httpx2.post(f"{url}/two", files={"one": ("1.parquet", parquet), "two": ("2.parquet", parquet)})
    assert both.json() == [records, records], both.text
    for bad in (parquet[:-9], b"PAR1" + parquet[:40], b"PAR1"):
        answer = httpx2.post(f"{url}/table", content=bad, headers=octets)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_input"), answer.text
print("ok")
"""

pytestmark = [pytest.mark.frameworks("own"), pytest.mark.slow, pytest.mark.timeout(600)]


def test_parquet_comes_as_bytes_and_as_the_file_of_a_form(tmp_path: Path) -> None:
    assert python_with(install(tmp_path), "-c", PROGRAM) == "ok\n"
