"""The command line as a process: what it imports, how it ends, and that it never waits for nobody."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.archives import save_model
from support.command_line import CommandLine, Terminal, command, run_process
from vtsserving._local_store.store import LocalStore
from vtsserving.version import __version__
from vtsserving_cli.app import build

HEAVY = (
    "numpy",
    "pydantic",
    "fastapi",
    "uvicorn",
    "nats",
    "sklearn",
    "pandas",
    "fsspec",
    "rich",
    "zstandard",
    "minio",
)


def loaded_by(*arguments: str) -> set[str]:
    """The top-level modules that a command imports."""
    program = (
        "import sys\n"
        "from vtsserving_cli.main import run\n"
        f"code = run({list(arguments)!r})\n"
        "print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(ended.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("models", "list"),
        ("models", "get", "iris_clf"),
        ("models", "delete", "iris_clf:latest", "-y"),
        ("models", "-h"),
    ],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(arguments: tuple[str, ...], store: LocalStore) -> None:
    save_model(store)
    assert loaded_by(*arguments).isdisjoint(HEAVY)


def test_version_does_not_even_import_typer() -> None:
    assert loaded_by("--version").isdisjoint({*HEAVY, "typer", "yaml"})


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(flag: str) -> None:
    assert run_process(flag) == (0, f"vtsserving {__version__}\n", "")


def test_console_script_is_installed() -> None:
    script = Path(sys.executable).parent / "vtsserving"
    ended = subprocess.run([script, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == f"vtsserving {__version__}\n"


def command_lines() -> list[tuple[str, ...]]:
    """Every command and group that there is, as one types it."""
    import typer

    found, open_groups = [], [((), typer.main.get_command(build([])))]
    while open_groups:
        line, group = open_groups.pop()
        found.append(line)
        open_groups += [((*line, name), command) for name, command in getattr(group, "commands", {}).items()]
    return sorted(found)


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("line", command_lines(), ids=lambda line: " ".join(line) or "vtsserving")
def test_every_command_has_examples_that_name_it(line: tuple[str, ...], flag: str, vts: CommandLine) -> None:
    ended = vts(*line, flag)
    assert ended.code == 0
    assert ended.err == ""
    examples = ended.out.partition("Examples:\n")[2].splitlines()
    assert examples
    assert any(" ".join(("vtsserving", *line)) in example for example in examples)


@pytest.mark.parametrize("name", ["delete", "prune", "push", "pull", "verify"])
def test_the_usage_line_says_what_may_be_repeated(name: str, vts: CommandLine) -> None:
    assert "...]" in vts("models", name, "--help").out.splitlines()[0]


def test_top_help_lists_the_groups(vts: CommandLine) -> None:
    ended = vts("--help")
    assert ended.code == 0
    assert "models" in ended.out
    assert "Examples:" in ended.out


@pytest.mark.parametrize("arguments", [(), ("models",)], ids=["top", "group"])
def test_no_command_prints_the_help(arguments: tuple[str, ...]) -> None:
    ended = run_process(*arguments)
    assert ended.code == 2
    assert "Usage:" in ended.out + ended.err
    assert "Error" not in ended.err


def test_near_commands_are_offered(vts: CommandLine) -> None:
    ended = vts("models", "lst")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "Error: No such command 'lst'. Did you mean 'list'? See vtsserving models --help\n"


def test_debug_shows_the_traceback(store: LocalStore) -> None:
    for arguments in (("--debug", "models", "get", "x"), ("models", "get", "x", "--debug")):
        ended = run_process(*arguments)
        assert ended.code == 1
        assert "Traceback" in ended.err
        assert "ModelNotFound" in ended.err


def test_no_terminal_and_no_yes_is_an_error_not_a_hang(store: LocalStore) -> None:
    save_model(store)
    ended = run_process("models", "delete", "iris_clf:latest")
    assert ended.code == 2
    assert ended.err == "Error: there is no terminal to ask on; add --yes to go on without asking\n"
    assert len(store.list()) == 1


def test_a_terminal_is_asked(store: LocalStore) -> None:
    saved = save_model(store)
    terminal = Terminal("models", "delete", "iris_clf")
    terminal.wait_for("[y/N]")
    assert str(saved.tag) in terminal.text
    terminal.write("n\n")
    assert terminal.end() == 1
    assert len(store.list()) == 1

    terminal = Terminal("models", "delete", "iris_clf")
    terminal.wait_for("[y/N]")
    terminal.write("y\n")
    assert terminal.end() == 0
    assert store.list() == []


def test_a_question_that_ends_without_an_answer_leaves_the_error_a_line_of_its_own(store: LocalStore) -> None:
    save_model(store)
    terminal = Terminal("models", "delete", "iris_clf", env={"NO_COLOR": "1"})
    terminal.wait_for("[y/N]")
    terminal.write("\x04")
    assert terminal.end() == 130
    assert terminal.text.splitlines()[-1] == "Error: interrupted"
    assert len(store.list()) == 1


def test_the_question_says_that_a_bare_name_means_all_versions(store: LocalStore) -> None:
    save_model(store)
    save_model(store)
    save_model(store, tag="other")
    for target, question in (
        ("iris_clf", "Delete all 2 versions of iris_clf?"),
        ("other", 'Model(tag="other:'),
    ):
        terminal = Terminal("models", "delete", target)
        terminal.wait_for(question)
        terminal.write("n\n")
        assert terminal.end() == 1


def test_output_that_cannot_be_written_is_one_line(store: LocalStore) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            command("models", "list"), stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    assert ended.returncode == 9
    assert ended.stderr == "Error: the output cannot be written: No space left on device\n"


def test_interrupt_at_the_question_is_130(store: LocalStore) -> None:
    save_model(store)
    terminal = Terminal("models", "delete", "iris_clf")
    terminal.wait_for_question("[y/N]")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.text
    assert len(store.list()) == 1


def test_interrupt_in_an_import_is_130_and_leaves_nothing(store: LocalStore, tmp_path: Path) -> None:
    """The server never answers, so the signal finds the command waiting."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(StuckServer())
        process = subprocess.Popen(command("models", "import", server.url), stderr=subprocess.PIPE, text=True)
        server.accept()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "Error: interrupted\n"
    assert store.list() == []


def test_interrupt_while_a_module_makes_its_dataclasses_is_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPython calls an interrupt inside `exec` of text unhandled, although it was caught, and ends by the signal."""
    (tmp_path / "interrupted.py").write_text(
        "from vtsserving_cli import main\n"
        "main._run_app = lambda argv: exec('raise KeyboardInterrupt')\n"
        "main.main(['models'])\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = subprocess.run(
        [sys.executable, "-m", "interrupted"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (process.returncode, process.stderr) == (130, "Error: interrupted\n")


class StuckServer:
    """A server that takes a request and never answers."""

    def __enter__(self) -> StuckServer:
        import socket

        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/m"
        return self

    def accept(self) -> None:
        """Return when the request is here."""
        self._connection, _ = self._socket.accept()
        self._connection.recv(65_536)

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._socket.close()


def test_a_reader_that_leaves_is_no_error(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """More output than a pipe holds, to a reader that takes one line."""
    # Unbuffered, Python writes once and drops what a pipe did not take, so that it would not notice.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    for number in range(3):
        save_model(store, labels={f"label-{n}": "v" * 500 for n in range(number, 300)})
    process = subprocess.Popen(
        command("models", "list", "-o", "json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=20) == 141
    assert err == ""


@pytest.mark.parametrize(
    ("env", "arguments", "colored"),
    [
        ({}, (), True),
        ({"NO_COLOR": "1"}, (), False),
        ({"TERM": "dumb"}, (), False),
        ({}, ("--no-color",), False),
    ],
    ids=["terminal", "NO_COLOR", "dumb", "flag"],
)
def test_colours_are_for_terminals_that_want_them(
    env: dict[str, str], arguments: tuple[str, ...], colored: bool, store: LocalStore
) -> None:
    terminal = Terminal("models", "get", "nothing", *arguments, env={"TERM": "xterm", **env})
    terminal.end()
    assert ("\x1b[" in terminal.text) is colored


def test_redirected_errors_have_no_colours(store: LocalStore) -> None:
    assert "\x1b" not in run_process("models", "get", "nothing").err


def test_progress_is_for_terminals_only(store: LocalStore, tmp_path: Path) -> None:
    saved = save_model(store)
    assert run_process("models", "export", "iris_clf", str(tmp_path)).err == ""
    terminal = Terminal("models", "export", "iris_clf", str(tmp_path), "--force", env={"TERM": "xterm"})
    assert terminal.end() == 0
    assert f'Model(tag="{saved.tag}") exported to' in re.sub(r"\s+", " ", terminal.text)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_offers_tags(shell: str, store: LocalStore) -> None:
    saved = save_model(store)
    line = "vtsserving models get iris"
    ended = run_process(
        env={
            "_VTSSERVING_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": line,
            "COMP_CWORD": "3",
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_WORD_TO_COMPLETE": "iris",
        }
    )
    assert "iris_clf" in ended.out
    assert str(saved.tag.version) in ended.out


def test_unreadable_store_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = run_process("models", "list", env={"VTSSERVING_HOME": str(tmp_path / "file")})
    assert ended.code == 9
    assert len(ended.err.splitlines()) == 1
