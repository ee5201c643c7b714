"""What the batcher counts, as plain numbers on the hot path; turned into Prometheus text when it is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BATCH_ROWS_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass
class BatcherCounters:
    """Numbers since the start of the process."""

    entries: int = 0
    batches: int = 0
    batch_rows: Counter[int] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    redispatched: int = 0
    nacked: int = 0
    bad_frames: int = 0

    def count_batch(self, rows: int) -> None:
        """Count one batch that was sent."""
        self.batches += 1
        self.batch_rows[rows] += 1

    def totals(self) -> dict[str, int]:
        """The numbers that a heartbeat carries."""
        return {
            "requests": self.entries,
            "batches": self.batches,
            "rows": sum(size * count for size, count in self.batch_rows.items()),
            "failures": sum(self.ended.values()),
        }


class _Collector(Collector):
    def __init__(self, counters: BatcherCounters, depth: Callable[[], tuple[int, int]]) -> None:
        self._counters = counters
        self._depth = depth

    def collect(self) -> Iterator[Metric]:
        counters = self._counters
        yield CounterMetricFamily(
            "vtsserving_batcher_requests",
            "Requests, or parts of large ones, that were queued.",
            counters.entries,
        )
        ended = CounterMetricFamily(
            "vtsserving_batcher_requests_ended", "Requests that ended here with an error.", labels=["code"]
        )
        for code, count in list(counters.ended.items()):
            ended.add_metric([code], count)
        yield ended
        yield self._batch_rows()
        yield CounterMetricFamily(
            "vtsserving_batcher_redispatched",
            "Requests sent again after a runner was lost.",
            counters.redispatched,
        )
        yield CounterMetricFamily("vtsserving_batcher_nacks", "Batches refused by a runner.", counters.nacked)
        yield CounterMetricFamily(
            "vtsserving_batcher_bad_frames", "Frames that could not be read.", counters.bad_frames
        )
        entries, in_flight = self._depth()
        yield GaugeMetricFamily("vtsserving_batcher_queue_depth", "Requests that wait.", entries)
        yield GaugeMetricFamily(
            "vtsserving_batcher_batches_in_flight", "Batches sent and not done.", in_flight
        )

    def _batch_rows(self) -> Metric:
        rows = sorted(self._counters.batch_rows.items())
        buckets = [(str(limit), sum(n for size, n in rows if size <= limit)) for limit in BATCH_ROWS_BUCKETS]
        buckets.append(("+Inf", sum(n for _, n in rows)))
        return HistogramMetricFamily(
            "vtsserving_batch_size",
            "Rows of the batches that were sent.",
            buckets=buckets,
            sum_value=sum(size * n for size, n in rows),
        )


def exposition(counters: BatcherCounters, depth: Callable[[], tuple[int, int]]) -> Callable[[], bytes]:
    """A function that renders the metrics.

    Args:
        counters: to render.
        depth: gives (entries that wait, batches in flight).

    Returns:
        Prometheus text, as /metrics serves it.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(counters, depth))
    return lambda: generate_latest(registry)
