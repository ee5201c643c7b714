"""`vtsserving models push` and `pull` against a running store service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import save_model, tree
from support.command_line import CommandLine, Terminal
from support.stores import ThreadedStore, store_settings
from vtsserving.local_store import LocalStore


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
        ("push", "-l", "stage=prod", "-t", "2"),
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


def test_a_terminal_sees_the_sentence_after_the_bar(store: LocalStore, service: ThreadedStore) -> None:
    saved = save_model(store)
    terminal = Terminal("models", "push", "iris_clf", env={"TERM": "xterm", "COLUMNS": "200"})
    assert terminal.end() == 0
    assert f'Successfully pushed model "{saved.tag}"' in terminal.text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("push", "nothing"), 3),
        (("pull", "nothing"), 3),
        (("pull", "iris_clf:nothing"), 3),
        (("push", "iris_clf", "-t", "0"), 2),
        (("push", "iris_clf", "-l", "stage"), 2),
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
