"""Texts take memory that is linear in the bytes that were sent, however unlike their lengths are."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import vtsserving
from support.first_release import serving
from support.proofs import Proof
from vtsserving._wire.values import encode_value

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(120)]

TEXTS = [f"a short text, number {number}" for number in range(1_000)] + ["x" * 2**20]
MOST_TIMES = 6.0
"""Peak memory of all processes together may grow by this, in sizes of the body."""

URL = "/v1/models/lengths/__call__"
OIP = {"inputs": [{"name": "texts", "shape": [len(TEXTS)], "datatype": "BYTES", "data": TEXTS}]}
FORMS: dict[str, tuple[str, bytes, str]] = {
    "json": (URL, json.dumps(TEXTS).encode(), "application/json"),
    "oip": ("/v2/models/lengths/infer", json.dumps(OIP).encode(), "application/json"),
    "msgpack": (URL, encode_value({"args": [TEXTS], "kwargs": {}}), "application/msgpack"),
}


def post(url: str, body: bytes, kind: str) -> Any:
    request = urllib.request.Request(url, body, {"content-type": kind})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def processes_of(url: str) -> list[int]:
    """The process whose command line has the port, and those below it."""
    port = url.rpartition(":")[2].encode()
    parents: dict[int, int] = {}
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if port in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended
    return [*found, *(pid for pid, parent in parents.items() if parent in found)]


def status_bytes(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


@pytest.mark.prove
@pytest.mark.parametrize("form", FORMS)
def test_peak_memory_is_a_few_times_the_body(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    model = vtsserving.picklable_model.save_model(
        "lengths", lambda texts: [len(text) for text in texts], signatures={"__call__": {"batchable": True}}
    )
    path, body, kind = FORMS[form]
    # What every large body costs once, in threads that read it and code that is imported, is no matter of texts.
    numbers = json.dumps([0.5] * 200_000).encode()
    with serving(tmp_path, "serve", str(model.tag)) as url:
        pids = processes_of(url)
        with pytest.raises(urllib.error.HTTPError):  # numbers have no length
            post(url + URL, numbers, "application/json")
        before = {pid: status_bytes(pid, "VmRSS") for pid in pids}
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak counts from here
        answer = post(url + path, body, kind)
        grown = sum(status_bytes(pid, "VmHWM") - before[pid] for pid in pids)
    lengths = answer["outputs"][0]["data"] if form == "oip" else answer
    assert lengths == [len(text) for text in TEXTS]
    proof.record(
        f"texts, {form}", body_mb=round(len(body) / 2**20, 2), grown_times=round(grown / len(body), 2)
    )
    assert grown <= MOST_TIMES * len(body)
