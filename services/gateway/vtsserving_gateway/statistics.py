"""Inference statistics of a model version, in the words of the Open Inference Protocol."""

from __future__ import annotations

from typing import Any, Final

from vtsserving import _clock

MAX_BATCH_SIZES: Final = 512
"""Most batch sizes that are told apart."""

MAX_MODELS: Final = 2_048
"""Most versions that are counted; beyond, those counted first are forgotten."""


class ModelStatistics:
    """Sums since the start of this gateway; only its own requests count."""

    __slots__ = (
        "_batches",
        "compute_us",
        "executions",
        "failures",
        "failures_s",
        "last_ms",
        "queue_us",
        "rows",
        "successes",
        "successes_s",
    )

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.rows = 0
        self.executions = 0.0
        self.successes = 0
        self.successes_s = 0.0
        self.failures = 0
        self.failures_s = 0.0
        self.queue_us = 0
        self.compute_us = 0
        self.last_ms = 0
        self._batches: dict[int, list[float]] = {}

    def succeeded(
        self, rows: int, batch_rows: int, *, queue_us: int, compute_us: int, duration_s: float
    ) -> None:
        """Count one answer.

        Args:
            rows: of the request.
            batch_rows: of the batch that it was part of; the request counts as its share of that batch.
            queue_us: how long it waited, microseconds.
            compute_us: how long the model took for the batch, microseconds.
            duration_s: from the request to its answer, seconds.
        """
        share = rows / batch_rows if 0 < rows < batch_rows else 1.0
        self.rows += rows or 1
        self.executions += share
        self.successes += 1
        self.successes_s += duration_s
        self.queue_us += queue_us
        self.compute_us += compute_us
        self.last_ms = int(_clock.wall_s() * 1_000)  # for display only
        batch = self._batches.get(batch_rows)
        if batch is None:
            if len(self._batches) >= MAX_BATCH_SIZES:
                return
            batch = self._batches[batch_rows] = [0.0, 0.0]
        batch[0] += share
        batch[1] += share * compute_us

    def failed(self, duration_s: float) -> None:
        """Count one error."""
        self.failures += 1
        self.failures_s += duration_s

    def shown(self, name: str, version: str) -> dict[str, Any]:
        """As `/v2/models/stats` shows it; times in nanoseconds."""
        nothing = {"count": 0, "ns": 0}
        return {
            "name": name,
            "version": version,
            "last_inference": self.last_ms,
            "inference_count": self.rows,
            "execution_count": round(self.executions),
            "inference_stats": {
                "success": {"count": self.successes, "ns": int(self.successes_s * 1e9)},
                "fail": {"count": self.failures, "ns": int(self.failures_s * 1e9)},
                "queue": {"count": self.successes, "ns": self.queue_us * 1_000},
                "compute_input": {"count": self.successes, "ns": 0},
                "compute_infer": {"count": self.successes, "ns": self.compute_us * 1_000},
                "compute_output": {"count": self.successes, "ns": 0},
                "cache_hit": nothing,
                "cache_miss": nothing,
            },
            "batch_stats": [
                {
                    "batch_size": size,
                    "compute_input": {"count": round(count), "ns": 0},
                    "compute_infer": {"count": round(count), "ns": int(compute_us * 1_000)},
                    "compute_output": {"count": round(count), "ns": 0},
                }
                for size, (count, compute_us) in sorted(self._batches.items())
            ],
        }


class Statistics:
    """The statistics of all versions that were called."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self._models: dict[tuple[str, str], ModelStatistics] = {}

    def of(self, name: str, version: str) -> ModelStatistics:
        """The statistics of one version, which begin now if it was never called."""
        found = self._models.get((name, version))
        if found is None:
            if len(self._models) >= MAX_MODELS:
                del self._models[next(iter(self._models))]
            found = self._models[name, version] = ModelStatistics()
        return found

    def all(self) -> dict[tuple[str, str], ModelStatistics]:
        """Statistics by (name, version)."""
        return dict(self._models)
