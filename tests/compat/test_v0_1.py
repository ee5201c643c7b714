"""Everything that release 0.1.0 wrote works: the same models, the same answers, the same digests."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support.command_line import CommandLine
from support.first_release import (
    DIGESTS,
    EXPECTED,
    IRIS,
    LIGHT,
    MODELS,
    SAME_PYTHON,
    TOKENS,
    VECTORS,
    FirstRelease,
    files_below,
    post,
    serving,
    unpack,
)
from support.framework_groups import of_module
from support.sdk import save_text
from support.stores import ThreadedStore, store_settings, token
from vtsserving._auth.token_file import TokenFile
from vtsserving._auth.tokens import check_token
from vtsserving._local_store.store import LocalStore
from vtsserving._packing.package_tags import packed_tag
from vtsserving._saving.framework import load_for_serving
from vtsserving._store_client.contexts import contexts
from vtsserving.exceptions import AuthError, PythonVersionMismatch
from vtsserving.service.importing import load_service

pytestmark = [
    pytest.mark.slow,
    # What the frameworks themselves warn of, in versions that `make test-frameworks` pins, and what a pickle of another
    # Python or framework version is warned of.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

WEIGHTS = hashlib.sha256(bytes(range(256))).hexdigest()
"""Of a file that only the model `files` has."""

PACKED = EXPECTED["packed"][0]["tag"]
SERVED = {
    tag: record
    for tag, record in MODELS.items()
    if record["method"] and not (record["by_value"] and not SAME_PYTHON)
}
LIGHT_TAGS = [tag for tag, record in SERVED.items() if record["module"] in LIGHT]
LOADED = [
    pytest.param(
        tag,
        marks=()
        if record["module"] in LIGHT
        else pytest.mark.frameworks(*of_module(record["module"].rpartition(".")[2])),
        id=tag.split(":")[0],
    )
    for tag, record in SERVED.items()
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that 0.1.0 left."""
    monkeypatch.setenv("VTSSERVING_HOME", str(unpack("home", tmp_path)))
    monkeypatch.setenv("VTSSERVING_GATEWAY__GRACE_S", "0")
    return tmp_path / "home"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a model."""
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "empty"))
    return tmp_path / "empty"


@pytest.fixture
def vts(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ThreadedStore]:
    """A store service of this release on the storage that 0.1.0 filled."""
    with ThreadedStore(store_settings(unpack("store", tmp_path), auth="required")) as started:
        yield started


@pytest.fixture
def logged_in(service: ThreadedStore, monkeypatch: pytest.MonkeyPatch) -> ThreadedStore:
    monkeypatch.setenv("VTSSERVING_STORE_URL", service.url)
    monkeypatch.setenv("VTSSERVING_STORE_TOKEN", TOKENS["tokens"]["push"])
    return service


def same(tag: str, answer: Any) -> bool:
    """Whether an answer is the one that 0.1.0 gave: to the last bit where the arithmetic allows that."""
    expected = EXPECTED["answers"][tag]
    if isinstance(answer, np.ndarray):
        # JSON has the shortest text of a float32, so the text is read as one.
        return np.array_equal(answer, np.array(expected, answer.dtype))
    if MODELS[tag]["exact"]:
        return bool(answer == expected)
    (found,), (wanted,) = answer, expected
    return bool(
        found["label"] == wanted["label"] and found["score"] == pytest.approx(wanted["score"], rel=1e-5)
    )


def digests(store: LocalStore) -> dict[str, str]:
    return {str(model.tag): model.digest for model in store.list(hidden=True)}


# --- the vectors themselves ---------------------------------------------------------------------------------------


def test_the_vectors_stay_small_and_name_what_they_were_made_with() -> None:
    total = sum(file.stat().st_size for file in VECTORS.rglob("*") if file.is_file())
    assert total < 5 * 2**20
    made = json.loads((VECTORS / "made.json").read_text())
    assert made["packages"]["vtsserving"] == "0.1.0"
    frameworks = {
        f"vtsserving.{name}" for name in importlib.import_module("vtsserving._saving.framework").MODULES
    }
    assert {record["module"] for record in MODELS.values()} >= frameworks - LATER_MODULES


LATER_MODULES: set[str] = set()
"""Framework modules that 0.1.0 did not have."""


# --- the local store ----------------------------------------------------------------------------------------------


def test_every_model_is_listed_with_its_digest(home: Path, vts: CommandLine) -> None:
    before = files_below(home)
    listed = json.loads(vts("models", "list", "-o", "json", "--hidden").out)
    assert {one["tag"]: one["digest"] for one in listed} == DIGESTS
    assert {one["tag"] for one in json.loads(vts("models", "list", "-o", "json").out)} == set(MODELS)
    assert files_below(home) == before


@pytest.mark.parametrize("tag", MODELS, ids=lambda tag: tag.split(":")[0])
def test_the_record_of_a_model_says_what_it_said(home: Path, vts: CommandLine, tag: str) -> None:
    model, record = vtsserving.models.get(tag), MODELS[tag]
    info = model.info
    assert info.module == record["module"]
    assert info.runs_code == record["runs_code"]
    assert dict(info.labels) == record["labels"]
    assert json.loads(json.dumps(dict(info.metadata), default=str)) == record["metadata"]
    assert dict(info.raw_options) == record["options"]
    assert {name: s.to_dict() for name, s in info.signatures.items()} == record["signatures"]
    assert dict(info.input_specs) == record["input_specs"]
    assert info.description == record["description"]
    assert [entry.path for entry in model.manifest.files] == record["files"]
    assert json.loads(vts("models", "get", tag, "-o", "json").out) == record["shown"]
    assert vts("models", "verify", tag).code == 0


def test_aliases_settings_and_their_histories_are_there(home: Path) -> None:
    store = LocalStore()
    version = IRIS.split(":")[1]
    assert store.aliases("iris") == {"candidate": "second", "production": version}
    assert [move.version for move in store.alias_history("iris", "gone")] == ["second", None]
    assert store.settings(vtsserving.Tag.parse(IRIS)) == {
        "max_batch_size": 24,
        "threads": 2,
        "method_configs": {"predict_proba": {"max_batch_size": 2}},
    }
    assert store.settings(vtsserving.Tag("iris", "second")) == {"max_batch_size": 24}
    assert [record.number for record in store.settings_history("iris")] == [1, 2]
    assert store.get("iris").tag.version == "second"


def test_what_is_saved_now_continues_the_series(home: Path) -> None:
    store = LocalStore()
    before = store.get("iris:second")
    saved = save_text(store, "iris")
    assert saved.info.ordinal == before.info.ordinal + 1
    assert store.get("iris").tag == saved.tag
    # Version two of a name whose first one was deleted by 0.1.0.
    assert save_text(store, "deleted").info.ordinal == 2
    store.set_alias(saved.tag, "production")
    assert [move.version for move in store.alias_history("iris", "production")] == [
        IRIS.split(":")[1],
        saved.tag.version,
    ]


def test_custom_objects_are_there(home: Path) -> None:
    taxed, twice = vtsserving.models.get("taxed:latest"), vtsserving.models.get("twice:latest")
    assert twice.custom_objects == {"plain": ["text", 1, None]}
    assert MODELS[str(taxed.tag)]["custom_objects"] == ["Rates/É", "rule"]
    if not SAME_PYTHON:
        with pytest.raises(PythonVersionMismatch):
            _ = taxed.custom_objects
        return
    assert taxed.custom_objects["Rates/É"] == {"de": 19, "fr": 20}
    assert (taxed.custom_objects["rule"].fits(2), taxed.custom_objects["rule"].fits(3)) == (True, False)


@pytest.mark.parametrize("tag", LOADED)
def test_a_model_is_loaded_and_gives_its_answer(home: Path, tag: str) -> None:
    record = MODELS[tag]
    module = importlib.import_module(record["module"])
    assert module.load_model(tag) is not None
    assert vtsserving.models.get(tag).load_model() is not None
    runner = module.get(tag).to_runner()
    runner.init_local()
    body = record["body"]
    dtype = np.float32 if "torch" in record["frameworks"] or "onnx" in record["frameworks"] else np.float64
    args = body["args"] if isinstance(body, dict) else [np.array(body, dtype)]
    assert same(tag, runner.methods[record["method"]].run(*args))


def test_code_of_another_python_is_refused(home: Path) -> None:
    carried = [tag for tag, record in MODELS.items() if record["by_value"] and record["module"] in LIGHT]
    assert carried
    for tag in (*carried, PACKED):
        path = vtsserving.models.get(tag).path
        if SAME_PYTHON:
            assert tag == PACKED or load_for_serving(path) is not None
        else:
            with pytest.raises(PythonVersionMismatch, match=r"carries code of Python 3\.11"):
                load_for_serving(path)


def test_models_are_served_with_the_same_answers(home: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "serve", *LIGHT_TAGS) as url:
        for tag in LIGHT_TAGS:
            record = MODELS[tag]
            status, answer = post(f"{url}/v1/models/{tag}/{record['method']}", record["body"])
            assert status == 200, answer
            assert same(tag, answer), answer
        status, answer = post(f"{url}/v1/models/iris:production/predict", MODELS[IRIS]["body"])
        assert (status, answer) == (200, EXPECTED["answers"][IRIS])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("tag", [one for one in LOADED if one.marks])
def test_a_model_of_each_framework_is_served_with_the_same_answer(
    home: Path, tmp_path: Path, tag: str
) -> None:
    record = MODELS[tag]
    with serving(tmp_path, "serve", tag) as url:
        status, answer = post(f"{url}/v1/models/{tag}/{record['method']}", record["body"])
    assert status == 200, answer
    assert same(tag, answer), answer


def test_models_are_deleted(home: Path, vts: CommandLine) -> None:
    assert vts("models", "delete", IRIS, "--yes").code == 4, "an alias points to it"
    for tag in MODELS:
        assert vts("models", "delete", tag, "--yes", "--force").code == 0
    assert [str(model.tag) for model in LocalStore().list(hidden=True)] == [PACKED]
    assert LocalStore().aliases("iris") == {}


# --- archives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", EXPECTED["archives"])
def test_an_archive_of_each_format_is_imported(
    empty: Path, vts: CommandLine, tmp_path: Path, form: str
) -> None:
    archive = VECTORS / "archives" / EXPECTED["archives"][form]
    assert vts("models", "import", str(archive)).code == 0
    assert digests(LocalStore()) == {IRIS: DIGESTS[IRIS]}
    assert vts("models", "verify").code == 0
    runner = vtsserving.sklearn.get(IRIS).to_runner()
    runner.init_local()
    assert runner.predict.run(np.array(MODELS[IRIS]["body"])).tolist() == EXPECTED["answers"][IRIS]


@pytest.mark.parametrize("form", ["tar", "folder"])
def test_what_is_exported_now_is_what_was_exported_then(
    home: Path, vts: CommandLine, tmp_path: Path, form: str
) -> None:
    assert vts("models", "export", IRIS, str(tmp_path / "iris"), "--format", form).code == 0
    then = VECTORS / "archives" / EXPECTED["archives"][form]
    if form == "tar":
        assert (tmp_path / "iris").read_bytes() == then.read_bytes()
    else:
        contents = [
            {n: raw for n, (raw, _) in files_below(path).items()} for path in (tmp_path / "iris", then)
        ]
        assert contents[0] == contents[1]


def test_every_model_is_exported_and_imported_again(
    home: Path, vts: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    for tag in DIGESTS:
        assert vts("models", "export", tag, str(tmp_path / "out")).code == 0
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "other"))
    for archive in sorted((tmp_path / "out").iterdir()):
        assert vts("models", "import", str(archive)).code == 0
    assert digests(LocalStore()) == DIGESTS


def test_a_damaged_model_is_found_and_repaired_from_its_archive(home: Path, vts: CommandLine) -> None:
    model = vtsserving.models.get(IRIS)
    file = model.path / max(model.manifest.files, key=lambda entry: entry.size).path
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert vts("models", "verify", IRIS).code == 5
    assert vts("models", "import", str(VECTORS / "archives" / EXPECTED["archives"]["zip"])).code == 0
    assert vts("models", "verify", IRIS).code == 0
    assert file.read_bytes() == whole


# --- packed classes -----------------------------------------------------------------------------------------------


@pytest.fixture
def project(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The Service whose class 0.1.0 packed, as `vtsserving serve` takes it."""
    folder = unpack("project", tmp_path)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield f"{folder}/prices_service.py:svc"
    for name in ("prices_service", "prices_rates"):
        sys.modules.pop(name, None)


def test_a_packed_class_has_the_name_that_it_had(project: str, vts: CommandLine) -> None:
    (runner,) = load_service(project).runners
    if SAME_PYTHON:
        assert str(packed_tag(runner)) == PACKED
    else:
        assert str(packed_tag(runner)) != PACKED, "another Python has another name"
    before = digests(LocalStore())
    assert vts("services", "pack", project).code == 0
    after = digests(LocalStore())
    assert (after == before) is SAME_PYTHON
    assert after.items() >= DIGESTS.items()


def test_a_packed_class_is_served_with_the_same_answers(project: str, tmp_path: Path) -> None:
    with serving(tmp_path, "serve", project) as url:
        for route, call in EXPECTED["service"].items():
            assert post(f"{url}/{route}", call["body"]) == (200, call["answer"]), route
    assert digests(LocalStore()).items() >= DIGESTS.items()
    assert (len(digests(LocalStore())) == len(DIGESTS)) is SAME_PYTHON


def test_the_store_has_the_packed_class_already(
    project: str, logged_in: ThreadedStore, vts: CommandLine
) -> None:
    pushed = vts("services", "push", project)
    assert pushed.code == 0, pushed
    assert f'The store has model "{IRIS}"' in pushed.out
    assert (f"The store has runner 'pricer' as {PACKED}" in pushed.out) is SAME_PYTHON


# --- the store service --------------------------------------------------------------------------------------------


def test_the_store_lists_and_gives_every_model(
    logged_in: ThreadedStore, empty: Path, vts: CommandLine
) -> None:
    listed = vts("models", "list", "--remote", "--hidden", "-q").out.split()
    assert sorted(listed) == sorted(DIGESTS)
    assert vts("models", "pull", *DIGESTS).code == 0
    assert digests(LocalStore()) == DIGESTS
    assert vts("models", "verify").code == 0


def test_the_records_of_the_store_say_what_they_said(logged_in: ThreadedStore) -> None:
    url = f"{logged_in.url}/api/v1/models/iris"
    assert post(url, None, token=TOKENS["tokens"]["pull"], method="GET") == (200, TOKENS["iris"])
    with vtsserving.Store() as store:
        assert store.aliases("iris") == {"live": IRIS.split(":")[1]}
        moves = [move["version"] for move in store.alias_history("iris", "live")]
        assert moves == [IRIS.split(":")[1], "second"]
        assert store.get("iris:second").labels == {"stage": "old"}
        assert store.get("iris:second").settings == {"max_batch_size": 12}
        assert [record["settings"]["options"] for record in store.settings_history("iris")] == [
            {"max_batch_size": 12}
        ]
        store.set_alias("iris:second", "live")
        store.set_labels("iris:second", {"stage": None, "new": "yes"})
        store.configure("iris", max_batch_size=13)
        assert store.get("iris:live").labels == {"new": "yes"}
        assert store.get("iris:live").settings == {"max_batch_size": 13}


def test_tokens_open_what_they_opened(service: ThreadedStore) -> None:
    lists, begins = f"{service.url}/api/v1/models", f"{service.url}/api/v1/pushes"
    collects = f"{service.url}/api/v1/gc"
    found = {
        scope: (
            post(lists, None, token=text, method="GET")[0],
            post(begins, {"digests": []}, token=text)[0],
            post(collects, {"dry_run": True}, token=text)[0],
        )
        for scope, text in TOKENS["tokens"].items()
    }
    assert found == {
        "infer": (403, 403, 403),
        "pull": (200, 403, 403),
        "push": (200, 201, 403),
        "admin": (200, 201, 200),
    }
    for text in (TOKENS["revoked"], TOKENS["file"], ""):
        assert post(lists, None, token=text, method="GET")[0] == 401


def test_tokens_are_listed_and_revoked(service: ThreadedStore, vts: CommandLine) -> None:
    folder = str(service.settings.store.dir)
    shown = vts("store", "token", "list", "--dir", folder).out
    assert all(f"test-{scope}" in shown for scope in TOKENS["tokens"])
    text = TOKENS["tokens"]["pull"]
    assert vts("store", "token", "revoke", text.split("_")[1], "--dir", folder).code == 0
    assert post(f"{service.url}/api/v1/models", None, token=text, method="GET")[0] == 401


def test_a_token_file_and_a_login_are_read(home: Path) -> None:
    tokens = TokenFile(home / "tokens.jsonl")
    assert check_token(TOKENS["file"], tokens.find).scope == "infer"
    with pytest.raises(AuthError):
        check_token(TOKENS["revoked"], tokens.find)
    (login,) = contexts()
    assert (login.name, login.url, login.token, login.current) == (
        "team",
        TOKENS["login"],
        TOKENS["tokens"]["push"],
        True,
    )


def test_models_go_to_a_store_and_come_back(
    home: Path, tmp_path: Path, vts: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadedStore(store_settings(tmp_path / "new-store")) as fresh:
        monkeypatch.setenv("VTSSERVING_STORE_URL", fresh.url)
        assert vts("models", "push", *DIGESTS).code == 0
        monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "other"))
        assert vts("models", "pull", *DIGESTS).code == 0
        assert digests(LocalStore()) == DIGESTS
        assert vts("models", "delete", "iris:second", "--remote", "--yes").code == 0
        assert vts("models", "pull", "iris:second").code == 3
    assert vts("store", "fsck", "--deep", "--dir", str(tmp_path / "new-store")).code == 0


def test_garbage_is_collected_and_no_model_is_hurt(tmp_path: Path, empty: Path, vts: CommandLine) -> None:
    folder = unpack("store", tmp_path)
    assert list((folder / "leases").iterdir())
    assert list((folder / "staging").iterdir())
    for file in folder.rglob("*"):
        os.utime(file, (0, 0))
    assert vts("store", "gc", "--dir", str(folder)).code == 0
    assert not [
        path for name in ("leases", "staging") for path in (folder / name).rglob("*") if path.is_file()
    ]
    assert vts("store", "fsck", "--deep", "--dir", str(folder)).out == ""
    with ThreadedStore(store_settings(folder)) as started:
        assert vts("models", "pull", "--store", started.url, *DIGESTS).code == 0
    assert digests(LocalStore()) == DIGESTS


def test_a_deleted_model_frees_its_files(service: ThreadedStore, vts: CommandLine) -> None:
    folder = str(service.settings.store.dir)
    admin = token(service.settings, "admin")
    (version,) = (tag.split(":")[1] for tag in MODELS if tag.startswith("files:"))
    url = f"{service.url}/api/v1/models/files/versions/{version}"
    assert post(url, None, token=admin, method="DELETE")[0] in (200, 204)
    collected = vts("store", "gc", "--grace", "0s", "--dir", folder)
    assert collected.code == 0
    assert service.settings.store.dir is not None
    assert not (service.settings.store.dir / "blobs/sha256" / WEIGHTS[:2] / WEIGHTS).exists()
    assert vts("store", "fsck", "--deep", "--dir", folder).code == 0


# --- backups ------------------------------------------------------------------------------------------------------


def test_a_backup_is_restored(tmp_path: Path, empty: Path, vts: CommandLine) -> None:
    copy = unpack("backup", tmp_path)
    before = files_below(copy)
    folder = tmp_path / "restored"
    assert vts("store", "restore", "--dir", str(folder), str(copy)).code == 0
    assert vts("store", "fsck", "--deep", "--dir", str(folder)).code == 0
    assert files_below(copy) == before
    with ThreadedStore(store_settings(folder)) as started:
        assert vts("models", "pull", "--store", started.url, *DIGESTS).code == 0
        with vtsserving.Store(started.url) as store:
            assert store.aliases("iris") == {"live": IRIS.split(":")[1]}
            assert store.get("iris:second").labels == {"stage": "old"}
            assert store.get("iris:second").settings == {"max_batch_size": 12}
    assert digests(LocalStore()) == DIGESTS
    assert vts("store", "token", "list", "--dir", str(folder)).out.count("test-") == 0


def test_a_backup_repairs_the_store_that_it_was_made_of(tmp_path: Path, vts: CommandLine) -> None:
    folder, copy = unpack("store", tmp_path), unpack("backup", tmp_path)
    victim = max((folder / "blobs").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    whole = victim.read_bytes()
    victim.chmod(0o600)
    victim.write_bytes(b"\0" * len(whole))
    assert vts("store", "fsck", "--deep", "--dir", str(folder)).code == 5
    assert vts("store", "restore", "--dir", str(folder), str(copy)).code == 0
    assert vts("store", "fsck", "--deep", "--dir", str(folder)).code == 0
    assert victim.read_bytes() == whole


def test_a_backup_that_is_made_now_holds_what_that_of_then_holds(tmp_path: Path, vts: CommandLine) -> None:
    folder, copy = unpack("store", tmp_path), unpack("backup", tmp_path)
    assert vts("store", "backup", "--dir", str(folder), str(tmp_path / "now")).code == 0
    contents = [{n: raw for n, (raw, _) in files_below(path).items()} for path in (tmp_path / "now", copy)]
    assert contents[0] == contents[1]


# --- side by side -------------------------------------------------------------------------------------------------


@pytest.fixture
def first(tmp_path: Path) -> FirstRelease:
    return FirstRelease(tmp_path / "first-release")


def test_the_first_release_pushes_to_this_store_and_pulls_from_it(
    home: Path, tmp_path: Path, first: FirstRelease
) -> None:
    with ThreadedStore(store_settings(tmp_path / "new-store")) as fresh:
        env = {"VTSSERVING_STORE_URL": fresh.url}
        pushed = first.run("models", "push", IRIS, "twice:latest", env=env)
        assert pushed.code == 0, pushed
        assert first.run("models", "alias", IRIS, "live", "--remote", env=env).code == 0
        env["VTSSERVING_HOME"] = str(tmp_path / "other")
        pulled = first.run("models", "pull", "iris:live", env=env)
        assert pulled.code == 0, pulled
    assert digests(LocalStore(tmp_path / "other/models")) == {IRIS: DIGESTS[IRIS]}


def test_this_release_pushes_to_a_store_of_the_first_and_pulls_from_it(
    home: Path, tmp_path: Path, first: FirstRelease, vts: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path, "store", "serve", "--dir", str(tmp_path / "old-store"), env=first.env) as url:
        monkeypatch.setenv("VTSSERVING_STORE_URL", url)
        assert vts("models", "push", IRIS, PACKED).code == 0
        assert vts("models", "alias", IRIS, "live", "--remote").code == 0
        monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "other"))
        assert vts("models", "pull", "iris:live", PACKED).code == 0
    assert digests(LocalStore()) == {IRIS: DIGESTS[IRIS], PACKED: DIGESTS[PACKED]}
    assert vts("store", "fsck", "--deep", "--dir", str(tmp_path / "old-store")).code == 0


def test_the_first_release_reads_what_is_written_now(
    home: Path, tmp_path: Path, first: FirstRelease, vts: CommandLine
) -> None:
    from sklearn.tree import DecisionTreeRegressor

    rows = np.array(MODELS[IRIS]["body"])
    saved = vtsserving.sklearn.save_model(
        "iris", DecisionTreeRegressor(random_state=0).fit(rows, [1, 2, 3, 4]), input_example=rows
    )
    assert vts("models", "alias", str(saved.tag), "production").code == 0
    assert vts("models", "configure", "iris", "max_batch_size=5").code == 0
    shown = first.run("models", "get", "iris:production", "-o", "json")
    assert shown.code == 0, shown
    assert json.loads(shown.out)["digest"] == saved.digest
    assert first.run("models", "verify").code == 0
    with serving(tmp_path, "serve", "iris:production", env=first.env) as url:
        assert post(f"{url}/v1/models/iris:production/predict", rows.tolist()) == (200, [1.0, 2.0, 3.0, 4.0])
