"""`vtsserving models push` and `pull` against a running store service."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import vtsserving
from support.archives import save_model, tree
from support.command_line import CommandLine, Terminal
from support.sdk import CONTEXT, save_text
from support.stores import ThreadedStore, store_settings
from vtsserving import models
from vtsserving._local_store.store import LocalStore
from vtsserving._model.draft import Draft
from vtsserving._model.tag import Tag


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedStore]:
    with ThreadedStore(store_settings(tmp_path / "service")) as running:
        monkeypatch.setenv("VTSSERVING_STORE_URL", running.url)
        yield running


def test_push_and_pull_say_the_specification_s_sentences(
    vts: CommandLine, store: LocalStore, service: ThreadedStore
) -> None:
    saved = save_model(store)
    files = tree(saved.path)
    ended = vts("models", "push", "iris_clf:latest")
    assert ended == (0, f'Successfully pushed model "{saved.tag}"\n', "")
    vts("models", "delete", "iris_clf:latest", "-y")
    ended = vts("models", "pull", "iris_clf:latest")
    assert ended == (0, f'Successfully pulled model "{saved.tag}"\n', "")
    assert tree(store.get("iris_clf").path) == files


def test_push_and_pull_again_succeed(vts: CommandLine, store: LocalStore, service: ThreadedStore) -> None:
    save_model(store)
    for arguments in (
        ("push",),
        ("push", "--force"),
        ("push", "--set-label", "stage=prod", "-t", "2"),
        ("pull",),
        ("pull", "-f"),
    ):
        name, *flags = arguments
        assert vts("models", name, "iris_clf", *flags).code == 0, arguments


def test_store_flag_beats_the_environment(
    vts: CommandLine, store: LocalStore, service: ThreadedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(store)
    monkeypatch.setenv("VTSSERVING_STORE_URL", "http://127.0.0.1:9")
    assert vts("models", "push", "iris_clf").code == 7
    assert vts("models", "push", "iris_clf", "--store", service.url).code == 0


def test_several_models_each_get_a_sentence_and_together_a_sum(
    vts: CommandLine, store: LocalStore, service: ThreadedStore
) -> None:
    first, second = save_text(store, "a:1"), save_text(store, "b:1")
    said = [f'Successfully pushed model "{model.tag}"' for model in (first, second)]
    ended = vts("models", "push", "a", "b:latest", "a")
    assert (ended.code, ended.out.splitlines()) == (0, said)
    assert ended.err == "INFO [cli] 2 of 2 models pushed\n"
    vts("models", "delete", "a:1", "b:1", "-y")
    ended = vts("models", "pull", "b", "a")
    assert (ended.code, ended.err) == (0, "INFO [cli] 2 of 2 models pulled\n")
    assert {model.digest for model in store.list()} == {first.digest, second.digest}


def test_one_of_several_that_fails_does_not_hold_up_the_others(
    vts: CommandLine, store: LocalStore, service: ThreadedStore
) -> None:
    saved = save_text(store, "a:1")
    ended = vts("models", "push", "nothing", "a:b:c", "a")
    assert ended.code == 3, "the largest code: not found, not usage"
    assert ended.out == f'Successfully pushed model "{saved.tag}"\n'
    nothing, malformed, total = ended.err.splitlines()
    assert nothing.startswith("Error: nothing: ")
    assert malformed.startswith("Error: a:b:c: ")
    assert total == "INFO [cli] 1 of 3 models pushed, 2 failed"


def test_what_would_fail_alike_is_not_tried(
    vts: CommandLine, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tag in ("a:1", "b:1", "c:1"):
        save_text(store, tag)
    monkeypatch.setenv("VTSSERVING_STORE_URL", "http://127.0.0.1:9")
    ended = vts("models", "push", "a", "b", "c")
    assert (ended.code, ended.out) == (7, "")
    error, total = ended.err.splitlines()
    assert "nothing answers" in error
    assert total == "INFO [cli] 0 of 3 models pushed, 1 failed, 2 not tried: they would fail alike"


def test_a_label_chooses_the_versions_that_carry_it(
    vts: CommandLine, store: LocalStore, service: ThreadedStore
) -> None:
    for tag, stage in (("a:1", "dev"), ("a:2", "prod"), ("a:3", "prod"), ("b:1", "prod"), ("c:1", "dev")):
        save_text(store, tag, labels={"stage": stage})

    def tags(*arguments: str) -> list[str]:
        ended = vts("models", *arguments)
        assert ended.code == 0, ended.err
        return sorted(line.split('"')[1] for line in ended.out.splitlines())

    assert tags("push", "-l", "stage=prod") == ["a:2", "a:3", "b:1"]
    assert tags("push", "-l", "stage=dev", "a") == ["a:1"]
    assert tags("push", "-l", "stage=dev", "c:1", "b:1") == ["c:1"]
    vts("models", "delete", "a", "b", "c", "--all-versions", "-y")
    assert tags("pull", "-l", "stage=prod", "a") == ["a:2", "a:3"]
    assert tags("pull", "-l", "stage=dev", "a:1", "a:2") == ["a:1"]
    assert tags("pull", "--label", "stage=prod") == ["a:2", "a:3", "b:1"]


def test_a_model_is_shown_alike_from_the_store_and_from_here(
    vts: CommandLine, store: LocalStore, service: ThreadedStore
) -> None:
    with models.create("iris_clf", description="An iris: classifier", labels={"stage": "dev"}) as new:
        new.path_of("weights.bin").write_bytes(b"weights")
    assert vts("models", "push", "iris_clf").code == 0
    assert vts("models", "alias", "iris_clf", "production").code == 0
    assert vts("models", "alias", "iris_clf:latest", "production", "--remote").code == 0
    assert vts("models", "get", "iris_clf", "--remote").out == vts("models", "get", "iris_clf").out
    here, there = (
        json.loads(vts("models", "get", "iris_clf", "-o", "json", *flag).out) for flag in ([], ["--remote"])
    )
    assert there.pop("pushed_at")
    assert here == there
    with vtsserving.Store(service.url) as remote:
        remote.set_labels("iris_clf", {"stage": "prod"})
    assert yaml.safe_load(vts("models", "get", "iris_clf", "--remote").out)["labels"] == {"stage": "prod"}


def test_b56_stored_text_cannot_act_on_the_terminal(
    vts: CommandLine, store: LocalStore, service: ThreadedStore
) -> None:
    save_text(store, "a:1", labels={"team": "\x1b[2J\x1b]0;owned\x07\u202eevil"})
    assert vts("models", "push", "a").code == 0
    for arguments in (("list", "--remote"), ("get", "a"), ("get", "a", "--remote")):
        shown = vts("models", *arguments)
        assert (shown.code, shown.err) == (0, "")
        assert all(c.isprintable() or c == "\n" for c in shown.out), arguments
        assert "evil" in shown.out


@pytest.mark.parametrize(
    "tag", ["", "..", "-rf", "a b:1", "a\n:1", "a\0:1", "a.:1", "con", "x" * 129, "\u0131ris", "a\u200bb"]
)
def test_b50_b51_bad_tags_are_one_line_and_exit_2(vts: CommandLine, service: ThreadedStore, tag: str) -> None:
    for direction in ("push", "pull"):
        ended = vts("models", direction, "--", tag)
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1), ended


def test_b52_other_content_under_a_pushed_tag_is_exit_4(
    vts: CommandLine, store: LocalStore, service: ThreadedStore
) -> None:
    save_text(store, "a:1", "one")
    assert vts("models", "push", "a:1").code == 0
    vts("models", "delete", "a:1", "-y")
    save_text(store, "a:1", "two")
    ended = vts("models", "push", "a:1")
    assert ended.code == 4
    assert "save the model again to get a new version" in ended.err


def test_python_transfers_one_model_or_several(store: LocalStore, service: ThreadedStore) -> None:
    first, second = save_text(store, "a:1"), save_text(store, "b:1")
    assert vtsserving.models.push("a").tag == first.tag
    assert [model.tag for model in vtsserving.models.push(["a", second.tag])] == [first.tag, second.tag]
    for tag in (first.tag, second.tag):
        vtsserving.models.delete(tag)
    assert [model.digest for model in vtsserving.models.pull(["b", "a"])] == [second.digest, first.digest]


def test_a_terminal_sees_the_files_the_speed_and_the_time_left_and_then_the_sentence(
    store: LocalStore, service: ThreadedStore
) -> None:
    with store.staging() as staged:
        (staged / "weights.bin").write_bytes(os.urandom(20_000_000))
        (staged / "small.bin").write_bytes(b"x")
        saved = store.save(staged, Draft(Tag("iris_clf"), "", CONTEXT))
    terminal = Terminal("models", "push", "iris_clf", env={"TERM": "xterm", "COLUMNS": "200"})
    assert terminal.end() == 0
    shown = terminal.text
    assert f'Successfully pushed model "{saved.tag}"' in shown.splitlines()[-1]
    assert "Pushing iris_clf, " in shown
    assert "of 3 files" in shown
    assert "  weights.bin " in shown
    assert re.search(r"\d/20\.0 MB|\d/19\.1 MiB", shown), "bytes done of all"
    assert "B/s" in shown
    assert re.search(r"\d\d:\d\d", shown), "time left"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("push", "nothing"), 3),
        (("pull", "nothing"), 3),
        (("pull", "iris_clf:nothing"), 3),
        (("push", "iris_clf", "-t", "0"), 2),
        (("push", "iris_clf", "-l", "stage"), 2),
        (("push", "iris_clf", "--set-label", "stage"), 2),
        (("push", "-l", "stage=none"), 3),
        (("pull", "-l", "stage=none"), 3),
        (("push",), 2),
        (("pull",), 2),
        (("push", "iris_clf", "--store", "gopher://x"), 2),
        (("pull", "a:b:c"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_transfer_errors_are_one_line_with_the_documented_code(
    arguments: tuple[str, ...], code: int, vts: CommandLine, store: LocalStore, service: ThreadedStore
) -> None:
    save_model(store)
    vts("models", "push", "iris_clf")
    ended = vts("models", *arguments)
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert len(ended.err.splitlines()) == 1, ended.err
