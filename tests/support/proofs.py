"""Figures worth keeping: small in every test run, at full size and written down under `make prove`.

A test that shows a property by numbers (answers checked, recovery seconds) asks for the `proof` fixture and carries the
`prove` mark:

    @pytest.mark.prove
    def test_every_answer_is_right_under_load(proof):
        total = proof.count(full=10_000, quick=1_000)
        wrong = run_load(total, seed=proof.seed)
        proof.record("embedded, 256 in flight", requests=total, wrong=wrong)
        assert wrong == 0

Under VTSSERVING_PROVE=1 the rows recorded by passing and failing tests alike are appended to docs/proofs.md with
commit, seed, machine, and the S3 server if it is not the SeaweedFS of the tests.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, cast

import pytest

from support.provenance import REPOSITORY, commit, machine, s3_server

PROVE_VARIABLE: Final = "VTSSERVING_PROVE"
SEED_VARIABLE: Final = "VTSSERVING_PROVE_SEED"
PROPERTY: Final = "proof"
"""Under this name a test's report carries each of its rows."""
QUICK_SEED: Final = 20_260
"""Seed of ordinary runs: fixed, so that a failure seen once is seen again."""

PROOFS_FILE: Final = REPOSITORY / "docs" / "proofs.md"
HEADING: Final = """# Proofs

What the tests marked `prove` measured at full size (`make prove`), newest run last. Each run names the commit, the seed
and the machine; `VTSSERVING_PROVE_SEED=N make prove` repeats one. A row stands here whether its test passed or failed.
"""

Figure = str | int | float | bool


@dataclass(frozen=True)
class Row:
    """One recorded line: which test, what it was about, what it measured, how the test ended."""

    test: str
    name: str
    figures: dict[str, Figure]
    outcome: str = "?"


@dataclass
class Ledger:
    """The rows of one pytest run."""

    proving: bool
    seed: int
    rows: list[Row] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls) -> Ledger:
        """Read the mode and the seed; a proving run without a given seed draws one and says so in its table."""
        proving = os.environ.get(PROVE_VARIABLE, "") not in ("", "0")
        drawn = random.SystemRandom().randrange(1_000_000) if proving else QUICK_SEED
        return cls(proving=proving, seed=int(os.environ.get(SEED_VARIABLE) or drawn))

    def add(self, report: pytest.TestReport) -> None:
        """Take over the rows that a test has recorded, from the report of one of its phases."""
        recorded = [value for key, value in report.user_properties if key == PROPERTY]
        known = sum(row.test == report.nodeid for row in self.rows)
        for value in recorded[known:]:
            name, figures = cast(tuple[str, dict[str, Figure]], value)
            self.rows.append(Row(report.nodeid, name, figures, self.outcomes.get(report.nodeid, "?")))
        if report.when == "call":
            self.outcomes[report.nodeid] = report.outcome
            self.rows = [
                replace(row, outcome=report.outcome) if row.test == report.nodeid else row
                for row in self.rows
            ]


@dataclass(frozen=True)
class Proof:
    """What the `proof` fixture hands to one test."""

    node: pytest.Item
    ledger: Ledger

    @property
    def proving(self) -> bool:
        """Whether this run is at full size."""
        return self.ledger.proving

    @property
    def seed(self) -> int:
        """The seed of this run; every random choice of a proof comes from it."""
        return self.ledger.seed

    def count(self, full: int, quick: int) -> int:
        """Return `full` under `make prove`, otherwise `quick`."""
        return full if self.proving else quick

    def record(self, name: str, **figures: Figure) -> None:
        """Keep one row of figures; units belong in the names (`recovery_s`, `p99_ms`)."""
        # Reports carry these to the process that writes them down, which is another one where tests run side by side.
        plain = {
            key: value if isinstance(value, (str, bool, int)) else float(value)
            for key, value in figures.items()
        }
        self.node.user_properties.append((PROPERTY, (name, plain)))


LEDGER_KEY: Final = pytest.StashKey[Ledger]()


def pytest_configure(config: pytest.Config) -> None:
    ledger = Ledger.from_environment()
    if ledger.proving and (hasattr(config, "workerinput") or config.getoption("numprocesses", None)):
        raise pytest.UsageError(
            f"{PROVE_VARIABLE} measures, with nothing beside each test: run pytest without -n"
        )
    config.stash[LEDGER_KEY] = ledger
    config.pluginmanager.register(Collecting(ledger), "proofs")


def pytest_report_header(config: pytest.Config) -> str:
    ledger = config.stash[LEDGER_KEY]
    return f"proofs: {'full size' if ledger.proving else 'quick'}, seed {ledger.seed}"


@pytest.fixture
def proof(request: pytest.FixtureRequest) -> Proof:
    """Count, seed and record figures; see the module."""
    return Proof(request.node, request.config.stash[LEDGER_KEY])


class Collecting:
    """Adds what arrives with the reports of the tests of this run, of all its processes, to the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._ledger.add(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[LEDGER_KEY].rows
    for row in rows:
        terminalreporter.write_line(f"proof: {row.name}: {written(row.figures)} ({row.outcome})")


def pytest_sessionfinish(session: pytest.Session) -> None:
    ledger = session.config.stash[LEDGER_KEY]
    if ledger.proving and ledger.rows:
        append(PROOFS_FILE, ledger)


def written(figures: dict[str, Figure]) -> str:
    """Figures as `name=value` pairs; floats to four digits."""
    return ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in figures.items())


def append(path: Path, ledger: Ledger) -> None:
    """Add one run's table to the proofs file."""
    server = s3_server()
    lines = [
        "",
        f"## {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {commit()}",
        "",
        f"Seed {ledger.seed}; {machine()}{'; S3: ' if server else ''}{server}.",
        "",
        "| property | figures | outcome | test |",
        "|---|---|---|---|",
        *(f"| {r.name} | {written(r.figures)} | {r.outcome} | `{r.test}` |" for r in ledger.rows),
    ]
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else HEADING
    path.write_text(before.rstrip("\n") + "\n" + "\n".join(lines) + "\n")
