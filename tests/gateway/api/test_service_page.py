"""The page on Services: its service runs as it stands, and so do the calls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import vtsserving
from support.served_stack import serving
from support.source_tree import REPOSITORY


def test_the_service_of_the_page_answers_what_the_page_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    rows, species = load_iris(return_X_y=True)
    clf = LogisticRegression(max_iter=1_000).fit(rows, species)
    vtsserving.sklearn.save_model("iris_clf", clf, signatures={"predict": {"batchable": True}})
    page = (REPOSITORY / "docs" / "services.md").read_text()
    *service, calls = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "service"}

    def make() -> vtsserving.Service:
        exec("\n".join(service), names)
        svc: vtsserving.Service = names["svc"]
        return svc

    with serving(make) as stack:
        monkeypatch.setenv("VTSSERVING_URL", stack.url)
        exec(calls, names)
        greeted = httpx2.post(f"{stack.url}/greet", content="Iris", headers={"user-agent": "test"})
        pong = httpx2.get(f"{stack.url}/ping").text
    expected = clf.predict(np.array([[5.9, 3.0, 5.1, 1.8]])).tolist()
    assert names["species"].tolist() == expected
    assert names["agreement"]["agree"] == [True]
    assert names["noted"] == {"species": expected, "note": "wilted"}
    assert names["greeting"] == "Hello, Iris"
    assert (greeted.status_code, greeted.headers["x-seen"]) == (201, "test")
    assert "visited=yes" in greeted.headers["set-cookie"]
    assert pong == "pong"
