"""What the README tells people to type exists and works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.source_tree import REPOSITORY

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    *(f"docs/{p.name}" for p in (REPOSITORY / "docs").glob("*.md")),
]
VTSSERVING = str(Path(sys.executable).with_name("vtsserving"))


def text(page: str) -> str:
    return (REPOSITORY / page).read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)


def commands(page: str, program: str) -> list[str]:
    shell = "\n".join(
        [*blocks(page, "sh"), *blocks(page, "console"), *re.findall(r"`([^`\n]+)`", text(page))]
    )
    return re.findall(rf"^(?:\$ )?(?:[\w./]*/)?{program} ([a-z][^#\n]*)", shell, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    named = {word for command in commands(page, "make") for word in command.split() if "=" not in word}
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_vtsserving_command_that_a_page_names_exists(page: str) -> None:
    unknown = []
    for command in sorted({" ".join(plain_words(c)) for c in commands(page, "vtsserving")}):
        done = subprocess.run(
            [VTSSERVING, *command.split(), "--help"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            unknown.append(command)
    assert unknown == []


def plain_words(command: str) -> list[str]:
    """`models get iris_clf:latest` -> models, get: groups and commands, without their arguments."""
    words = re.match(r"[a-z]+(?: [a-z]+)?(?=$| )", command)
    first, *rest = words.group(0).split() if words else [""]
    return [first, *rest] if first in ("models", "store", "config", "services") else [first]


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    folder = (REPOSITORY / page).parent
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text(page))
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []


def test_the_first_two_commands_are_the_demo_and_the_tests() -> None:
    first = [line.split("#")[0].strip() for line in blocks("README.md", "sh")[0].splitlines()]
    assert first[:2] == ["make demo", "make test"]


def test_the_example_runs_as_it_stands(tmp_path: Path) -> None:
    (example,) = blocks("README.md", "python")
    script = tmp_path / "example.py"
    script.write_text(example)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert 'Model(tag="iris_clf:' in done.stdout
