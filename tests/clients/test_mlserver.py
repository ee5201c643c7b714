"""`mlserver infer`, which scores a file of requests: one by one, in batches of its own, and in binary."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from support.backend import entry, rows_spec
from support.client_environment import client_interpreter
from support.served_gateway import served

REQUESTS = 24

pytestmark = [pytest.mark.frameworks("mlserver"), pytest.mark.slow, pytest.mark.timeout(900)]


def test_mlserver_infer_scores_a_file(tmp_path: Path) -> None:
    command = client_interpreter("mlserver").with_name("mlserver")
    lines = [
        {"id": f"r{n}", "inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP64", "data": [n, 2, 3, 4]}]}
        for n in range(REQUESTS)
    ]
    requests = tmp_path / "requests.jsonl"
    requests.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    entries = [entry("iris", input_specs=rows_spec(4))]
    with served(entries, {("iris", "predict"): lambda X: X.sum(axis=1)}) as gateway:
        for number, options in enumerate((["-s", "1"], ["-s", "5"], ["-s", "5", "-b"])):
            answers = tmp_path / f"answers{number}.jsonl"
            done = subprocess.run(
                [
                    *(str(command), "infer", "-u", f"127.0.0.1:{gateway.port}", "-m", "iris"),
                    *("-i", str(requests), "-o", str(answers), *options),
                ],
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            found = {
                row["id"]: row["outputs"][0]["data"]
                for row in map(json.loads, answers.read_text().splitlines())
            }
            assert found == {f"r{n}": [n + 9.0] for n in range(REQUESTS)}
