"""What the runner counts, as plain numbers on the hot path; turned into Prometheus text when it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


@dataclass
class RunnerCounters:
    """Numbers since the start of the process."""

    batches: int = 0
    entries: int = 0
    rows: int = 0
    compute_us: int = 0
    nacks: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    unsent: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    load_failures: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    unrouted: int = 0
    bad_frames: int = 0

    def totals(self) -> dict[str, int]:
        """The numbers that a heartbeat carries."""
        return {
            "requests": self.entries,
            "batches": self.batches,
            "rows": self.rows,
            "failures": sum(self.faults.values()),
            "compute_us": self.compute_us,
        }


class ProcessFigures(NamedTuple):
    """One model process, as the metrics show it."""

    model: str
    replica: int
    pid: int
    rss_bytes: int
    batches: int
    warm: bool


class _Collector(Collector):
    def __init__(self, counters: RunnerCounters, processes: Callable[[], Iterable[ProcessFigures]]) -> None:
        self._counters = counters
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        yield from self._totals()
        for name, help_text, counts, label in (
            ("nacks", "Batches refused unread.", self._counters.nacks, "code"),
            ("faults", "Requests answered with an error of the model.", self._counters.faults, "code"),
            ("unsent", "Messages that the bus did not take.", self._counters.unsent, "code"),
            ("process_restarts", "Model processes started again.", self._counters.restarts, "model"),
            ("load_failures", "Models that could not be loaded.", self._counters.load_failures, "model"),
        ):
            family = CounterMetricFamily(f"vtsserving_runner_{name}", help_text, labels=[label])
            for key, count in list(counts.items()):
                family.add_metric([key], count)
            yield family
        yield from self._gauges()

    def _totals(self) -> Iterator[Metric]:
        counters = self._counters
        for name, help_text, value in (
            ("batches", "Batches computed.", counters.batches),
            ("requests", "Requests in those batches.", counters.entries),
            ("rows", "Rows in those batches.", counters.rows),
            ("compute_seconds", "Time of model processes spent on batches.", counters.compute_us / 1e6),
            ("duplicates", "Batches that came twice and were dropped.", counters.duplicates),
            ("replies_unroutable", "Answers whose gateway was gone.", counters.unrouted),
            ("bad_frames", "Frames that could not be read.", counters.bad_frames),
        ):
            yield CounterMetricFamily(f"vtsserving_runner_{name}", help_text, value)

    def _gauges(self) -> Iterator[Metric]:
        labels = ["model", "replica"]
        rss = GaugeMetricFamily(
            "vtsserving_runner_process_resident_bytes", "Memory of a model process.", labels=labels
        )
        held = GaugeMetricFamily(
            "vtsserving_runner_process_batches", "Batches held for a process.", labels=labels
        )
        warm = GaugeMetricFamily("vtsserving_runner_process_warm", "1 when it computes.", labels=labels)
        for process in self._processes():
            names = [process.model, str(process.replica)]
            rss.add_metric(names, process.rss_bytes)
            held.add_metric(names, process.batches)
            warm.add_metric(names, float(process.warm))
        yield from (rss, held, warm)


def exposition(
    counters: RunnerCounters, processes: Callable[[], Iterable[ProcessFigures]]
) -> Callable[[], bytes]:
    """A function that renders the metrics.

    Args:
        counters: to render.
        processes: gives the model processes of the moment.

    Returns:
        Prometheus text, as /metrics serves it.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(counters, processes))
    return lambda: generate_latest(registry)
