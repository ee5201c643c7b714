"""Every log line is an event: a name that can be searched for, and fields beside it."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator

import pytest

from support.source_tree import modules

LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")
EVENT = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
RESERVED = {"message", "asctime", *vars(logging.makeLogRecord({}))}
"""Names of fields that logging itself sets; it raises a KeyError for these."""


def is_log_call(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = node.func.value
    name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
    return node.func.attr in LEVELS and name in ("_log", "log", "_logger", "logger", "logging")


def log_calls(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.Call]]:
    """Log calls below a node, each with the function that it stands in."""
    for node in ast.iter_child_nodes(tree):
        inner = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if is_log_call(node):
            assert isinstance(node, ast.Call)
            yield inner, node
        yield from log_calls(node, inner)


def first_argument(call: ast.Call) -> str:
    """As text; empty for what is not a constant string."""
    value = call.args[0] if call.args else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def name_of(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def package(module: str) -> str:
    return module.partition(".")[0]


def offences(sources: list[tuple[str, str]]) -> list[str]:
    """What is not an event with fields, as `module:line: why`.

    A function may hand its parameter `event` on to the log; then those in its package who call it are looked at.
    """
    found: list[str] = []
    trees = [(module, ast.parse(text)) for module, text in sources]
    handing_on: set[tuple[str, str]] = set()
    for module, tree in trees:
        for function, call in log_calls(tree):
            where = f"{module}:{call.lineno}"
            first = call.args[0] if call.args else None
            if isinstance(first, ast.Name) and first.id == "event":
                handing_on.add((package(module), function))
            elif not EVENT.fullmatch(first_argument(call)):
                found.append(f"{where}: the first argument is not the name of an event")
            if len(call.args) > 1:
                found.append(f"{where}: values belong into `extra`")
            for keyword in call.keywords:
                if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
                    keys = {key.value for key in keyword.value.keys if isinstance(key, ast.Constant)}
                    found += [f"{where}: logging sets the field {key!r}" for key in keys & RESERVED]
    for module, tree in trees:
        found += [
            f"{module}:{call.lineno}: {name_of(call)} is not called with the name of an event"
            for call in ast.walk(tree)
            if isinstance(call, ast.Call)
            and (package(module), name_of(call)) in handing_on
            and not is_log_call(call)
            and call.args
            and not EVENT.fullmatch(first_argument(call))
        ]
    return found


def test_every_log_line_is_an_event_with_fields() -> None:
    sources = [(module, path.read_text()) for module, path in modules()]
    assert sum(text.count("_log.") for _, text in sources) > 50
    assert offences(sources) == []


@pytest.mark.parametrize(
    "line",
    [
        '_log.info("a sentence")',
        '_log.info("bad_frame code=%s", 1)',
        '_log.info("bad_frame", 1)',
        '_log.info(f"bad_{code}")',
        '_log.info("bad_frame", extra={"name": 1})',
        "def tell(event): _log.info(event)\ntell('a sentence')",
    ],
)
def test_other_lines_are_found(line: str) -> None:
    assert len(offences([("module", line)])) >= 1
