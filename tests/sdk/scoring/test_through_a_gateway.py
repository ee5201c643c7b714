"""Scoring by a running gateway: the embedded stack, started as users start it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import vtsserving
from support.runner_models import RAISE
from support.scored_models import people, save_people, save_trouble
from vtsserving.exceptions import BadShape, GatewayUnavailable, ModelNotFound, Unavailable

pytestmark = pytest.mark.slow


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Of a gateway with the models `people` and `trouble`."""
    tags = [str(save_people().tag), str(save_trouble(tmp_path).tag)]
    with vtsserving.serve(*tags, port=0) as server:
        yield server.url


def test_rows_get_what_they_get_online(tmp_path: Path, url: str) -> None:
    frame = people(500)
    frame.insert(0, "id", [f"{number:06d}" for number in range(500)])
    frame.to_csv(tmp_path / "in.csv", index=False)
    scored = vtsserving.predict_file(
        "people:latest", tmp_path / "in.csv", tmp_path / "out.csv", url=url, keep=["id"], batch_rows=90
    )
    found = pd.read_csv(tmp_path / "out.csv", dtype=str)
    model = vtsserving.sklearn.load_model("people")
    assert found["id"].tolist() == frame["id"].tolist()
    assert found["prediction"].tolist() == model.predict(frame.drop(columns="id")).tolist()
    assert (scored.rows, scored.tag) == (500, str(vtsserving.models.get("people").tag))


def test_rows_that_fail_are_written_aside(tmp_path: Path, url: str) -> None:
    rows = np.arange(1_000.0).reshape(-1, 2) + 1_000
    rows[123, 0] = RAISE
    np.save(tmp_path / "in.npy", rows)
    vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy", url=url, processes=2)
    found = np.load(tmp_path / "out.npy")
    assert np.isnan(found[123]).all()
    assert np.array_equal(np.delete(found, 123, axis=0), np.delete(rows, 123, axis=0) * 2)
    with (tmp_path / "out.npy.failed.csv").open(newline="") as file:
        assert [(one["row"], one["code"]) for one in csv.DictReader(file)] == [("123", "model_failed")]


def test_errors_that_say_nothing_about_rows_end_the_run(tmp_path: Path, url: str) -> None:
    np.save(tmp_path / "in.npy", np.ones((5, 3)))
    with pytest.raises(BadShape, match=r"expected shape \[-1, 2\], got \[5, 3\]"):
        vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy", url=url)
    with pytest.raises(ModelNotFound):
        vtsserving.predict_file("nobody", tmp_path / "in.npy", tmp_path / "out.npy", url=url)
    assert not list(tmp_path.glob("*out*"))


def test_a_run_goes_on_when_the_gateway_is_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtsserving._scoring.score.REMOTE_TIMEOUT_S", 2.0)
    save_trouble(tmp_path)
    rows = np.arange(400.0).reshape(-1, 2) + 1_000
    np.save(tmp_path / "in.npy", rows)
    names = tmp_path / "in.npy", tmp_path / "out.npy"
    with vtsserving.serve("trouble", port=0) as server:
        url, port = server.url, int(server.url.rpartition(":")[2])
        done: list[int] = []

        def stop(progress: object) -> None:
            done.append(progress.rows)  # type: ignore[attr-defined]
            server.stop()

        with pytest.raises((GatewayUnavailable, Unavailable)):
            vtsserving.predict_file("trouble", *names, url=url, processes=1, batch_rows=10, on_progress=stop)
    assert 0 < done[-1] < 200
    with vtsserving.serve("trouble", port=port):
        scored = vtsserving.predict_file("trouble", *names, url=url, batch_rows=10)
    assert scored.rows == 200
    assert np.array_equal(np.load(tmp_path / "out.npy"), rows * 2)
