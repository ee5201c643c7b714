"""Which GPU each process of a model sees."""

from __future__ import annotations

import pytest

from vtsserving.exceptions import IncompatibleEnvironment
from vtsserving_runner.process.devices import CPU, VISIBLE, Device, assign, visible_gpus

pytestmark = pytest.mark.fast


def names(devices: list[Device]) -> list[tuple[str, str]]:
    return [(device.name, device.variables[VISIBLE]) for device in devices]


@pytest.mark.parametrize(
    ("wanted", "replicas", "expected"),
    [
        ("cpu", 2, [("cpu", ""), ("cpu", "")]),
        ("cuda:1", 2, [("cuda:0", "7"), ("cuda:0", "7")]),
        ("cuda", 3, [("cuda:0", "4"), ("cuda:0", "7"), ("cuda:0", "4")]),
        (("cuda:1", "cuda:0"), 3, [("cuda:0", "7"), ("cuda:0", "4"), ("cuda:0", "7")]),
        (("cuda:0", "cpu"), 2, [("cuda:0", "4"), ("cpu", "")]),
        (None, 3, [("", "4"), ("", "7"), ("", "4")]),
    ],
    ids=str,
)
def test_replicas_get_their_devices_in_turn(wanted, replicas, expected):
    assert names(assign(wanted, replicas, ["4", "7"])) == expected


def test_without_a_gpu_a_model_that_names_no_device_computes_on_the_cpu():
    assert assign(None, 2, []) == [CPU, CPU]


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", ("cpu", "cuda:0")], ids=str)
def test_a_wanted_gpu_that_is_not_there_is_an_error_and_not_the_cpu(wanted):
    with pytest.raises(IncompatibleEnvironment, match="no GPU"):
        assign(wanted, 2, [])


def test_a_number_beyond_the_last_gpu_names_both():
    with pytest.raises(IncompatibleEnvironment, match=r"cuda:2.*only 2"):
        assign("cuda:2", 1, ["0", "1"])


def test_an_unknown_device_is_named():
    with pytest.raises(IncompatibleEnvironment, match="abacus"):
        assign("abacus", 1, ["0"])


@pytest.mark.parametrize(
    ("value", "gpus"),
    [
        ("", []),
        ("3", ["3"]),
        ("2, 0", ["2", "0"]),
        ("-1", []),
        ("1,-1,2", ["1"]),
        ("GPU-a,GPU-b", ["GPU-a", "GPU-b"]),
    ],
)
def test_what_cuda_is_told_to_see_is_what_there_is(value, gpus, tmp_path):
    assert visible_gpus({VISIBLE: value}, tmp_path) == gpus


def test_otherwise_the_device_files_are_counted(tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert visible_gpus({}, tmp_path) == ["0", "1"]
    assert visible_gpus({}, tmp_path / "none") == []
