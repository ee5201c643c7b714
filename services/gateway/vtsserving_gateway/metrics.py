"""What the gateway counts, as plain numbers on the hot path; turned into Prometheus text when it is asked for."""

from __future__ import annotations

import logging
import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from vtsserving.version import __version__

_log = logging.getLogger(__name__)

OWN_PREFIX: Final = "vtsserving_"
"""The beginning of our own metrics' names, and of nobody else's."""

DURATION_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The buckets of OpenTelemetry's http.server.request.duration, seconds."""

MAX_SERIES: Final = 2_048
"""Most combinations of labels that are counted apart; what comes later is counted together as `other`."""

PREDICT: Final = "/v1/models/{tag}/{method}"
LABELS: Final = ("route", "model", "version", "method")
OTHER: Final = ("other", "", "", "")


class MetricSeries:
    """Requests of one route, or of one method of one model."""

    __slots__ = ("buckets", "codes", "total_s")

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.codes: Counter[int] = Counter()
        self.buckets = [0] * (len(DURATION_BUCKETS_S) + 1)
        self.total_s = 0.0

    def observe(self, status: int, duration_s: float) -> None:
        """Count one request.

        Args:
            status: HTTP status of its answer.
            duration_s: from its last byte received to its answer, seconds.
        """
        self.codes[status] += 1
        self.buckets[bisect_left(DURATION_BUCKETS_S, duration_s)] += 1
        self.total_s += duration_s


class GatewayMetrics:
    """Numbers since the start of the process."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.series: dict[tuple[str, str, str, str], MetricSeries] = {}
        self.errors: Counter[str] = Counter()
        self.cancelled = 0
        self.in_progress = 0
        self._registry = CollectorRegistry()
        self._live: Mapping[str, tuple[str, Callable[[], float]]] = {}
        self._registry.register(_Collector(self))
        self._of_service: CollectorRegistry | None = None

    def of(self, route: str, model: str = "", version: str = "", method: str = "") -> MetricSeries:
        """The series with these labels; one for all that come after MAX_SERIES others."""
        key = (route, model, version, method)
        series = self.series.get(key)
        if series is None:
            if len(self.series) >= MAX_SERIES:
                key = OTHER
            series = self.series.setdefault(key, MetricSeries())
        return series

    def watch(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """Export numbers that are kept elsewhere.

        Args:
            gauges: metric name to (help, how to read it); a name that ends in `_total` is a counter.
        """
        self._live = gauges

    def include_service(self) -> None:
        """Export what the code of a Service counts with prometheus_client, too.

        That is the default registry of this process, and with PROMETHEUS_MULTIPROC_DIR the sums over all processes.
        """
        self._of_service = REGISTRY
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            self._of_service = CollectorRegistry()
            MultiProcessCollector(self._of_service)  # type: ignore[no-untyped-call]

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The metric families of this moment."""
        yield from self._requests()
        errors = CounterMetricFamily(
            "vtsserving_requests_rejected", "Requests answered with an error, by its code.", labels=["reason"]
        )
        for code, count in sorted(self.errors.items()):
            errors.add_metric([code], count)
        yield errors
        yield CounterMetricFamily(
            "vtsserving_requests_cancelled", "Requests whose client left before the answer.", self.cancelled
        )
        yield GaugeMetricFamily(
            "vtsserving_requests_in_progress", "Requests being answered.", self.in_progress
        )
        for name, (text, read) in self._live.items():
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(name.removesuffix("_total"), text, read())
        yield InfoMetricFamily(
            "vtsserving_build", "What runs here.", {"version": __version__, "service": "gateway"}
        )
        yield from self._service_metrics()

    def _service_metrics(self) -> list[Metric]:
        if self._of_service is None:
            return []
        try:
            found = list(self._of_service.collect())
        except Exception:  # collectors are the author's code, and ours are needed most when something fails
            _log.exception("service_metrics_failed")
            return []
        return [metric for metric in found if not metric.name.startswith(OWN_PREFIX)]

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "vtsserving_http_requests", "Requests answered, by status.", labels=[*LABELS, "code"]
        )
        durations = HistogramMetricFamily(
            "vtsserving_http_request_duration_seconds",
            "From the last byte of a request to its answer.",
            labels=LABELS,
        )
        for labels, series in sorted(self.series.items()):
            for code, count in sorted(series.codes.items()):
                requests.add_metric([*labels, str(code)], count)
            durations.add_metric(list(labels), _cumulative(series.buckets), series.total_s)
        yield requests
        yield durations


def _cumulative(counts: list[int]) -> list[tuple[str, int]]:
    buckets, seen = [], 0
    for limit, count in zip((*DURATION_BUCKETS_S, float("inf")), counts, strict=True):
        seen += count
        buckets.append(("+Inf" if limit == float("inf") else str(limit), seen))
    return buckets


class _Collector(Collector):
    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics.collect()
