"""Scoring a file beside a plain loop: `python -m benchmarks.scoring --rows 10000000 --format parquet`.

The loop reads the same file in chunks, calls the same model in its process, and writes the results: what somebody
would write who has no need for checks, for going on after a kill, or for the list of failed rows. Each measurement is a
process of its own, the two in turn; rows a second are those of the median round. Importing the libraries that read and
compute counts for both. The files go to `--folder`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

COLUMNS: Final = 10
WRITTEN_ROWS: Final = 250_000
"""Rows that are made and written at a time."""

_MEASURED: Final = """
import json, resource, sys, time
import numpy as np
import vtsserving
tag, source, target = sys.argv[1:4]
started_s, cpu_s = time.perf_counter(), time.process_time()
{imports}
{body}
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"s": time.perf_counter() - started_s, "cpu_s": time.process_time() - cpu_s, "peak_mib": rss}}))
"""

_LOAD: Final = "model = vtsserving.sklearn.load_model(tag)\n"

_LOOPS: Final = {
    "parquet": (
        "import pyarrow as pa, pyarrow.parquet as pq",
        """
with pq.ParquetWriter(target, pa.schema({"prediction": pa.int64()})) as writer:
    for batch in pq.ParquetFile(source).iter_batches(65_536):
        frame = batch.to_pandas()
        writer.write_table(pa.table({"prediction": model.predict(frame)}))
""",
    ),
    "csv": (
        "import pandas as pd",
        """
with open(target, "w") as file:
    for number, frame in enumerate(pd.read_csv(source, chunksize=65_536)):
        pd.DataFrame({"prediction": model.predict(frame)}).to_csv(file, index=False, header=not number)
""",
    ),
    "npy": (
        "",
        """
array = np.load(source, mmap_mode="r")
results = np.lib.format.open_memmap(target, "w+", np.int64, (len(array),))
for start in range(0, len(array), 65_536):
    results[start : start + 65_536] = model.predict(np.array(array[start : start + 65_536]))
results.flush()
""",
    ),
}

_PRODUCT: Final = "vtsserving.predict_file(tag, source, target, method='predict')\n"


class Compared(NamedTuple):
    """What the rounds of one format measured; medians.

    Attributes:
        loop_per_s: rows a second of the plain loop.
        rows_per_s: rows a second of the product.
        loop_cpu_s: processor seconds of the plain loop.
        cpu_s: processor seconds of the product.
        peak_mib: most memory of the product in any round.
        equal: whether both wrote the same results in each round.
    """

    loop_per_s: float
    rows_per_s: float
    loop_cpu_s: float
    cpu_s: float
    peak_mib: float
    equal: bool

    @property
    def ratio(self) -> float:
        """Rows a second of the product over those of the loop."""
        return self.rows_per_s / self.loop_per_s


def save_model(kind: str) -> str:
    """Save a scaler and a linear classifier, cheap enough that reading and writing count; returns its tag.

    Args:
        kind: the format; of a `.npy` file the model is trained with arrays, else with a table.
    """
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import vtsserving

    rows = np.random.default_rng(1).normal(size=(2_000, COLUMNS))
    wanted = (rows.sum(axis=1) > 0).astype(np.int64)
    given: Any = rows if kind == "npy" else pd.DataFrame(rows, columns=names())
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(given, wanted)
    signatures = {"predict": {"batchable": True}}
    saved = vtsserving.sklearn.save_model(
        f"scored-{kind}", model, signatures=signatures, input_example=given[:8]
    )
    return str(saved.tag)


def names() -> list[str]:
    """Of the columns."""
    return [f"c{number}" for number in range(COLUMNS)]


def write_input(path: Path, kind: str, rows: int) -> None:
    """Write a file of random rows, without ever holding all of them."""
    if kind == "npy":
        array = np.lib.format.open_memmap(path, "w+", np.float64, (rows, COLUMNS))
        done = 0
        for part in _parts(rows):
            array[done : done + len(part)] = part
            done += len(part)
        array.flush()
    elif kind == "csv":
        import pandas as pd

        with path.open("w") as file:
            for number, part in enumerate(_parts(rows)):
                pd.DataFrame(part.round(6), columns=names()).to_csv(file, index=False, header=not number)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([(name, pa.float64()) for name in names()])
        with pq.ParquetWriter(path, schema) as writer:
            for part in _parts(rows):
                writer.write_table(pa.table(list(part.T), schema=schema))


def _parts(rows: int) -> Iterator[np.ndarray[Any, Any]]:
    random = np.random.default_rng(2)
    for start in range(0, rows, WRITTEN_ROWS):
        yield random.normal(size=(min(WRITTEN_ROWS, rows - start), COLUMNS))


def compare(kind: str, rows: int, folder: Path, rounds: int) -> Compared:
    """Measure the loop and the product in turn.

    Args:
        kind: the format of input and output: `parquet`, `csv` or `npy`.
        rows: of the input.
        folder: for the files; on a disk with room for them.
        rounds: how often.
    """
    tag, source = save_model(kind), folder / f"in.{kind}"
    write_input(source, kind, rows)
    imports, loop = _LOOPS[kind]
    programs = {
        "loop": _MEASURED.format(imports=imports, body=_LOAD + loop),
        "product": _MEASURED.format(imports=imports, body=_PRODUCT),
    }
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    equal = True
    for _ in range(rounds):
        for name, program in programs.items():
            target = folder / f"{name}.{kind}"
            seen[name].append(_run(program, tag, source, target))
        by_loop, by_product = (_results(folder / f"{name}.{kind}", kind) for name in programs)
        equal = equal and bool(np.array_equal(by_loop, by_product))

    def median(name: str, figure: str) -> float:
        return statistics.median(one[figure] for one in seen[name])

    return Compared(
        rows / median("loop", "s"),
        rows / median("product", "s"),
        median("loop", "cpu_s"),
        median("product", "cpu_s"),
        max(one["peak_mib"] for one in seen["product"]),
        equal,
    )


def _run(program: str, tag: str, source: Path, target: Path) -> dict[str, float]:
    argv = [sys.executable, "-c", program, tag, str(source), str(target)]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _results(path: Path, kind: str) -> np.ndarray[Any, Any]:
    if kind == "npy":
        return np.asarray(np.load(path, mmap_mode="r"))
    if kind == "csv":
        return np.loadtxt(path, dtype=np.int64, skiprows=1)
    import pyarrow.parquet as pq

    return np.asarray(pq.read_table(path)["prediction"].to_numpy())


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--rows", type=int, default=1_000_000)
    made.add_argument("--format", default="parquet", choices=tuple(_LOOPS))
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--folder", type=Path)
    made.add_argument("--json", action="store_true", help="print the figures for programs")
    given = made.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = compare(given.format, given.rows, Path(folder), given.rounds)
    if given.json:
        print(json.dumps({**found._asdict(), "ratio": found.ratio}))
        return
    print(
        f"{given.format}, {given.rows:,} rows: {found.rows_per_s:,.0f} rows/s, a plain loop {found.loop_per_s:,.0f}: "
        f"{found.ratio:.2f}x; CPU {found.cpu_s:.1f} s, {found.loop_cpu_s:.1f} s; peak {found.peak_mib:.0f} MiB; "
        f"{'equal' if found.equal else 'DIFFERENT'} results"
    )


if __name__ == "__main__":
    main()
