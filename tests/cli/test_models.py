"""`vtsserving models ...`: the outputs of the specification, and what users may get wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.archives import save_model
from support.command_line import CommandLine, run_process
from vtsserving import models, picklable_model
from vtsserving._local_store.store import LocalStore

pytestmark = pytest.mark.fast


def test_list_has_the_columns_of_the_specification(vts: CommandLine, store: LocalStore) -> None:
    old, new = save_model(store), save_model(store)
    ended = vts("models", "list")
    header, *rows = ended.out.splitlines()
    assert header.split("  ")[0] == "Tag"
    assert header.split() == ["Tag", "Module", "Size", "Creation", "Time", "Path"]
    assert [row.split()[0] for row in rows] == [str(new.tag), str(old.tag)]
    tag, module, size, unit, day, time, path = rows[0].split()
    assert (tag, module, unit, path) == (str(new.tag), "vtsserving.sklearn", "KiB", str(new.path))
    assert size == f"{new.size_bytes / 1024:.2f}"
    assert f"{day} {time}" == new.creation_time.strftime("%Y-%m-%d %H:%M:%S")
    assert rows[0].index("vtsserving.sklearn") == header.index("Module")
    assert rows[0].index(size) == header.index("Size")
    assert ended.err == ""


def test_list_shows_the_home_as_tilde(
    vts: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("VTSSERVING_HOME")
    saved = save_model(LocalStore())
    row = vts("models", "list").out.splitlines()[1]
    assert row.split()[-1] == f"~/vtsserving/models/iris_clf/{saved.tag.version}"


def test_list_is_never_cut_when_it_is_piped(
    vts: CommandLine, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    saved = save_model(store, tag="a-name-that-is-rather-long-but-legal:and-a-version-of-the-same-kind")
    assert str(saved.path) in vts("models", "list").out


def test_list_of_nothing_is_the_header(vts: CommandLine) -> None:
    ended = vts("models", "list")
    assert ended.code == 0
    assert ended.out.split() == ["Tag", "Module", "Size", "Creation", "Time", "Path"]


def test_list_json_and_yaml_have_exact_bytes(vts: CommandLine, store: LocalStore) -> None:
    saved = save_model(store, labels={"team": "nlp"})
    store.set_alias(saved.tag, "production")
    (record,) = json.loads(vts("models", "list", "-o", "json").out)
    assert record["tag"] == str(saved.tag)
    assert record["size_bytes"] == saved.size_bytes
    assert record["labels"] == {"team": "nlp"}
    assert record["aliases"] == ["production"]
    assert record["digest"] == saved.digest
    assert yaml.safe_load(vts("models", "list", "-o", "yaml").out) == [record]


def test_list_is_narrowed_by_name_label_and_limit(vts: CommandLine, store: LocalStore) -> None:
    dev, prod = save_model(store, labels={"stage": "dev"}), save_model(store, labels={"stage": "prod"})
    other = save_model(store, {"w": b"w" * 9_000}, tag="other", labels={"stage": "dev", "team": "nlp"})
    quiet = ("models", "list", "-q")
    assert vts(*quiet).out.split() == [str(other.tag), str(prod.tag), str(dev.tag)]
    assert vts(*quiet, "iris_clf").out.split() == [str(prod.tag), str(dev.tag)]
    assert vts(*quiet, "-l", "stage=dev").out.split() == [str(other.tag), str(dev.tag)]
    assert vts(*quiet, "-l", "stage=dev", "-l", "team=nlp").out.split() == [str(other.tag)]
    assert vts(*quiet, "--limit", "1").out.split() == [str(other.tag)]
    assert vts(*quiet, "--sort", "size", "--limit", "1").out.split() == [str(other.tag)]
    assert vts(*quiet, "nothing").out == ""


def test_a_list_of_an_unknown_name_offers_near_ones(vts: CommandLine, store: LocalStore) -> None:
    save_model(store)
    ended = vts("models", "list", "iris_clff", "-q")
    assert (ended.code, ended.out) == (0, "")
    assert "did you mean iris_clf?" in ended.err
    assert vts("models", "list", "iris_clf", "-l", "stage=dev", "-q") == (0, "", "")


def test_a_framework_is_named_with_or_without_its_package(vts: CommandLine, store: LocalStore) -> None:
    saved = save_model(store)
    for module in ("sklearn", "vtsserving.sklearn"):
        assert vts("models", "list", "-q", "--module", module).out == f"{saved.tag}\n"
    assert vts("models", "list", "-q", "--module", "xgboost").out == ""


@pytest.mark.parametrize("command", ["list", "delete", "push"])
@pytest.mark.parametrize("label", ["stage!=dev", "stage==dev", "stage", "=dev"])
def test_a_selector_that_would_silently_fit_nothing_is_a_usage_error(
    label: str, command: str, vts: CommandLine, store: LocalStore
) -> None:
    save_model(store, labels={"stage": "prod"})
    ended = vts("models", command, "--label", label)
    assert (ended.code, ended.out) == (2, "")
    assert "key=value" in ended.err


def test_get_shows_description_and_aliases_where_there_are_any(vts: CommandLine, store: LocalStore) -> None:
    with models.create("iris_clf", description="An iris: classifier") as new:
        new.path_of("weights.bin").write_bytes(b"weights")
    saved = store.get("iris_clf")
    assert yaml.safe_load(vts("models", "get", "iris_clf").out)["description"] == "An iris: classifier"
    assert "aliases" not in yaml.safe_load(vts("models", "get", "iris_clf").out)
    store.set_alias(saved.tag, "staging")
    store.set_alias(saved.tag, "production")
    shown = yaml.safe_load(vts("models", "get", "iris_clf").out)
    assert list(shown)[-2:] == ["description", "aliases"]
    assert shown["aliases"] == ["production", "staging"]
    assert json.loads(vts("models", "get", "iris_clf", "-o", "json").out)["aliases"] == shown["aliases"]


def test_get_prints_the_specification_s_yaml(vts: CommandLine, store: LocalStore) -> None:
    saved = save_model(store)
    shown = vts("models", "get", "iris_clf:latest").out
    assert shown == (saved.path / "model.yaml").read_text()
    assert list(yaml.safe_load(shown)) == [
        "name", "version", "module", "labels", "options", "metadata", "context", "signatures", "api_version",
        "creation_time",
    ]  # fmt: skip


def test_get_prints_json_and_path(vts: CommandLine, store: LocalStore) -> None:
    saved = save_model(store)
    shown = json.loads(vts("models", "get", "iris_clf", "-o", "json").out)
    assert shown["version"] == saved.tag.version
    assert shown["digest"] == saved.digest
    assert vts("models", "get", str(saved.tag), "-o", "path").out == f"{saved.path}\n"


def test_delete_says_the_specification_s_sentence(vts: CommandLine, store: LocalStore) -> None:
    saved = save_model(store)
    ended = vts("models", "delete", "iris_clf:latest", "-y")
    assert ended.err == f'INFO [cli] Model(tag="{saved.tag}") deleted\n'
    assert ended.code == 0
    assert store.list() == []


def test_delete_takes_several_targets_and_labels(vts: CommandLine, store: LocalStore) -> None:
    a, b = save_model(store, labels={"stage": "dev"}), save_model(store)
    c, d = save_model(store, tag="other"), save_model(store, tag="other", labels={"stage": "dev"})
    assert vts("models", "delete", str(a.tag), str(c.tag), "--yes").code == 0
    assert {model.tag for model in store.list()} == {b.tag, d.tag}
    assert vts("models", "delete", "-l", "stage=dev", "-y").code == 0
    assert [model.tag for model in store.list()] == [b.tag]


def test_delete_of_a_bare_name_wants_all_versions_said(vts: CommandLine, store: LocalStore) -> None:
    save_model(store)
    save_model(store)
    ended = vts("models", "delete", "iris_clf", "-y")
    assert ended.code == 2
    assert "2 versions" in ended.err
    assert "--all-versions" in ended.err
    assert len(store.list()) == 2
    assert vts("models", "delete", "iris_clf", "--all-versions", "-y").code == 0
    assert store.list() == []


def test_dry_run_deletes_nothing(vts: CommandLine, store: LocalStore) -> None:
    saved = save_model(store)
    ended = vts("models", "delete", "iris_clf:latest", "--dry-run")
    assert ended.out == f'Model(tag="{saved.tag}") would be deleted\n'
    assert len(store.list()) == 1


def test_one_wrong_target_deletes_none(vts: CommandLine, store: LocalStore) -> None:
    save_model(store)
    assert vts("models", "delete", "iris_clf:latest", "iris_clv:latest", "-y").code == 3
    assert len(store.list()) == 1


def test_an_aliased_model_is_deleted_only_with_force(vts: CommandLine, store: LocalStore) -> None:
    old, new = save_model(store), save_model(store)
    store.set_alias(old.tag, "production")
    ended = vts("models", "delete", "iris_clf", "--all-versions", "-y")
    assert ended.code == 4
    assert "production" in ended.err
    assert [model.tag for model in store.list()] == [new.tag, old.tag]
    assert vts("models", "delete", "iris_clf:production", "-y", "--force").code == 0
    assert [model.tag for model in store.list()] == [new.tag]


def test_prune_keeps_the_newest_and_the_aliased(vts: CommandLine, store: LocalStore) -> None:
    models = [save_model(store, {"w": bytes([number])}) for number in range(6)]
    save_model(store, tag="other")
    store.set_alias(models[0].tag, "production")
    dry = vts("models", "prune", "iris_clf", "--keep", "2", "--dry-run")
    assert dry.out.count("would be deleted") == 3
    assert vts("models", "prune", "--keep", "2", "-y").code == 0
    left = [model.tag for model in store.list("iris_clf")]
    assert left == [models[5].tag, models[4].tag, models[0].tag]
    assert len(store.list("other")) == 1


def test_prune_keeps_what_is_young(vts: CommandLine, store: LocalStore) -> None:
    save_model(store)
    assert vts("models", "prune", "--keep", "0", "--keep-newer", "30d", "-y").code == 0
    assert len(store.list()) == 1
    assert vts("models", "prune", "--keep", "0", "--keep-newer", "0s", "-y").code == 0
    assert store.list() == []


@pytest.mark.parametrize(
    "arguments", [(), ("--keep", "-1"), ("--keep-newer", "soon"), ("--keep", "x")], ids="_".join
)
def test_prune_with_bad_arguments_is_a_usage_error(arguments: tuple[str, ...], vts: CommandLine) -> None:
    assert vts("models", "prune", *arguments, "-y").code == 2


def test_alias_is_set_used_moved_listed_and_removed(vts: CommandLine, store: LocalStore) -> None:
    old, new = save_model(store), save_model(store)
    assert vts("models", "alias", str(old.tag), "production").code == 0
    assert vts("models", "get", "iris_clf:production", "-o", "path").out == f"{old.path}\n"
    assert vts("models", "alias", "iris_clf:latest", "production").code == 0
    assert vts("models", "get", "iris_clf:production", "-o", "path").out == f"{new.path}\n"
    assert vts("models", "alias", "iris_clf").out.splitlines()[1].split() == [
        "iris_clf:production",
        str(new.tag),
    ]
    assert vts("models", "alias", "iris_clf", "production", "--remove").code == 0
    assert vts("models", "get", "iris_clf:production").code == 3
    history = vts("models", "alias", "iris_clf", "production", "--history").out.splitlines()[1:]
    assert [line.split()[-1] for line in history] == [str(old.tag), str(new.tag), "-"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("iris_clf:nothing", "production"), 3),
        (("nothing", "production"), 3),
        (("nothing",), 3),
        (("iris_clf", "Latest!"), 2),
        (("iris_clf", "latest"), 2),
        (("iris_clf", "gone", "--remove"), 3),
        (("iris_clf", "--remove"), 2),
    ],
)
def test_alias_with_bad_arguments_has_its_exit_code(
    arguments: tuple[str, ...], code: int, vts: CommandLine, store: LocalStore
) -> None:
    save_model(store)
    ended = vts("models", "alias", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert len(ended.err.splitlines()) == 1


def test_verify_names_the_damaged_file(vts: CommandLine, store: LocalStore) -> None:
    good, bad = save_model(store), save_model(store, tag="other")
    assert vts("models", "verify").code == 0
    (bad.path / "weights.bin").write_bytes(b"x" * (bad.path / "weights.bin").stat().st_size)
    ended = vts("models", "verify")
    assert ended.code == 5
    assert set(ended.out.splitlines()) == {f'Model(tag="{good.tag}") ok', f'Model(tag="{bad.tag}") damaged'}
    assert "weights.bin" in ended.err
    assert "import it again" in ended.err
    assert vts("models", "verify", str(good.tag)).code == 0


def test_export_and_import_say_the_specification_s_sentences(
    vts: CommandLine, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save_model(store)
    monkeypatch.chdir(tmp_path)
    name = f"./iris_clf-{saved.tag.version}.vtsmodel"
    ended = vts("models", "export", "iris_clf:latest", ".")
    assert ended.out == f'Model(tag="{saved.tag}") exported to {name}\n'
    vts("models", "delete", "iris_clf:latest", "-y")
    ended = vts("models", "import", name)
    assert ended.out == f'Model(tag="{saved.tag}") imported\n'
    assert store.get("iris_clf").tag == saved.tag


def test_export_twice_is_a_conflict_and_import_twice_is_not(
    vts: CommandLine, store: LocalStore, tmp_path: Path
) -> None:
    save_model(store)
    target = str(tmp_path / "m.vtsmodel")
    assert vts("models", "export", "iris_clf", target).code == 0
    ended = vts("models", "export", "iris_clf", target)
    assert (ended.code, ended.out) == (4, "")
    assert vts("models", "export", "iris_clf", target, "--force").code == 0
    assert vts("models", "import", target).code == 0
    assert vts("models", "import", target).code == 0


def test_an_import_repairs_a_damaged_model(vts: CommandLine, store: LocalStore, tmp_path: Path) -> None:
    saved = save_model(store)
    target = str(tmp_path / "m.vtsmodel")
    vts("models", "export", "iris_clf", target)
    (saved.path / "weights.bin").write_bytes(b"x")
    assert vts("models", "verify").code == 5
    assert vts("models", "import", target).code == 0
    assert vts("models", "verify").code == 0


def test_removing_an_alias_that_is_not_there_names_those_that_are(
    vts: CommandLine, store: LocalStore
) -> None:
    saved = save_model(store)
    assert "it has none" in vts("models", "alias", "iris_clf", "prod", "--remove").err
    store.set_alias(saved.tag, "production")
    assert "it has production" in vts("models", "alias", "iris_clf", "prod", "--remove").err


def test_import_conflict_offers_the_ways_out(vts: CommandLine, store: LocalStore, tmp_path: Path) -> None:
    save_model(store, {"w": b"new"}, tag="clf:v1")
    target = str(tmp_path / "m.tar.gz")
    vts("models", "export", "clf:v1", target)
    vts("models", "delete", "clf:v1", "-y")
    own = save_model(store, {"w": b"own"}, tag="clf:v1")
    before = own.digest
    assert vts("models", "import", target).code == 4
    assert vts("models", "import", target, "--skip-existing").code == 0
    assert store.get("clf:v1").digest == before
    assert vts("models", "import", target, "--force").code == 0
    assert store.get("clf:v1").digest != before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("get", "iris_clv"), 3),
        (("get", "iris_clf:nothing"), 3),
        (("get", "a:b:c"), 2),
        (("get", ""), 2),
        (("get",), 2),
        (("list", "--sort", "colour"), 2),
        (("list", "--limit", "-1"), 2),
        (("list", "-l", "stage"), 2),
        (("list", "-o", "xml"), 2),
        (("delete",), 2),
        (("delete", "iris_clf:latest"), 2),
        (("export", "nothing", "."), 3),
        (("export", "iris_clf", "/no/such/folder/x"), 2),
        (("export", "iris_clf", ".", "--format", "rar"), 2),
        (("export", "iris_clf", "s3://b/x", "-O", "endpoint_url"), 2),
        (("import", "/no/such/file"), 3),
        (("import", "/etc/hostname"), 5),
        (("import", "gopher://x/y"), 2),
        (("import", "http://169.254.169.254/x"), 2),
        (("import", "http://127.0.0.1:9/x"), 7),
        (("import", "az://container/x"), 8),
        (("import", "/etc/hostname", "--max-size", "much"), 2),
        (("nothing",), 2),
    ],
    ids=lambda value: " ".join(value) or "-" if isinstance(value, tuple) else None,
)
def test_errors_are_one_line_with_the_documented_code(
    arguments: tuple[str, ...], code: int, vts: CommandLine, store: LocalStore
) -> None:
    save_model(store)
    ended = vts("models", *arguments)
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert len(ended.err.splitlines()) == 1, ended.err
    assert ended.err.startswith("Error: ")
    assert "Traceback" not in ended.err
    assert len(store.list()) == 1


def test_near_names_are_offered(vts: CommandLine, store: LocalStore) -> None:
    save_model(store)
    assert "did you mean iris_clf" in vts("models", "get", "iris_clff").err


@pytest.mark.slow
def test_upper_case_is_lowered_with_one_line(store: LocalStore) -> None:
    saved = save_model(store)
    ended = run_process("models", "get", "IRIS_clf", "-o", "path")
    assert (ended.code, ended.out) == (0, f"{saved.path}\n")
    assert ended.err.splitlines() == ["Warning: the name 'IRIS_clf' is used in lower case: 'iris_clf'"]


SIGNATURES = {"__call__": {"batchable": True, "parameters": ["weights"], "result": {"axis": 0}}}


def weighted() -> Callable[[Any, Any], Any]:
    def weighted_sum(x: Any, weights: Any) -> Any:
        return x @ weights

    return weighted_sum


def test_get_shows_the_contract_when_asked_for_and_the_keys_of_the_specification_otherwise(
    vts: CommandLine, store: LocalStore
) -> None:
    saved = picklable_model.save_model("weighted", weighted(), signatures=SIGNATURES, check=False)
    plain, shown = vts("models", "get", "weighted").out, vts("models", "get", "weighted", "--contract").out
    assert shown.startswith(plain.rstrip("\n"))
    assert list(yaml.safe_load(plain)) == list(yaml.safe_load((saved.path / "model.yaml").read_text()))
    contract = yaml.safe_load(shown)["contract"]
    assert contract["number"] == 1
    assert contract["methods"]["__call__"]["arguments"] == {"weights": {"kind": "parameter"}}
    assert contract["methods"]["__call__"]["result"] == {"axis": 0}
    assert contract["methods"]["__call__"]["positional"] == ["x", "weights"]
    assert json.loads(vts("models", "get", "weighted", "-o", "json").out)["contract"] == contract


def test_get_says_by_which_rule_a_model_without_a_contract_is_served(
    vts: CommandLine, store: LocalStore
) -> None:
    save_model(store)
    shown = vts("models", "get", "iris_clf", "--contract").out
    assert "# Saved by release 0.1, without a contract: it is served by the rule of 0.1" in shown
    assert "contract" not in yaml.safe_load(shown)


def test_the_help_of_get_has_the_option_and_an_example(vts: CommandLine) -> None:
    shown = vts("models", "get", "--help").out
    assert "--contract" in shown
    assert "vtsserving models get iris_clf:latest --contract" in shown
