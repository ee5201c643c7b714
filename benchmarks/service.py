"""What a Service's function costs beside the native route of the same model, in the same process.

Rounds of the routes are interleaved; every answer is checked. usage: python -m benchmarks.service [--rounds N]
[--measure-s S] [--clients N...] [--dry]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks import ratios
from benchmarks.run import PREDICT, WORK, System, write_cases
from examples.demo import Processes, free_port, train_and_save, wait_ready
from tests.support.provenance import REPOSITORY, commit, machine

RESULTS: Final = REPOSITORY / "benchmarks" / "service.md"
ROUTES: Final = {"native": PREDICT, "async function": "/classify_async", "sync function": "/classify"}
CLIENTS: Final = (1, 16, 64)
TARGET: Final = 1.6


def serve(processes: Processes) -> list[System]:
    """`vtsserving serve` with the Service; its routes as systems."""
    port = free_port()
    target = str(REPOSITORY / "benchmarks" / "service_app.py") + ":svc"
    command = [sys.executable, "-m", "vtsserving_cli", "serve", target, "--port", str(port)]
    served = processes.start("service", command, {"VTSSERVING_HOME": str(WORK)})
    wait_ready(served, port)
    return [System(name, port, path, (served.process.pid,)) for name, path in ROUTES.items()]


def start(processes: Processes, clients: Sequence[int]) -> list[ratios.Asked]:
    """The server, and its routes by the number of clients."""
    cases = write_cases(*train_and_save())
    systems = serve(processes)
    return [ratios.Asked(count, one.name, one, cases, count) for count in clients for one in systems]


def main() -> int:
    parser = ratios.parser("A Service's function beside the native route.", measure_s=2.0)
    parser.add_argument("--clients", type=int, nargs="*", default=CLIENTS)
    options = parser.parse_args()
    columns = {"size": "clients", "name": "route", "base": "native"}
    return ratios.run(options, lambda one: start(one, options.clients), columns, RESULTS, page)


def page(lines: list[str], rounds: int, measure_s: float) -> str:
    """The whole of service.md."""
    head = [
        "# A Service's function beside the native route",
        "",
        "<!-- Written by `python -m benchmarks.service`. -->",
        "",
        f"- Commit {commit()}; machine: {machine()}. The load generator runs on the same cores;",
        f"  {os.getloadavg()[1]:.0f} processes were ready to run on average, others of the machine included.",
        f"- Method: as in results.md; medians of {rounds} interleaved rounds of {measure_s:g} s; all routes in one",
        "  `vtsserving serve` process. CPU is that of the process and its model process.",
        f"- The functions make one runner call (benchmarks/service_app.py). Target: at most {TARGET:g} x native.",
        "",
    ]
    return "\n".join([*head, *lines]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
