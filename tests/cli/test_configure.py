"""`vtsserving models configure`, on the local store and on a store service alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import vtsserving
from support.command_line import CommandLine, Ended, run_process
from support.sdk import save_text
from support.stores import ThreadedStore, store_settings
from vtsserving._local_store.store import LocalStore
from vtsserving._model.options import ModelOptions

Configure = Callable[..., Ended]


@pytest.fixture(params=["local", "remote"])
def configure(
    request: pytest.FixtureRequest, store: LocalStore, vts: CommandLine, tmp_path: Path
) -> Iterator[Configure]:
    """Runs `models configure` where the test's two models are."""
    for tag in ("m:v1", "m:v2"):
        save_text(store, tag, options=ModelOptions(max_batch_size=8))
    if request.param == "local":
        yield lambda *arguments: vts("models", "configure", *arguments)
        return
    with ThreadedStore(store_settings(tmp_path / "store")) as service:
        for tag in ("m:v1", "m:v2"):
            vtsserving.models.push(tag, store_url=service.url)
        yield lambda *arguments: vts("models", "configure", *arguments, "--store", service.url)


def shown(configure: Configure, tag: str) -> dict[str, tuple[str, str]]:
    """Option to value and origin."""
    ended = configure(tag, "-o", "json")
    assert ended.code == 0, ended.err
    return {row["option"]: (row["value"], row["origin"]) for row in json.loads(ended.out)}


def test_options_are_changed_shown_with_their_origin_and_reset(configure: Configure) -> None:
    ended = configure("m", "max_batch_size=64", "max_wait_ms=2", "predict.max_latency_ms=100")
    assert (ended.code, ended.out) == (0, "")
    assert "m: max_batch_size=64, max_wait_ms=2.0, predict.max_latency_ms=100.0" in ended.err
    assert configure("m:v1", "max_batch_size=none", "device=cuda:0,cuda:1").code == 0
    one, other = shown(configure, "m:v1"), shown(configure, "m")
    assert one["max_batch_size"] == ("none", "record of v1")
    assert one["device"] == ("cuda:0,cuda:1", "record of v1")
    assert one["max_wait_ms"] == other["max_wait_ms"] == ("2.0", "record of m")
    assert one["predict.max_latency_ms"] == ("100.0", "record of m")
    assert other["max_batch_size"] == ("64", "record of m")
    assert other["threads"] == ("1", "default")

    assert configure("m", "--reset", "all").code == 0
    assert shown(configure, "m")["max_batch_size"] == ("8", "model")
    table = configure("m", "--history").out.splitlines()
    assert [line.split()[0] for line in table] == ["Number", "3", "2", "1"]
    assert table[3].endswith("  max_batch_size=64 max_wait_ms=2.0 predict.max_latency_ms=100.0")


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (("m", "max_rows=3"), 2, "there is no option 'max_rows'; there are max_batch_size"),
        (("m", "max_batch_size=many"), 2, "max_batch_size is a number, not 'many'"),
        (("m", "max_batch_size"), 2, "takes key=value"),
        (("m", "max_batch_size=0"), 2, "max_batch_size is a number from 1"),
        (("nothing", "max_batch_size=1"), 3, "no model 'nothing'"),
        (("m:v9", "max_batch_size=1"), 3, "'v9'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    configure: Configure, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    ended = configure(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert complaint in ended.err
    assert len(ended.err.splitlines()) == 1


def test_the_projects_file_sets_options_of_models(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_text(store, "iris-clf:v1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vtsserving.toml").write_text("[models.iris-clf]\nmax_batch_size = 5\ntimeout_s = 2.5\n")
    ended = run_process("models", "configure", "iris-clf", "-o", "json")
    rows = {row["option"]: (row["value"], row["origin"]) for row in json.loads(ended.out)}
    assert rows["max_batch_size"] == ("5", "configuration")
    listed = run_process("config", "show", "models").out
    assert "VTSSERVING_MODELS__IRIS_CLF__TIMEOUT_S       2.5    " in listed
    assert "vtsserving.toml" in listed
    (tmp_path / "vtsserving.toml").write_text("[models.iris-clf]\nmax_batch_size = 0\n")
    ended = run_process("serve", "iris-clf", "--port", "0")
    assert ended.code == 2
    assert "VTSSERVING_MODELS__IRIS_CLF__MAX_BATCH_SIZE" in ended.err
