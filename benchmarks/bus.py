"""The bus against stock nats-py: round trips between two processes over a real nats-server, 2 KB each way.

Shows what is gained by handling a message inside the read that completes it; libs/common/vtsserving/bus has the code.
usage: python -m benchmarks.bus [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import nats
import uvloop
from tests.support.nats_server import NatsServer
from tests.support.provenance import commit, machine

from vtsserving._bus import Message
from vtsserving._bus.nats import NatsBus

PAYLOAD: Final = bytes(2_048)
CASES: Final = ((1, 4_000), (64, 60_000))
"""(round trips in flight, round trips)."""

Publish = Callable[[str, bytes, str], None]
Subscribe = Callable[[str, Callable[[Message], None]], Awaitable[Any]]


async def ours(url: str) -> tuple[Publish, Subscribe]:
    """The product's bus."""
    bus = await NatsBus.connect(url)
    return lambda subject, payload, reply: bus.publish(subject, payload, reply=reply), bus.subscribe


async def stock(url: str) -> tuple[Publish, Subscribe]:
    """The same calls on nats-py as it comes."""
    client = await nats.connect(url, pending_size=-1)

    def publish(subject: str, payload: bytes, reply: str) -> None:
        step = client.publish(subject, payload, reply=reply)
        try:
            step.send(None)
        except StopIteration:
            return
        raise AssertionError("nats-py waited in publish")

    async def subscribe(subject: str, handler: Callable[[Message], None]) -> None:
        async def deliver(message: Any) -> None:
            handler(Message(message.subject, message.data, message.reply))

        await client.subscribe(subject, cb=deliver)
        # The PING of a flush overtakes a subscription that still waits for nats-py's flusher.
        await client.flush()
        await client.flush()

    return publish, subscribe


KINDS: Final = {"stock nats-py": stock, "vtsserving": ours}


async def echo(kind: str, url: str) -> None:
    """Send everything back, until the process is ended."""
    publish, subscribe = await KINDS[kind](url)
    await subscribe("bench.ping", lambda message: publish(message.reply, bytes(message.payload), ""))
    print("ready", flush=True)
    await asyncio.Event().wait()


async def drive(kind: str, url: str) -> None:
    """Print, for each case: round trips per second, median in microseconds, CPU microseconds of this process."""
    publish, subscribe = await KINDS[kind](url)
    for in_flight, total in CASES:
        figures = await bounce(publish, subscribe, in_flight, total)
        print(in_flight, *figures, flush=True)


async def bounce(
    publish: Publish, subscribe: Subscribe, in_flight: int, total: int
) -> tuple[float, float, float]:
    """One case: round trips per second, their median in microseconds, CPU microseconds of each."""
    reply = f"bench.pong.{in_flight}"
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sent_s: deque[float] = deque()
    taken_s: list[float] = []

    def send() -> None:
        sent_s.append(time.perf_counter())
        publish("bench.ping", PAYLOAD, reply)

    def back(message: Message) -> None:
        taken_s.append(time.perf_counter() - sent_s.popleft())
        if len(taken_s) + len(sent_s) < total:
            send()
        elif not sent_s:
            done.set_result(None)

    await subscribe(reply, back)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(in_flight):
        send()
    await done
    per_s = total / (time.perf_counter() - began_s)
    return per_s, statistics.median(taken_s) * 1e6, (time.process_time() - cpu_s) / total * 1e6


def measure(kind: str, url: str) -> dict[int, tuple[float, ...]]:
    """One round of one kind: in flight -> (per second, p50 us, CPU us)."""
    command = [sys.executable, "-m", "benchmarks.bus", "--url", url, "--kind", kind, "--role"]
    with subprocess.Popen([*command, "echo"], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            out = subprocess.run([*command, "drive"], check=True, stdout=subprocess.PIPE, text=True).stdout
        finally:
            server.terminate()
    rows = [[float(word) for word in line.split()] for line in out.splitlines()]
    return {int(row[0]): tuple(row[1:]) for row in rows}


def main() -> None:
    """Interleave the rounds of both kinds; print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--role", choices=("echo", "drive"))
    parser.add_argument("--kind", choices=tuple(KINDS))
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.role:
        uvloop.run({"echo": echo, "drive": drive}[options.role](options.kind, options.url))
        return
    with tempfile.TemporaryDirectory() as folder, NatsServer(Path(folder)) as server:
        rounds = [(kind, measure(kind, server.url)) for _ in range(options.rounds) for kind in KINDS]
    print(f"commit {commit()}; {machine()}; medians of {options.rounds}\n")
    print("| in flight | bus | round trips/s | p50 us | CPU us of the sender |\n|---|---|---|---|---|")
    for in_flight, _ in CASES:
        for kind in KINDS:
            figures = [result[in_flight] for name, result in rounds if name == kind]
            per_s, p50_us, cpu_us = (statistics.median(column) for column in zip(*figures, strict=True))
            print(f"| {in_flight} | {kind} | {per_s:,.0f} | {p50_us:.0f} | {cpu_us:.1f} |")


if __name__ == "__main__":
    main()
