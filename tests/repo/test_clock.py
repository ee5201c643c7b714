"""Time is read in one place, so that a virtual clock can take its place everywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support.source_tree import imports, modules, within
from vtsserving import _clock

READS: Final = {"now", "utcnow", "today"}
"""Methods of `datetime` and `date` that read a clock."""


def reads_of_datetime(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READS:
            yield f"{path.name}:{node.lineno} calls .{node.func.attr}()"


def test_nobody_but_the_clock_imports_time() -> None:
    found = [module for module, path in modules() if any(within(name, "time") for name in imports(path))]
    assert found == ["vtsserving._clock"]


def test_nobody_asks_datetime_for_the_time() -> None:
    assert [read for _, path in modules() for read in reads_of_datetime(path)] == []


def test_a_clock_of_ones_own_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped:
        waited_s = 0.0

        def monotonic(self) -> float:
            return 5.0 + self.waited_s

        def monotonic_ns(self) -> int:
            return int(self.monotonic() * 1e9)

        def time(self) -> float:
            return 1_700_000_000.0 + self.waited_s

        def sleep(self, seconds: float, /) -> None:
            self.waited_s += seconds

    for name in ("monotonic_s", "monotonic_ns", "wall_s", "sleep"):
        monkeypatch.setattr(_clock, name, getattr(_clock, name))  # undone at the end
    _clock.use(Stopped())
    _clock.sleep(10.0)
    assert (_clock.monotonic_s(), _clock.monotonic_ns()) == (15.0, 15_000_000_000)
    assert _clock.now_utc().isoformat() == "2023-11-14T22:13:30+00:00"
