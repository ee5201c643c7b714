"""Run the tests in two passes: those that wait beside each other, then those that measure, one at a time.

Tests marked `alone` measure time, load or memory: beside others they would measure the neighbours. All others run in
several pytest-xdist workers, a file in one of them, so that what one of them waits for costs nobody else anything.
Both passes run even if the first finds failures; the exit status is that of the first pass that failed.

usage: scripts/run_tests.py [--workers N] [what pytest takes; a `-m` narrows the choice further]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

REPOSITORY: Final = Path(__file__).resolve().parents[1]
CHOSEN: Final = "not frameworks and not gpu and not compose"
WORKERS_PER_CPU: Final = 2
"""Most tests wait for processes, sockets and timeouts; measured on two processors, see CONTRIBUTING.md."""
MAX_WORKERS: Final = 16
NOTHING_CHOSEN: Final = 5
STOPPED: Final = (2, 3, 4)
"""pytest's exit statuses for an interrupt, an internal error and wrong arguments: another pass would be no use."""
CLOSING_LINE: Final = re.compile(r"^(?:=+ )?(.*\d.*) in [\d.]+s\b", re.MULTILINE)
OUTCOMES: Final = ("passed", "failed", "skipped", "xfailed", "xpassed", "error", "errors")
COLOURS: Final = re.compile(r"\x1b\[[\d;]*m")


class Pass(NamedTuple):
    """One run of pytest: what to say about it, and its arguments."""

    title: str
    arguments: tuple[str, ...]


def passes(workers: int, narrowed: str) -> list[Pass]:
    """Both passes.

    Args:
        workers: of the first one; at most 1 means no workers.
        narrowed: an expression of marks that the tests have to meet, too; empty for none.
    """
    chosen = CHOSEN if not narrowed else f"{CHOSEN} and ({narrowed})"
    beside = ("-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder") if workers > 1 else ()
    return [
        Pass(f"beside each other, {workers} workers", (*beside, "-m", f"{chosen} and not alone")),
        Pass("alone", ("-m", f"{chosen} and alone")),
    ]


def counted(output: str) -> Counter[str] | None:
    """The numbers in pytest's closing line, such as passed=3; None without such a line."""
    found = CLOSING_LINE.findall(COLOURS.sub("", output))
    if not found:
        return None
    pairs = re.findall(r"(\d+) ([a-z]+)", found[-1])
    return Counter({word.removesuffix("s"): int(number) for number, word in pairs if word in OUTCOMES})


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run pytest, show what it writes as it comes, and return its exit status with that."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--color={'yes' if sys.stdout.isatty() else 'auto'}",
        *arguments,
    ]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    written = bytearray()
    while True:
        try:
            chunk = os.read(process.stdout.fileno(), 1 << 16)
        except KeyboardInterrupt:
            continue  # pytest got it, too, and says where it stopped
        if not chunk:
            break
        written += chunk
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return process.wait(), written.decode(errors="replace")


def status_of(codes: Sequence[int]) -> int:
    """One exit status for those of the passes: nothing chosen is a mistake only where no pass chose any."""
    failed = [code for code in codes if code not in (0, NOTHING_CHOSEN)]
    if failed:
        return failed[0]
    return NOTHING_CHOSEN if all(code == NOTHING_CHOSEN for code in codes) else 0


def main(arguments: Sequence[str]) -> int:
    """Run both passes and say how many tests that were."""
    parser = argparse.ArgumentParser(usage=(__doc__ or "").rpartition("usage: ")[2].strip(), add_help=False)
    usable = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=min(MAX_WORKERS, usable * WORKERS_PER_CPU))
    parser.add_argument("-m", dest="narrowed", default="")
    ours, others = parser.parse_known_args(arguments)
    # Without compiled modules each of the thousands of processes that the tests start would compile its own.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    codes: list[int] = []
    total: Counter[str] = Counter()
    began_s = time.monotonic()
    for title, own in passes(ours.workers, ours.narrowed):
        print(f"tests: {title}", flush=True)
        code, output = run([*own, *others], environment)
        codes.append(code)
        counts = counted(output)
        if counts is None and code in (0, 1):
            print("tests: pytest did not say how many ran", file=sys.stderr)
            codes.append(1)
        total += counts or Counter()
        if code in STOPPED:
            break
    details = ", ".join(f"{number} {word}" for word, number in total.most_common()) or "nothing ran"
    ran = total.total() - total["error"]  # an error comes before or after a test, which counts by itself
    print(f"tests: {ran} in all ({details}) in {time.monotonic() - began_s:.0f} s", flush=True)
    return status_of(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
