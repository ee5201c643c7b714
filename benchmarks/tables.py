"""What a table of 20 columns costs by each JSON form beside the same numbers as rows; writes benchmarks/tables.md.

One `vtsserving serve` process has three models: one that was trained on a table of fractions, the same one trained on
an array, and one behind a ColumnTransformer whose table has texts, categories and missing values. Rounds are
interleaved, and every answer is checked against the model's own. usage: python -m benchmarks.tables [--rounds N]
[--measure-s S] [--dry]
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from benchmarks import ratios
from benchmarks.run import WORK, System
from examples.demo import VTSSERVING, DemoFailed, Processes, free_port, wait_ready
from tests.support.provenance import REPOSITORY, commit, machine

RESULTS: Final = REPOSITORY / "benchmarks" / "tables.md"
CLIENTS: Final = 64
CASES: Final = 64
COLUMNS: Final = 20


class Asked(NamedTuple):
    """One way to send one row of one model.

    Attributes:
        name: in the table.
        model: its name.
        write: a table of one row to the body.
    """

    name: str
    model: str
    write: Callable[[Any], bytes]


def _json(frame: Any, form: str) -> bytes:
    text: str = frame.to_json(orient=form, double_precision=15)
    return text.encode()


def _records(frame: Any) -> bytes:
    return _json(frame, "records")


def _split(frame: Any) -> bytes:
    return _json(frame, "split")


def _columns(frame: Any) -> bytes:
    return _json(frame, "columns")


def _rows(frame: Any) -> bytes:
    return _json(frame, "values")


FORMS: Final = (
    Asked("rows, a model of a table", "table", _rows),
    Asked("rows, a model of an array", "array", _rows),
    Asked("records", "table", _records),
    Asked("split", "table", _split),
    Asked("columns", "table", _columns),
    Asked("rows, texts and categories", "mixed", _rows),
    Asked("records, texts and categories", "mixed", _records),
)
"""The first one is what the others are compared with."""


def save_models() -> tuple[dict[str, Any], dict[str, Any]]:
    """Train and save the three models; returns them and the tables that their rows come from, by name."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    import vtsserving

    random = np.random.default_rng(7)
    values = random.normal(size=(400, COLUMNS)).round(6)
    labels = (values[:, 0] + values[:, 1] > 0).astype(int)
    frame = pd.DataFrame(values, columns=[f"c{i}" for i in range(COLUMNS)])
    mixed = frame.astype(object).where(random.random(frame.shape) > 0.05, None).astype("float64")
    texts, kinds = [f"c{i}" for i in range(15, 18)], [f"c{i}" for i in range(18, 20)]
    for name in texts:
        mixed[name] = random.choice(["red", "green", "blue"], len(mixed))
    for name in kinds:
        mixed[name] = pd.Categorical(random.choice(["low", "high"], len(mixed)), ["low", "high"])
    transformer = ColumnTransformer(
        [("words", OneHotEncoder(), texts + kinds)], remainder=SimpleImputer(), sparse_threshold=0
    )
    frames = {"table": frame, "array": frame, "mixed": mixed}
    models = {
        "table": LogisticRegression().fit(frame, labels),
        "array": LogisticRegression().fit(values, labels),
        "mixed": make_pipeline(transformer, LogisticRegression()).fit(mixed, labels),
    }
    for name, model in models.items():
        example = values[:2] if name == "array" else frames[name].head(2)
        signatures = {"predict": {"batchable": True}}
        vtsserving.sklearn.save_model(name, model, signatures=signatures, input_example=example)
    return models, frames


def serve(processes: Processes) -> System:
    """Start `vtsserving serve` with the three models."""
    port = free_port()
    command = [VTSSERVING, "serve", "table:latest", "array:latest", "mixed:latest", "--port", str(port)]
    served = processes.start("serve", command, {"VTSSERVING_HOME": str(WORK)})
    wait_ready(served, port)
    return System("serve", port, "", (served.process.pid,))


def write_cases(asked: Asked, port: int, model: Any, frame: Any) -> Path:
    """Bodies and answers for the load generator; the answers are checked against the model."""
    path = WORK / f"{FORMS.index(asked)}.cases"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    lines = []
    for number in np.random.default_rng(1).integers(0, len(frame), CASES).tolist():
        row = frame.iloc[[number]]
        body = asked.write(row)
        connection.request("POST", predict(asked.model), body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        expected = model.predict(row.to_numpy() if asked.model == "array" else row).tolist()
        if answer.status != 200 or json.loads(content) != expected:
            raise DemoFailed(f"{asked.name}: {answer.status} {content[:200]!r}, not {expected}")
        lines.append(f"{body.decode()}\n{content.decode()}\n")
    connection.close()
    path.write_text("".join(lines))
    return path


def predict(model: str) -> str:
    """Path of the route."""
    return f"/v1/models/{model}:latest/predict"


def start(processes: Processes) -> list[ratios.Asked]:
    """The server with its models, and each form of a row."""
    models, frames = save_models()
    system = serve(processes)
    return [
        ratios.Asked(
            CLIENTS,
            one.name,
            replace(system, path=predict(one.model)),
            write_cases(one, system.port, models[one.model], frames[one.model]),
            CLIENTS,
        )
        for one in FORMS
    ]


def main() -> int:
    options = ratios.parser("A table by each JSON form beside rows.", measure_s=2.0).parse_args()
    columns = {"size": "clients", "name": "form", "base": "rows"}
    return ratios.run(options, start, columns, RESULTS, page)


def page(lines: list[str], rounds: int, measure_s: float) -> str:
    """The whole of tables.md."""
    head = [
        "# A table of 20 columns by each JSON form beside rows",
        "",
        "<!-- Written by `make bench` (benchmarks/tables.py). -->",
        "",
        f"- Commit {commit()}; machine: {machine()}; its load average at the end: {os.getloadavg()[0]:.0f}.",
        "  The load generator runs on the same cores.",
        f"- Method: as in results.md; {CLIENTS} clients, one row a request, medians of {rounds} interleaved rounds of",
        f"  {measure_s:g} s; all models in one `vtsserving serve` process. What counts is its CPU time with its model",
        "  processes': it depends least on what else the machine does.",
        "",
    ]
    return "\n".join([*head, *lines]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
