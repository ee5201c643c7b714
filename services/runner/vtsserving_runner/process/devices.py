"""On which processor each process of a model computes: names in a model's options to what its process gets to see.

A process sees only the GPU that it may use, under the number 0, so that a library that takes all it finds takes one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from vtsserving.exceptions import IncompatibleEnvironment

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
_CUDA: Final = re.compile(r"cuda(?::([0-9]{1,4}))?")
_NODE: Final = re.compile(r"nvidia[0-9]+")


class Device(NamedTuple):
    """Where one process computes.

    Attributes:
        name: for the framework, `cpu` or `cuda:0`; empty: the best that the process finds.
        variables: of its environment.
    """

    name: str
    variables: Mapping[str, str]


CPU: Final = Device("cpu", {VISIBLE: ""})


def visible_gpus(source: Mapping[str, str], dev: Path = Path("/dev")) -> list[str]:
    """The GPUs that this runner may use, as CUDA names them.

    Args:
        source: the environment; CUDA_VISIBLE_DEVICES restricts what is there.
        dev: where the kernel's device files are.
    """
    listed = source.get(VISIBLE)
    if listed is not None:
        gpus = [gpu.strip() for gpu in listed.split(",")]
        # CUDA ignores everything from the first impossible entry on.
        return gpus[: next((i for i, gpu in enumerate(gpus) if gpu in ("", "-1", "NoDevFiles")), len(gpus))]
    nodes = [node.name for node in dev.iterdir() if _NODE.fullmatch(node.name)] if dev.is_dir() else []
    return [str(i) for i in range(len(nodes))]


def assign(wanted: str | Sequence[str] | None, replicas: int, gpus: Sequence[str]) -> list[Device]:
    """Devices for the processes of a model.

    Args:
        wanted: of the model's options: `cpu`, `cuda` (spread over all), `cuda:N` (the N-th that is visible), or a list
            of them, in turn; None leaves it to the framework, spread over the GPUs if there are any.
        replicas: how many processes.
        gpus: of `visible_gpus`.

    Returns:
        One device for each process.

    Raises:
        IncompatibleEnvironment: this runner does not have a device that is wanted, or does not know its name.
    """
    names = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if not names:
        if not gpus:
            return [CPU] * replicas
        return [Device("", {VISIBLE: gpus[i % len(gpus)]}) for i in range(replicas)]
    return [_device(names[i % len(names)], i // len(names), gpus) for i in range(replicas)]


def _device(name: str, turn: int, gpus: Sequence[str]) -> Device:
    if name == "cpu":
        return CPU
    match = _CUDA.fullmatch(name)
    if match is None:
        raise IncompatibleEnvironment(f"the device {name!r} is not known; use cpu, cuda or cuda:N")
    if not gpus:
        raise IncompatibleEnvironment(f"the model wants {name}, and this runner sees no GPU")
    number = turn % len(gpus) if match[1] is None else int(match[1])
    if number >= len(gpus):
        raise IncompatibleEnvironment(f"the model wants {name}, and this runner sees only {len(gpus)} GPU(s)")
    return Device("cuda:0", {VISIBLE: gpus[number]})
