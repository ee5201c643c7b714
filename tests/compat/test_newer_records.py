"""What a later release wrote is refused with exit code 8, and nothing is changed because of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import vtsserving
from support.command_line import CommandLine, run_process
from support.first_release import IRIS, TOKENS, files_below, post, unpack
from support.sdk import save_text
from support.stores import ThreadedStore, store_settings
from vtsserving._local_store.store import LocalStore
from vtsserving._model.info import pack_document
from vtsserving._model.manifest import MANIFEST_FILE, MODEL_FILE, canonical_json
from vtsserving._model.yaml_file import parse
from vtsserving.exceptions import NewerFormat
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.objects.probe import open_storage

NEWER = 8
"""Exit code."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    save_text(LocalStore(), "iris:old")
    save_text(LocalStore(), "iris:new")
    LocalStore().set_alias("iris:old", "live")
    return tmp_path / "home"


@pytest.fixture
def vts(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def refused(vts: CommandLine, *arguments: str) -> str:
    """Run a command that must be refused; returns its one line."""
    ended = vts(*arguments)
    assert ended.code == NEWER, ended
    assert "later release" in ended.err or "or later" in ended.err, ended
    assert len(ended.err.strip().splitlines()) == 1, ended
    return ended.err


def sealed(plain: dict[str, Any]) -> bytes:
    plain.pop("self_sha256", None)
    return canonical_json({**plain, "self_sha256": hashlib.sha256(canonical_json(plain)).hexdigest()})


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_bytes(sealed(content) if path.name == MANIFEST_FILE else json.dumps(content).encode())


def newer_manifest(model: Path) -> None:
    def change(plain: dict[str, Any]) -> None:
        plain.update(api_version="v2", compression="zstd")

    edit_json(model / MANIFEST_FILE, change)


def newer_yaml(model: Path) -> None:
    """A model.yaml of a later version under a manifest of today's."""
    text = (model / MODEL_FILE).read_text().replace("api_version: v1", "api_version: v2")
    text = text.replace("vtsserving_version: 0.1.0", "vtsserving_version: 7.5.0")
    assert text.count("v2") == text.count("7.5.0") == 1
    (model / MODEL_FILE).write_text(text)

    def change(plain: dict[str, Any]) -> None:
        (entry,) = (one for one in plain["files"] if one["path"] == MODEL_FILE)
        entry.update(size=len(text), sha256=hashlib.sha256(text.encode()).hexdigest())
        plain["extra"]["document"] = pack_document(yaml.safe_load(text))

    edit_json(model / MANIFEST_FILE, change)


# --- models -------------------------------------------------------------------------------------------------------

READING = {
    "get": ("get", "iris:new"),
    "get json": ("get", "iris:new", "-o", "json"),
    "latest": ("get", "iris"),
    "list": ("list",),
    "export": ("export", "iris:new", "out.tar"),
}


CASES = [(newer_manifest, arguments) for arguments in READING] + [
    # What is in its folder is known, so it can be carried as it is.
    (newer_yaml, arguments)
    for arguments in READING
    if arguments != "export"
]


@pytest.mark.parametrize(("make", "arguments"), CASES)
def test_a_model_of_a_later_release_is_refused(
    home: Path, vts: CommandLine, make: Callable[[Path], None], arguments: str
) -> None:
    make(home / "models/iris/new")
    before = files_below(home)
    assert "iris:new" in refused(vts, "models", *READING[arguments])
    assert files_below(home) == before


def test_the_error_names_the_release_that_is_needed(home: Path, vts: CommandLine) -> None:
    newer_yaml(home / "models/iris/new")
    assert "use vtsserving 7.5.0 or later" in refused(vts, "models", "get", "iris:new")


def test_the_exit_code_is_that_of_the_real_command(home: Path) -> None:
    newer_manifest(home / "models/iris/new")
    for arguments in (
        ("models", "get", "iris:new"),
        ("models", "verify"),
        ("serve", "iris:new", "--port", "0"),
    ):
        ended = run_process(*arguments)
        assert ended.code == NEWER, ended


def test_other_versions_are_read_as_ever(home: Path, vts: CommandLine) -> None:
    newer_manifest(home / "models/iris/new")
    assert vts("models", "get", "iris:old").code == 0
    assert vts("models", "verify", "iris:old").code == 0
    assert vts("models", "get", "iris:live").code == 0


def test_a_damaged_manifest_is_damaged_whatever_version_it_says(home: Path, vts: CommandLine) -> None:
    path = home / "models/iris/new" / MANIFEST_FILE
    path.write_bytes(path.read_bytes().replace(b'"api_version":"v1"', b'"api_version":"v3"'))
    assert vts("models", "get", "iris:new").code == 5


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_an_archive_of_a_later_release_changes_nothing(
    home: Path, vts: CommandLine, tmp_path: Path, form: str
) -> None:
    assert vts("models", "export", "iris:new", "out", "--format", "folder").code == 0
    newer_manifest(tmp_path / "out")
    archive = tmp_path / "out"
    if form == "tar":
        import tarfile

        archive = tmp_path / "out.tar"
        with tarfile.open(archive, "w") as tar:
            for file in sorted((tmp_path / "out").iterdir()):
                tar.add(file, file.name)
    before = files_below(home)
    for more in ((), ("--force",), ("--skip-existing",)):
        refused(vts, "models", "import", str(archive), *more)
    assert files_below(home) == before


# --- contracts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def later_contract(home: Path) -> str:
    """A model whose contract has a number that this release does not know; returns its tag."""

    def twice(x: Any) -> Any:
        return x * 2

    signatures = {"__call__": {"batchable": True}}
    tag = vtsserving.picklable_model.save_model("twice:later", twice, signatures=signatures, check=False).tag

    def change(plain: dict[str, Any]) -> None:
        plain["extra"]["contract"] = {"number": 2, "methods": {"__call__": {"batchable": {"when": "idle"}}}}

    edit_json(home / "models/twice/later" / MANIFEST_FILE, change)
    return str(tag)


def test_a_model_with_a_later_contract_is_listed_shown_moved_and_deleted(
    home: Path, vts: CommandLine, tmp_path: Path, later_contract: str
) -> None:
    assert later_contract in vts("models", "list", "-q").out.split()
    shown = json.loads(vts("models", "get", later_contract, "-o", "json").out)
    assert shown["contract"] == {"number": 2, "methods": {"__call__": {"batchable": {"when": "idle"}}}}
    assert yaml.safe_load(vts("models", "get", later_contract, "--contract").out)["contract"]["number"] == 2
    assert vts("models", "verify", later_contract).code == 0
    digest = vtsserving.models.get(later_contract).digest
    with ThreadedStore(store_settings(tmp_path / "store")) as service:
        done = [
            vts("models", "export", later_contract, "out.vtsmodel"),
            vts("models", "push", later_contract, "--store", service.url),
            vts("models", "delete", later_contract, "--yes"),
            vts("models", "import", "out.vtsmodel"),
            vts("models", "delete", later_contract, "--yes"),
            vts("models", "pull", later_contract, "--store", service.url),
            vts("models", "get", later_contract, "--store", service.url),
            vts("models", "alias", later_contract, "live"),
        ]
        assert [ended.code for ended in done] == [0] * len(done), done
        assert vtsserving.models.get("twice:live").digest == digest
        assert vts("models", "delete", later_contract, "--yes", "--store", service.url).code == 0
    assert vts("models", "delete", later_contract, "--yes", "--force").code == 0


def test_a_model_with_a_later_contract_is_neither_loaded_nor_served(later_contract: str) -> None:
    with pytest.raises(NewerFormat, match="twice:later has contracts of number 2"):
        vtsserving.picklable_model.load_model(later_contract)
    with pytest.raises(NewerFormat, match="twice:later has contracts of number 2"):
        vtsserving.models.get(later_contract).to_runner().init_local()
    with pytest.raises(NewerFormat):
        _ = vtsserving.models.get(later_contract).info.contracts
    ended = run_process("serve", later_contract, "--port", "0")
    assert ended.code == NEWER, ended
    assert "contracts of number 2" in ended.err


@pytest.mark.slow
def test_calls_of_a_model_with_a_later_contract_are_refused_beside_others_that_are_answered(
    later_contract: str,
) -> None:
    def triple(x: Any) -> Any:
        return x * 3

    signatures = {"__call__": {"batchable": True}}
    vtsserving.picklable_model.save_model("triple", triple, signatures=signatures)
    with vtsserving.serve("triple", port=0) as server:
        for path in ("/v1/models/twice:later", "/v1/models/twice/__call__", "/v2/models/twice/infer"):
            status, answer = post(f"{server.url}{path}", [1])
            assert status == 501, answer
            assert "contracts of number 2" in json.dumps(answer)
        with server.client() as client, pytest.raises(NewerFormat):
            client.model(later_contract)([1])
        assert post(f"{server.url}/v1/models/triple", [1]) == (200, [1, 1, 1])


# --- what the local store records beside the models ---------------------------------------------------------------

CHANGING = {
    "alias": ("alias", "iris:new", "live"),
    "remove alias": ("alias", "iris", "live", "--remove"),
    "configure": ("configure", "iris", "max_batch_size=4"),
    "delete": ("delete", "iris:new", "--yes"),
    "resolve an alias": ("get", "iris:live"),
}


@pytest.mark.parametrize("arguments", CHANGING.values(), ids=CHANGING.keys())
def test_aliases_and_settings_of_a_later_release_are_left_alone(
    home: Path, vts: CommandLine, arguments: tuple[str, ...]
) -> None:
    edit_json(home / "models/.state/iris.json", lambda state: state.update(format=2, release="0.9.0"))
    before = files_below(home)
    assert "use vtsserving 0.9.0 or later" in refused(vts, "models", *arguments)
    assert files_below(home) == before


def test_a_version_whose_time_cannot_be_read_is_not_passed_by(home: Path) -> None:
    newer_manifest(home / "models/iris/new")
    before = files_below(home)
    with pytest.raises(NewerFormat, match="iris:new"):
        save_text(LocalStore(), "iris")
    assert files_below(home) == before
    assert save_text(LocalStore(), "other").tag.name == "other"


def test_nothing_is_saved_beside_a_state_of_a_later_release(home: Path) -> None:
    edit_json(home / "models/.state/iris.json", lambda state: state.update(format=2))
    before = files_below(home)
    with pytest.raises(NewerFormat):
        save_text(LocalStore(), "iris")
    assert files_below(home) == before


def test_what_a_later_release_of_the_same_format_added_is_kept(home: Path, vts: CommandLine) -> None:
    path = home / "models/.state/iris.json"
    edit_json(path, lambda state: state.update(format=1, pinned=["old"]))
    assert vts("models", "alias", "iris:new", "live").code == 0
    assert vts("models", "configure", "iris", "max_batch_size=4").code == 0
    kept = json.loads(path.read_bytes())
    assert (kept["format"], kept["pinned"]) == (1, ["old"])
    assert kept["aliases"]["live"][-1]["version"] == "new"


def test_a_record_of_options_that_holds_a_later_one_is_not_changed(home: Path, vts: CommandLine) -> None:
    assert vts("models", "configure", "iris", "max_batch_size=4").code == 0

    def change(state: dict[str, Any]) -> None:
        state["settings"][-1]["value"]["options"]["priority"] = 7

    edit_json(home / "models/.state/iris.json", change)
    before = files_below(home)
    assert "'priority'" in refused(vts, "models", "configure", "iris", "max_batch_size=8")
    assert files_below(home) == before
    assert LocalStore().settings(vtsserving.Tag("iris", "old"))["max_batch_size"] == 4


# --- logins, tokens in files, configuration -----------------------------------------------------------------------


def write_logins(home: Path, **more: Any) -> Path:
    path = home / "contexts.json"
    one = {"url": "http://127.0.0.1:9", "token": "", "team": "risk"}
    path.write_text(json.dumps({"current": "a", "contexts": {"a": one, "b": one}, **more}))
    return path


def test_logins_of_a_later_release_are_left_alone(home: Path, vts: CommandLine) -> None:
    write_logins(home, format=2)
    before = files_below(home)
    refused(vts, "logout", "a")
    refused(vts, "contexts")
    refused(vts, "models", "list", "--remote")
    assert files_below(home) == before


def test_what_was_added_to_logins_is_kept(home: Path) -> None:
    from vtsserving._store_client.contexts import use

    path = write_logins(home, format=1, added={"x": 1})
    use("b")
    kept = json.loads(path.read_text())
    assert (kept["current"], kept["added"], kept["contexts"]["a"]["team"]) == ("b", {"x": 1}, "risk")


TOKEN_CHANGES = {
    "format": {"format": 2},
    "a field": {"models": ["iris"]},
    "a scope": {"scope": "audit"},
}


@pytest.mark.parametrize("change", TOKEN_CHANGES.values(), ids=TOKEN_CHANGES.keys())
def test_a_token_file_of_a_later_release_is_left_alone(
    home: Path, vts: CommandLine, change: dict[str, Any]
) -> None:
    file = home / "tokens.jsonl"
    for name in ("one", "two"):
        assert vts("store", "token", "create", name, "--scope", "infer", "--file", str(file)).code == 0
    first, second = file.read_text().splitlines()
    file.write_text(f"{first}\n{json.dumps({**json.loads(second), **change})}\n")
    before = files_below(home)
    for arguments in (
        ("list",),
        ("create", "three", "--scope", "infer"),
        ("revoke", json.loads(first)["id"]),
    ):
        error = refused(vts, "store", "token", *arguments, "--file", str(file))
        assert "line 2" in error
        assert json.loads(second)["sha256"] not in error
    assert files_below(home) == before


def test_a_configuration_of_a_later_release_is_refused(
    home: Path, vts: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vtsserving.toml").write_text('format = 2\nrelease = "0.9.0"\n[gateway]\nport = 3999\n')
    assert "0.9.0" in refused(vts, "models", "list")
    (tmp_path / "vtsserving.toml").write_text("format = 1\n[gateway]\nport = 3999\n")
    shown = run_process("config", "show", "gateway")
    assert shown.code == 0
    assert "3999" in shown.out


# --- the store service --------------------------------------------------------------------------------------------


@pytest.fixture
def folder(home: Path, tmp_path: Path) -> Path:
    """The storage that 0.1.0 has filled."""
    return unpack("store", tmp_path)


@pytest.fixture
def storage(folder: Path) -> Iterator[ObjectStore]:
    opened = open_storage(store_settings(folder))
    yield opened
    opened.close()


@pytest.fixture
def service(folder: Path) -> Iterator[ThreadedStore]:
    with ThreadedStore(store_settings(folder, auth="required")) as started:
        yield started


def change_record(storage: ObjectStore, key: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Replace a record of the storage by a changed one, with its seal if it has one."""
    raw = storage.read(key, limit_bytes=1 << 20)
    assert raw is not None, key
    has_seal = key.startswith("models/")
    fields = json.loads(raw.split(b"\n", 1)[1] if has_seal else raw)
    change(fields)
    body = json.dumps(fields).encode()
    if has_seal:
        body = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    storage.delete(key)
    assert storage.create(key, body)


def newest(storage: ObjectStore, prefix: str) -> str:
    return max(entry.key for entry in storage.entries(prefix))


def newer_version(storage: ObjectStore) -> None:
    change_record(storage, "models/iris/second", lambda fields: fields.update(format=2, blobs=[]))


def newer_manifest_in_the_store(storage: ObjectStore) -> None:
    def change(fields: dict[str, Any]) -> None:
        fields["manifest"] = sealed({**json.loads(fields["manifest"]), "api_version": "v2"}).decode()

    change_record(storage, "models/iris/second", change)


def newer_lease(storage: ObjectStore) -> None:
    storage.put("leases/" + "ab" * 16, json.dumps({"format": 2, "prefixes": ["sha256:"]}).encode())


def newer_storage(storage: ObjectStore) -> None:
    storage.put("format/store", json.dumps({"format": 2, "release": "0.9.0"}).encode())


def newer_alias(storage: ObjectStore) -> None:
    change_record(storage, newest(storage, "aliases/iris/live/"), lambda fields: fields.update(format=2))


def newer_labels(storage: ObjectStore) -> None:
    change_record(storage, newest(storage, "labels/iris/second/"), lambda fields: fields.update(format=2))


def newer_options(storage: ObjectStore) -> None:
    change_record(storage, newest(storage, "settings/iris/"), lambda fields: fields.update(format=2))


def unneeded_blob(storage: ObjectStore) -> str:
    """A blob that no version needs."""
    content = b"nobody needs this"
    digest = hashlib.sha256(content).hexdigest()
    key = f"blobs/sha256/{digest[:2]}/{digest}"
    storage.put(key, content)
    return key


def test_garbage_is_collected_where_all_records_are_known(
    folder: Path, storage: ObjectStore, vts: CommandLine
) -> None:
    key = unneeded_blob(storage)
    assert vts("store", "gc", "--dir", str(folder), "--grace", "0s").code == 0
    assert storage.stat(key) is None


COLLECTING = [newer_version, newer_manifest_in_the_store, newer_lease, newer_storage]


@pytest.mark.parametrize("make", COLLECTING)
def test_nothing_is_collected_while_a_later_release_may_need_it(
    folder: Path, storage: ObjectStore, vts: CommandLine, make: Callable[[ObjectStore], None]
) -> None:
    unneeded_blob(storage)
    make(storage)
    before = files_below(folder)
    refused(vts, "store", "gc", "--dir", str(folder), "--grace", "0s")
    refused(vts, "store", "gc", "--dir", str(folder), "--grace", "0s", "--dry-run")
    assert files_below(folder) == before


def test_a_lease_that_is_no_list_stops_the_collection(
    folder: Path, storage: ObjectStore, vts: CommandLine
) -> None:
    storage.put("leases/" + "ab" * 16, b'{"sha256": 1}')
    key = unneeded_blob(storage)
    assert vts("store", "gc", "--dir", str(folder), "--grace", "0s").code == 5
    assert storage.stat(key) is not None


COPYING = [
    newer_version, newer_manifest_in_the_store, newer_storage, newer_alias, newer_labels, newer_options,
]  # fmt: skip


@pytest.mark.parametrize("make", COPYING)
def test_nothing_is_copied_of_a_store_that_is_not_known_as_a_whole(
    folder: Path, storage: ObjectStore, vts: CommandLine, tmp_path: Path, make: Callable[[ObjectStore], None]
) -> None:
    make(storage)
    before = files_below(folder)
    refused(vts, "store", "backup", "--dir", str(folder), str(tmp_path / "copy"))
    assert not files_below(tmp_path / "copy")
    refused(vts, "store", "restore", "--dir", str(tmp_path / "other"), str(folder))
    assert not files_below(tmp_path / "other")
    assert files_below(folder) == before


@pytest.mark.parametrize("make", COPYING)
def test_a_check_says_what_it_cannot_check(
    folder: Path, storage: ObjectStore, vts: CommandLine, make: Callable[[ObjectStore], None]
) -> None:
    unneeded_blob(storage)
    make(storage)
    before = files_below(folder)
    ended = vts("store", "fsck", "--dir", str(folder))
    assert ended.code == NEWER, ended
    assert "damage" not in ended.out
    assert "is needed by no version" not in ended.out
    assert files_below(folder) == before


def test_a_store_of_a_later_release_is_not_served(
    folder: Path, storage: ObjectStore, vts: CommandLine
) -> None:
    newer_storage(storage)
    before = files_below(folder)
    ended = run_process("store", "serve", "--dir", str(folder), "--port", "0")
    assert ended.code == NEWER, ended
    assert "0.9.0" in ended.err
    refused(vts, "store", "token", "list", "--dir", str(folder))
    assert files_below(folder) == before


@pytest.mark.parametrize("make", [newer_version, newer_manifest_in_the_store])
def test_the_service_refuses_a_version_of_a_later_release_and_serves_the_others(
    storage: ObjectStore, service: ThreadedStore, vts: CommandLine, folder: Path, home: Path,
    monkeypatch: pytest.MonkeyPatch, make: Callable[[ObjectStore], None],
) -> None:  # fmt: skip
    make(storage)
    monkeypatch.setenv("VTSSERVING_STORE_URL", service.url)
    monkeypatch.setenv("VTSSERVING_STORE_TOKEN", TOKENS["tokens"]["push"])
    before, at_home = files_below(folder), files_below(home)
    for ref in ("second", "latest", "sec", "candidate"):
        status, answer = post(
            f"{service.url}/api/v1/models/iris/versions/{ref}",
            None,
            token=TOKENS["tokens"]["pull"],
            method="GET",
        )
        assert (status, answer["error"]["code"]) == (501, "newer_format"), ref
        refused(vts, "models", "pull", f"iris:{ref}")
    refused(vts, "models", "delete", "iris:second", "--yes", "--remote")
    refused(vts, "models", "alias", "iris:second", "moved", "--remote")
    assert files_below(folder) == before
    assert files_below(home) == at_home
    assert vts("models", "get", "iris:live", "--remote").code == 0
    assert vts("models", "pull", "iris:live").code == 0
    assert IRIS in vts("models", "list", "--remote", "-q").out.split()


@pytest.mark.parametrize("make", [newer_alias, newer_labels, newer_options])
def test_the_service_adds_nothing_to_a_series_of_a_later_release(
    storage: ObjectStore, service: ThreadedStore, vts: CommandLine, folder: Path,
    monkeypatch: pytest.MonkeyPatch, make: Callable[[ObjectStore], None],
) -> None:  # fmt: skip
    make(storage)
    monkeypatch.setenv("VTSSERVING_STORE_URL", service.url)
    monkeypatch.setenv("VTSSERVING_STORE_TOKEN", TOKENS["tokens"]["push"])
    before = files_below(folder)
    if make is newer_alias:
        refused(vts, "models", "alias", "iris:second", "live", "--remote")
        refused(vts, "models", "alias", "iris", "live", "--remove", "--remote")
    elif make is newer_options:
        refused(vts, "models", "configure", "iris", "max_batch_size=3", "--remote")
    else:
        url = f"{service.url}/api/v1/models/iris/versions/second/labels"
        status, answer = post(url, {"labels": {"a": "b"}}, token=TOKENS["tokens"]["push"], method="PATCH")
        assert (status, answer["error"]["code"]) == (501, "newer_format")
    assert files_below(folder) == before


def test_the_service_refuses_an_upload_and_a_lease_of_a_later_release(
    storage: ObjectStore, service: ThreadedStore
) -> None:
    (session,) = (entry.key for entry in storage.entries("staging/"))
    change_record(storage, session, lambda fields: fields.update(format=2))
    newer_lease(storage)
    token = TOKENS["tokens"]["push"]
    for method, path in (
        ("GET", f"uploads/{session.split('/')[1]}"),
        ("PUT", f"uploads/{session.split('/')[1]}/parts/1"),
        ("POST", f"uploads/{session.split('/')[1]}/complete"),
        ("POST", "pushes/" + "ab" * 16),
    ):
        status, answer = post(f"{service.url}/api/v1/{path}", {}, token=token, method=method)
        assert (status, answer["error"]["code"]) == (501, "newer_format"), path


@pytest.mark.parametrize("change", TOKEN_CHANGES.values(), ids=TOKEN_CHANGES.keys())
def test_a_token_of_a_later_release_opens_nothing(
    storage: ObjectStore, service: ThreadedStore, vts: CommandLine, folder: Path, change: dict[str, Any]
) -> None:
    text = TOKENS["tokens"]["pull"]
    change_record(storage, f"tokens/{text.split('_')[1]}", lambda fields: fields.update(change))
    before = files_below(folder)
    status, answer = post(f"{service.url}/api/v1/models", None, token=text, method="GET")
    assert (status, answer["error"]["code"]) == (501, "newer_format")
    refused(vts, "store", "token", "list", "--dir", str(folder))
    assert files_below(folder) == before
    other, _ = post(f"{service.url}/api/v1/models", None, token=TOKENS["tokens"]["push"], method="GET")
    assert other == 200


def test_an_index_of_a_later_release_is_only_a_shortcut_that_is_not_taken(
    folder: Path, storage: ObjectStore, vts: CommandLine
) -> None:
    rows = zip_rows([["models/iris/second", "etag", {"format": 2}]])
    storage.put("index/summaries-1", rows)
    storage.put("index/summaries-2", rows)
    with ThreadedStore(store_settings(folder)) as service:
        status, answer = post(f"{service.url}/api/v1/versions", None, method="GET")
    assert status == 200
    assert {"second", IRIS.split(":")[1]} <= {one["version"] for one in answer["versions"]}
    assert vts("store", "fsck", "--dir", str(folder)).code == 0
    assert storage.read("index/summaries-2", limit_bytes=1 << 20) == rows


def zip_rows(rows: list[Any]) -> bytes:
    import zlib

    packed = zlib.compress(json.dumps(rows).encode())
    return hashlib.sha256(packed).digest() + packed


def test_a_manifest_of_a_later_release_cannot_be_pushed(
    service: ThreadedStore, home: Path, folder: Path
) -> None:
    path = home / "models/iris/new" / MANIFEST_FILE
    document = parse((home / "models/iris/new" / MODEL_FILE).read_bytes())
    assert json.loads(path.read_bytes())["extra"]["document"] == pack_document(document)
    newer_manifest(home / "models/iris/new")
    before = files_below(folder)
    url = f"{service.url}/api/v1/models/iris/versions/new"
    status, answer = put(url, path.read_bytes())
    assert (status, answer["error"]["code"]) == (501, "newer_format")
    assert files_below(folder) == before


def put(url: str, body: bytes) -> tuple[int, Any]:
    import httpx2

    headers = {"authorization": f"Bearer {TOKENS['tokens']['push']}", "content-type": "application/json"}
    answer = httpx2.put(url, content=body, headers=headers, trust_env=False)
    return answer.status_code, answer.json()
