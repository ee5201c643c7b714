"""Groups of frameworks: each mark names groups that there are, and a choice brings what it needs."""

from __future__ import annotations

import re
import sys

import pytest

from support.framework_groups import of_module
from support.source_tree import REPOSITORY
from vtsserving._saving.framework import MODULES

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def script() -> object:
    sys.path.insert(0, str(REPOSITORY / "scripts"))
    try:
        import test_frameworks
    finally:
        sys.path.pop(0)
    return test_frameworks


@pytest.fixture(scope="module")
def known(script) -> dict[str, object]:
    return script.groups(script.VERSIONS.read_text())


def test_every_mark_names_groups_that_there_are(known):
    bare, named = [], set()
    for path in (REPOSITORY / "tests").rglob("*.py"):
        if path.name != "test_framework_groups.py":
            text = path.read_text()
            bare += [path.name for _ in re.findall(r"mark\.frameworks\b(?!\()", text)]
            for arguments in re.findall(r"mark\.frameworks\(([^*)]*)\)", text):
                named |= set(re.findall(r'"(\w+)"', arguments))
    assert bare == []
    assert named
    assert named <= set(known)


def test_every_framework_module_has_a_group_unless_every_test_has_it(known):
    light = {"sklearn", "picklable_model"}
    assert {group for module in MODULES if module not in light for group in of_module(module)} <= set(known)


def test_a_choice_brings_what_it_needs_in_the_order_of_the_file(script, known):
    assert [group.name for group in script.chosen(known, ["transformers"])] == ["torch", "transformers"]
    assert [group.name for group in script.chosen(known, [])] == list(known)
    with pytest.raises(SystemExit, match="no group 'pytorch'; there are torch, "):
        script.chosen(known, ["pytorch"])


def test_groups_that_cannot_live_together_have_environments_apart(script, known):
    parts = script.by_environment(script.chosen(known, []))
    assert set(parts) == {"main", "gcs"}
    assert [group.name for group in parts["gcs"]] == ["gcs"]


def test_continuous_integration_runs_groups_that_there_are_after_all_other_tests(known):
    text = (REPOSITORY / ".ci" / "run").read_text()
    (chosen,) = re.findall(r"make test-frameworks FRAMEWORKS=(\S+)", text)
    assert set(chosen.split(",")) <= set(known)
    assert text.index("make test\n") < text.index("make test-frameworks")
