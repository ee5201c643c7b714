"""A store service managed from Python and from the command line, as the local store is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

import vtsserving
from support.command_line import CommandLine
from support.sdk import save_text
from support.stores import ThreadedStore, store_settings
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import Conflict, InvalidTag, ModelNotFound


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedStore]:
    with ThreadedStore(store_settings(tmp_path / "store")) as store:
        monkeypatch.setenv("VTSSERVING_STORE_URL", store.url)
        yield store


@pytest.fixture
def filled(running: ThreadedStore, local: LocalStore) -> Iterator[vtsserving.Store]:
    """A store with three versions of one model and one of another."""
    with vtsserving.Store() as store:
        for tag in ("m:v1", "m:v2", "other:v1", "m:v3"):
            store.push(save_text(local, tag, labels={"name": tag.partition(":")[0]}).tag, store=local)
        yield store


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def tags(store: vtsserving.Store, name: str | None = None) -> list[str]:
    return [str(model.tag) for model in store.list(name)]


def test_python_lists_newest_first_and_filters(filled: vtsserving.Store) -> None:
    assert repr(filled) == f"Store({filled.url!r})"
    assert tags(filled) == ["m:v3", "other:v1", "m:v2", "m:v1"]
    assert tags(filled, "m") == ["m:v3", "m:v2", "m:v1"]
    assert [str(m.tag) for m in filled.list(labels={"name": "other"})] == ["other:v1"]
    assert filled.list("nothing") == []
    assert filled.get("m").tag == filled.list("m")[0].tag
    assert repr(filled.get("m")) == 'RemoteVersion(tag="m:v3")'


def test_python_moves_aliases_edits_labels_and_deletes(filled: vtsserving.Store) -> None:
    assert filled.set_alias("m:v1", "prod").version == "v1"
    assert filled.set_alias("m:latest", "prod").version == "v3"
    assert filled.aliases("m") == {"prod": "v3"}
    assert [move["version"] for move in filled.alias_history("m", "prod")] == ["v3", "v1"]
    assert filled.set_labels("m:prod", {"stage": "live", "name": None}) == {"stage": "live"}
    with pytest.raises(Conflict):
        filled.delete("m:v3")
    with pytest.raises(InvalidTag):
        filled.delete("m")
    filled.remove_alias("m", "prod")
    assert str(filled.delete("m:latest")) == "m:v3"
    with pytest.raises(ModelNotFound):
        filled.get("m:v3")


def test_python_names_old_versions_but_none_with_an_alias(filled: vtsserving.Store) -> None:
    filled.set_alias("m:v1", "prod")
    assert [str(model.tag) for model in filled.old("m", keep=1)] == ["m:v2"]
    assert filled.old("m", keep=1, newer_than=datetime(2020, 1, 1, tzinfo=timezone.utc)) == []


def test_the_command_line_pushes_and_pulls_with_the_documented_sentences(
    running: ThreadedStore, cli: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = save_text(LocalStore(), "m")
    pushed = cli("models", "push", "m:latest")
    assert (pushed.code, pushed.out) == (0, f'Successfully pushed model "{model.tag}"\n')
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "elsewhere"))
    pulled = cli("models", "pull", "m:latest")
    assert (pulled.code, pulled.out) == (0, f'Successfully pulled model "{model.tag}"\n')
    assert LocalStore().get("m").digest == model.digest


def test_the_command_line_lists_and_shows_what_is_remote(filled: vtsserving.Store, cli: CommandLine) -> None:
    listed = cli("models", "list", "--remote")
    assert listed.out.splitlines()[0].split() == ["Tag", "Module", "Size", "Creation", "Time", "Labels"]
    assert re.findall(r"^\S+:\S+", listed.out, re.MULTILINE) == ["m:v3", "other:v1", "m:v2", "m:v1"]
    assert cli("models", "list", "m", "-r", "-q", "-n", "1").out == "m:v3\n"
    by_name = json.loads(cli("models", "list", "-r", "-o", "json", "--sort", "name").out)
    assert [record["tag"] for record in by_name] == ["m:v1", "m:v2", "m:v3", "other:v1"]
    assert "name: m" in cli("models", "get", "m:v1", "--remote").out
    assert json.loads(cli("models", "get", "m:v1", "-r", "-o", "json").out)["digest"].startswith("sha256:")
    assert cli("models", "get", "nothing", "--remote").code == 3
    mistyped = cli("models", "list", "othr", "--remote")
    assert (mistyped.code, "'othr'" in mistyped.err, "other" in mistyped.err) == (0, True, True)
    assert cli("models", "list", "m", "-l", "name=x", "--remote").err == "", "the name is right"


def test_the_command_line_manages_aliases_and_deletes_remotely(
    filled: vtsserving.Store, cli: CommandLine, local: LocalStore
) -> None:
    assert cli("models", "alias", "m:v1", "prod", "--remote").code == 0
    assert "m:prod  m:v1" in cli("models", "alias", "m", "--remote").out
    assert "m:v1" in cli("models", "alias", "m", "prod", "--history", "--remote").out
    refused = cli("models", "delete", "m:v1", "-y", "--remote")
    assert (refused.code, "prod" in refused.err) == (4, True)
    for more in ((), ("--dry-run",)):
        refused = cli("models", "delete", "m", "--all-versions", "-y", "--remote", *more)
        assert (refused.code, refused.out, "--force" in refused.err) == (4, "", True)
    assert tags(filled, "m") == ["m:v3", "m:v2", "m:v1"], "refused before the first one was deleted"
    pruned = cli("models", "prune", "m", "--keep", "1", "-y", "--remote")
    assert pruned.err == 'INFO [cli] Model(tag="m:v2") deleted\n'
    assert cli("models", "delete", "other", "-y", "--remote").code == 2
    assert cli("models", "delete", "other", "-y", "--all-versions", "--remote", "--dry-run").code == 0
    assert cli("models", "delete", "other", "-y", "--all-versions", "--remote").code == 0
    assert tags(filled) == ["m:v3", "m:v1"]
    assert len(local.list()) == 4, "nothing local was touched"


def test_the_command_line_says_when_the_store_is_down(cli: CommandLine) -> None:
    ended = cli("models", "list", "--store", "http://127.0.0.1:1")
    assert (ended.code, ended.out) == (7, "")
    assert "is it running?" in ended.err


def test_store_commands_look_after_a_directory(
    running: ThreadedStore, cli: CommandLine, local: LocalStore, tmp_path: Path
) -> None:
    directory = str(tmp_path / "store")
    with vtsserving.Store(running.url) as store:
        store.push(save_text(local, "m:1").tag, store=local)
        store.push(save_text(local, "m:2", "old").tag, store=local)
        store.delete("m:2")
    assert "no damage; 0 warnings, 2 leftovers" in cli("store", "fsck", "--dir", directory).err
    assert "0 files" in cli("store", "gc", "--dir", directory).err
    assert "2 files" in cli("store", "gc", "--dir", directory, "--grace", "0s", "--dry-run").err
    assert "2 files" in cli("store", "gc", "--dir", directory, "--grace", "0s").err
    made = cli("store", "token", "create", "ci", "--scope", "push", "--expires", "30d", "--dir", directory)
    assert re.fullmatch(r"vts_[0-9a-f]{16}_[0-9a-f]{64}\n", made.out)
    token = made.out.split("_")[1]
    assert token in cli("store", "token", "list", "--dir", directory).out
    assert cli("store", "token", "revoke", token, "--dir", directory).code == 0
    assert cli("store", "token", "revoke", token, "--dir", directory).code == 3
    assert "1 model copied" in cli("store", "backup", str(tmp_path / "backup"), "--dir", directory).err
    assert "1 model copied" in cli("store", "restore", str(tmp_path / "backup"), "--dir", f"{directory}2").err
    blob = next((tmp_path / "store" / "blobs").rglob("*/*/*"))
    blob.write_bytes(b"damaged")
    damaged = cli("store", "fsck", "--deep", "--dir", directory)
    assert (damaged.code, damaged.out.startswith("damage: blobs/sha256/")) == (5, True)
    assert "1 damaged object;" in damaged.err, "named once, though size and content are wrong"
    repaired = cli("store", "restore", str(tmp_path / "backup"), "--dir", directory)
    assert "1 of them in place of damaged ones" in repaired.err
    assert cli("store", "fsck", "--deep", "--dir", directory).code == 0
    for command in (("fsck",), ("gc",), ("backup", str(tmp_path / "backup"))):
        mistyped = cli("store", *command, "--dir", f"{directory}3")
        assert (mistyped.code, "there is no store in" in mistyped.err) == (3, True), command


def test_a_directory_on_the_command_line_wins_over_a_bucket_in_the_environment(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_S3__ENDPOINT", "http://127.0.0.1:1")
    assert cli("store", "token", "create", "ci", "--dir", str(tmp_path / "here")).code == 0
    assert cli("store", "fsck", "--dir", str(tmp_path / "here")).code == 0
