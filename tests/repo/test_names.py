"""One meaning per name: a class name stands once in the product, unless its classes implement one protocol."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

from support.source_tree import modules

pytestmark = pytest.mark.fast

OF_ONE_PROTOCOL = {
    "_Collector": "prometheus_client.registry.Collector",
    "_Subscription": "vtsserving._bus.interface.Subscription",
    "Failure": "the frame is called so in docs/wire.md; pickles of 0.1 name the client's error",
}


def test_a_class_name_stands_once() -> None:
    places = defaultdict(list)
    for module, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in OF_ONE_PROTOCOL} == {}


def test_no_file_is_named_after_what_it_is_not() -> None:
    vague = {"utils", "util", "helpers", "helper", "misc", "common", "manager", "base_utils"}
    assert [module for module, _ in modules() if module.rpartition(".")[2].strip("_") in vague] == []
