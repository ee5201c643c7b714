"""Free memory: of the machine and of the container, whichever is less."""

from __future__ import annotations

from pathlib import Path

import pytest

from vtsserving_runner.models.memory import free_bytes

pytestmark = pytest.mark.fast

MIB = 1 << 20


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    cgroup.mkdir()
    (proc / "meminfo").write_text(f"MemTotal: 9999999 kB\nMemAvailable:    {500 * 1024} kB\n")
    return proc, cgroup


def test_without_a_limit_the_machine_decides(machine):
    assert free_bytes(*machine) == 500 * MIB


def test_a_container_limit_counts_without_its_reclaimable_cache(machine):
    _, cgroup = machine
    (cgroup / "memory.max").write_text(f"{300 * MIB}\n")
    (cgroup / "memory.current").write_text(f"{250 * MIB}\n")
    (cgroup / "memory.stat").write_text(f"anon 5\ninactive_file {20 * MIB}\n")
    assert free_bytes(*machine) == 70 * MIB


def test_an_old_kind_of_container_limit_counts_too(machine):
    _, cgroup = machine
    folder = cgroup / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text(f"{100 * MIB}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{90 * MIB}\n")
    assert free_bytes(*machine) == 10 * MIB


def test_no_limit_in_a_container_leaves_it_to_the_machine(machine):
    _, cgroup = machine
    (cgroup / "memory.max").write_text("max\n")
    (cgroup / "memory.current").write_text("5\n")
    assert free_bytes(*machine) == 500 * MIB


def test_more_used_than_allowed_is_nothing_left(machine):
    _, cgroup = machine
    (cgroup / "memory.max").write_text("10")
    (cgroup / "memory.current").write_text("20")
    assert free_bytes(*machine) == 0


def test_this_machine_has_some_memory():
    assert free_bytes() > MIB
