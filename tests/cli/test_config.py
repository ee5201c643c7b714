"""Settings from files, and `vtsserving config show`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.command_line import run_process
from vtsserving._runtime import config_files
from vtsserving.exceptions import ConfigurationError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's file, and an empty user's folder; the test runs in the project."""
    (tmp_path / "user" / "vtsserving").mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("VTSSERVING_HOME")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "vtsserving.toml"


def user_file() -> Path:
    return Path(os.environ["XDG_CONFIG_HOME"]) / "vtsserving" / "config.toml"


def shown(*arguments: str, env: dict[str, str] | None = None) -> dict[str, tuple[str, str]]:
    ended = run_process("config", "show", "-o", "json", *arguments, env=env)
    assert ended.code == 0, ended.err
    return {row["variable"]: (row["value"], row["origin"]) for row in json.loads(ended.out)}


def test_environment_beats_project_beats_user_beats_default(project: Path) -> None:
    project.write_text('[gateway]\nport = 8080\nhost = "0.0.0.0"\n')
    user_file().write_text('[gateway]\nport = 9090\nmax_rows = 7\nhost = "::"\n')
    rows = shown("gateway", env={"VTSSERVING_GATEWAY__HOST": "127.0.0.9"})
    assert rows["VTSSERVING_GATEWAY__HOST"] == ("127.0.0.9", "environment")
    assert rows["VTSSERVING_GATEWAY__PORT"] == ("8080", str(project))
    assert rows["VTSSERVING_GATEWAY__MAX_ROWS"] == ("7", str(user_file()))
    assert rows["VTSSERVING_GATEWAY__MAX_HEADERS"][1] == "default"


def test_secrets_are_not_shown(project: Path) -> None:
    project.write_text('store_token = "s3cret"\n[s3]\nsecret_key = "s3cret"\n')
    ended = run_process("config", "show", env={"VTSSERVING_NATS_PASSWORD": "s3cret"})
    assert ended.code == 0
    assert "s3cret" not in ended.out + ended.err
    assert ended.out.count("**********") == 3


def test_commands_follow_the_files(project: Path, tmp_path: Path) -> None:
    project.write_text(f'home = "{tmp_path}/elsewhere"\nstore_url = "http://127.0.0.1:9"\n')
    assert run_process("models", "get", "x").err.count(f"{tmp_path}/elsewhere") == 1
    assert run_process("models", "pull", "x").code == 7


def test_file_of_another_name_is_taken_from_the_environment(project: Path, tmp_path: Path) -> None:
    project.write_text("[gateway]\nport = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("[gateway]\nport = 2\n")
    rows = shown("gateway", env={"VTSSERVING_CONFIG": str(other)})
    assert rows["VTSSERVING_GATEWAY__PORT"] == ("2", str(other))
    ended = run_process("config", "show", env={"VTSSERVING_CONFIG": "/no/such/file"})
    assert ended.code == 2


def test_unknown_settings_are_named(project: Path) -> None:
    project.write_text("[gatway]\nport = 1\n")
    ended = run_process("config", "show")
    assert ended.code == 0
    assert "VTSSERVING_GATWAY__PORT" in ended.err


def test_unknown_section_is_a_usage_error(project: Path) -> None:
    ended = run_process("config", "show", "gatway")
    assert ended.code == 2
    assert "gateway" in ended.err


BAD_FILES = [
    "port = ",
    "port = \xff",
    "Port = 1",
    '"a b" = 1',
    "[a]\nb = [[1]]",
    'a = ["x,y"]',
    "when = 2024-01-01",
    "a = 1\na = 2",
]


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_bad_file_is_one_line_that_names_it(text: str, project: Path) -> None:
    project.write_bytes(text.encode("latin-1"))
    ended = run_process("models", "list")
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1
    assert "vtsserving.toml" in ended.err


def test_values_become_what_the_environment_would_say(project: Path) -> None:
    project.write_text(
        'text = "a"\nnumber = 1.5\nyes = true\nno = false\nseveral = ["a", "b"]\n[a.b]\nc = 1\n'
    )
    environ = {"XDG_CONFIG_HOME": "/nowhere", "VTSSERVING_NUMBER": "2"}
    taken = config_files.apply(environ)
    assert {name.removeprefix("VTSSERVING_"): value for name, value in environ.items() if name in taken} == {
        "TEXT": "a", "YES": "true", "NO": "false", "SEVERAL": "a,b", "A__B__C": "1",
    }  # fmt: skip
    assert environ["VTSSERVING_NUMBER"] == "2"


def test_a_huge_file_is_refused(project: Path) -> None:
    project.write_bytes(b"#" * (config_files.MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigurationError):
        config_files.apply({"XDG_CONFIG_HOME": "/nowhere"})
