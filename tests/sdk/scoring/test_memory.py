"""How much memory a run takes: the same, however large the file is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.scored_models import save_trouble

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]

PROGRAM = """
import json, resource, sys
import vtsserving
vtsserving.predict_file("trouble", *sys.argv[1:3], columns=json.loads(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
MORE_MIB = 96
"""A few chunks of 8 MiB, with copies."""


def peak_mib(source: Path, target: Path, columns: list[str] | None = None) -> int:
    argv = [sys.executable, "-c", PROGRAM, str(source), str(target), json.dumps(columns)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, env=dict(os.environ))
    return int(done.stdout)


def test_an_array_of_half_a_gigabyte_takes_little_more_than_a_small_one(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    np.save(tmp_path / "small.npy", np.ones((10, 2)))
    large = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.float64, (32 * 2**20, 2))
    large[::4_096] = 2.0
    large.flush()
    del large
    small_mib = peak_mib(tmp_path / "small.npy", tmp_path / "out.npy")
    large_mib = peak_mib(tmp_path / "large.npy", tmp_path / "out.npy")
    assert large_mib < small_mib + MORE_MIB
    found = np.load(tmp_path / "out.npy", mmap_mode="r")
    assert found.shape == (32 * 2**20, 2)
    assert [float(found[0, 0]), float(found[1, 0]), float(found[4_096, 1])] == [4.0, 0.0, 4.0]


def test_long_records_of_csv_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    names = ["a", "b"]
    (tmp_path / "small.csv").write_text("a,b,text\n1,2,x\n")
    with (tmp_path / "large.csv").open("w") as file:
        file.write("a,b,text\n")
        for number in range(128):
            file.write(f'{number},2,"{"x" * 2**20}\n"\n')
    small_mib = peak_mib(tmp_path / "small.csv", tmp_path / "out.csv", names)
    large_mib = peak_mib(tmp_path / "large.csv", tmp_path / "out.csv", names)
    assert large_mib < small_mib + MORE_MIB
    found = np.loadtxt(tmp_path / "out.csv", delimiter=",", skiprows=1)
    assert np.array_equal(found[:, 0], np.arange(128) * 2)
