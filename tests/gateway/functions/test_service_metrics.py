"""What a Service counts with prometheus_client stands in `/metrics`, beside what the gateway counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from support.served_gateway import served
from support.supervisor import free_port
from vtsserving.client.sync_client import Client

SERVICE = """
import prometheus_client
from prometheus_client.core import GaugeMetricFamily
import vtsserving
from vtsserving.io import JSON, Text

calls = prometheus_client.Counter("flower_calls", "Calls of the function.", ["kind"])
seconds = prometheus_client.Histogram("flower_seconds", "How long it took.")
prometheus_client.Counter("vtsserving_http_requests", "A name that is the gateway's.").inc(1e6)
svc = vtsserving.Service("flowers")


@svc.api(input=Text(), output=JSON())
def look(kind):
    calls.labels(kind).inc()
    seconds.observe(0.25)
    return kind


class Broken:
    def describe(self):
        return []

    def collect(self):
        yield GaugeMetricFamily("broken", "It reads a sensor.", sensor_that_is_not_there)


@svc.api(input=Text(), output=JSON())
def breaks(_):
    prometheus_client.REGISTRY.register(Broken())
"""

PROGRAM = """
import json
from flower_service import svc
import httpx2
from support.served_gateway import served

with served([], {}, service=svc) as gateway:
    url = f"http://127.0.0.1:{gateway.port}"
    for kind in ("rose", "rose", "iris"):
        httpx2.post(f"{url}/look", content=kind).raise_for_status()
    first = httpx2.get(f"{url}/metrics")
    httpx2.post(f"{url}/breaks", content="x").raise_for_status()
    second = httpx2.get(f"{url}/metrics")
print(json.dumps([first.text, second.status_code, second.text]))
"""

pytestmark = pytest.mark.slow


def test_what_a_service_counts_is_exported_and_costs_nothing_of_ours(tmp_path: Path) -> None:
    """In a process of its own: the default registry is the process's."""
    (tmp_path / "flower_service.py").write_text(SERVICE)
    folders = [str(tmp_path), str(Path(__file__).parents[2])]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, status, second = json.loads(done.stdout)
    assert 'flower_calls_total{kind="rose"} 2.0' in first
    assert 'flower_calls_total{kind="iris"} 1.0' in first
    assert "flower_seconds_sum 0.75" in first
    assert "process_resident_memory_bytes" in first
    assert first.count("# TYPE vtsserving_http_requests_total") == 1
    assert "1e+06" not in first
    # A collector that fails takes the Service's metrics with it and not the gateway's.
    assert status == 200
    assert "flower_calls_total" not in second
    assert "vtsserving_http_requests_total" in second
    assert "service_metrics_failed" in done.stderr


def test_a_gateway_without_a_service_exports_its_own_alone() -> None:
    with served([], {}) as gateway:
        text = httpx2.get(f"http://127.0.0.1:{gateway.port}/metrics").text
    assert "python_info" not in text
    assert "vtsserving_build_info" in text


def test_several_workers_give_sums_with_the_folder_of_prometheus_client(tmp_path: Path) -> None:
    (tmp_path / "flower_service.py").write_text(SERVICE)
    counts = tmp_path / "counts"
    counts.mkdir()
    port = free_port()
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(counts),
        "VTSSERVING_HOME": str(tmp_path / "home"),
    }
    command = [sys.executable, "-m", "vtsserving_cli", "serve", "flower_service.py:svc"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--workers", "2"],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        with Client(url) as client:
            client.wait_until_ready(60)
        for _ in range(20):  # each on a connection of its own, so that both workers get some
            httpx2.post(f"{url}/look", content="rose").raise_for_status()
        for _ in range(5):
            assert 'flower_calls_total{kind="rose"} 20.0' in httpx2.get(f"{url}/metrics").text
    finally:
        process.terminate()
        process.wait(30)
