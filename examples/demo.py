"""From a trained model to checked predictions over HTTP, on this machine, in under a minute.

`make demo` runs it on the embedded default: one `vtsserving serve` process and the model's own. `make demo-nats`
(`--nats`) runs the four services as processes over a real nats-server, the model pushed to the store service and
pulled by the runner.
Models and logs stay in ./.demo, so that the commands printed at the end go on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
HOME: Final = ROOT / ".demo"
VTSSERVING: Final = str(Path(sys.executable).with_name("vtsserving"))
CLIENTS: Final = 32
REQUESTS_PER_CLIENT: Final = 60
READY_S: Final = 60.0
STOP_S: Final = 20.0


class DemoFailed(Exception):
    """The demo cannot go on; the message is one line that says what to do."""


@dataclass
class Child:
    """One started process and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def require_running(self) -> None:
        """Fail with the log's name when the process ended by itself."""
        if self.process.poll() is not None:
            last = (self.log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
            code = self.process.returncode
            raise DemoFailed(
                f"{self.name} ended with exit code {code} ({last[:200]}); read {shown(self.log)}"
            )

    def stop(self) -> None:
        """Ask with SIGINT, as Ctrl-C does, and insist on exit code 0."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise DemoFailed(
                f"{self.name} did not stop within {STOP_S:.0f} s; read {shown(self.log)}"
            ) from None
        if code != 0:
            raise DemoFailed(f"{self.name} stopped with exit code {code}; read {shown(self.log)}")


@dataclass
class Processes:
    """The processes of one demo, stopped in reverse order of their start."""

    home: Path
    children: list[Child] = field(default_factory=list)

    def start(self, name: str, command: list[str], env: Mapping[str, str]) -> Child:
        """Start one process in its own session, so that a Ctrl-C reaches it through us alone."""
        log = self.home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, **env},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def stop(self) -> None:
        """Stop all of them cleanly."""
        while self.children:
            self.children.pop().stop()

    def kill(self) -> None:
        """Leave nothing behind after a failure."""
        for child in reversed(self.children):
            if child.process.poll() is None:
                child.process.terminate()
        for child in reversed(self.children):
            try:
                child.process.wait(5)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()


@dataclass
class Tally:
    """What the clients saw."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    batches: Counter[int] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


def shown(path: Path) -> str:
    """A path as the user would type it from the repository."""
    return os.path.relpath(path, Path.cwd())


def run_cli(*arguments: str, env: Mapping[str, str]) -> str:
    """Run one `vtsserving` command to its end and return what it printed."""
    done = subprocess.run(
        [VTSSERVING, *arguments], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise DemoFailed(f"`vtsserving {shlex.join(arguments)}` failed ({done.returncode}): {why}")
    return done.stdout


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def train_and_save() -> tuple[Any, Any]:
    """Train on the iris flowers, save, and return the classifier and its rows."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    import vtsserving

    rows, species = load_iris(return_X_y=True)
    clf = LogisticRegression(max_iter=1_000).fit(rows, species)
    model = vtsserving.sklearn.save_model("iris_clf", clf, signatures={"predict": {"batchable": True}})
    print(f"Model saved: {model}")
    return clf, rows


def get(port: int, path: str) -> int:
    """Status of one GET, 0 while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def wait_ready(child: Child, port: int, path: str = "/readyz") -> None:
    """Poll one address of a child until it answers 200."""
    give_up = time.monotonic() + READY_S
    while get(port, path) != 200:
        child.require_running()
        if time.monotonic() > give_up:
            raise DemoFailed(f"{child.name} was not ready within {READY_S:.0f} s; read {shown(child.log)}")
        time.sleep(0.05)


def client(port: int, bodies: list[tuple[str, Any]], tally: Tally) -> None:
    """One closed-loop client on one keep-alive connection: send a row, check the answer, send the next."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for body, expected in bodies:
        started = time.perf_counter()
        try:
            connection.request(
                "POST", "/v1/models/iris_clf:latest/predict", body, {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            with tally.lock:
                tally.wrong.append(f"{body}: {error!r}")
            continue
        latency_ms = (time.perf_counter() - started) * 1e3
        with tally.lock:
            tally.latencies_ms.append(latency_ms)
            if response.status == 200 and json.loads(text) == expected:
                tally.right += 1
                tally.batches[int(response.headers.get("X-Vts-Batch-Size", 0))] += 1
            else:
                tally.wrong.append(f"{body}: expected {expected}, got {response.status} {text[:200]}")
    connection.close()


def send_and_check(port: int, clf: Any, rows: Any) -> Tally:
    """Send real rows from CLIENTS concurrent clients and compare every answer with clf.predict."""
    answers = clf.predict(rows).tolist()
    pairs = [(json.dumps([row]), [answer]) for row, answer in zip(rows.tolist(), answers, strict=True)]
    tally = Tally()
    threads = []
    for number in range(CLIENTS):
        mine = [pairs[(number * 37 + k) % len(pairs)] for k in range(REQUESTS_PER_CLIENT)]
        threads.append(threading.Thread(target=client, args=(port, mine, tally)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def report(tally: Tally) -> None:
    """Print the figures; fail if any answer was wrong."""
    total = CLIENTS * REQUESTS_PER_CLIENT
    print(f"{tally.right} of {total} answers were right ({CLIENTS} concurrent clients)")
    if tally.right != total:
        raise DemoFailed(f"{total - tally.right} wrong answers, the first: {tally.wrong[0]}")
    print(f"batches formed: {batches_formed(tally.batches)}")
    ordered = sorted(tally.latencies_ms)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(
        f"latency: p50 {p50:.1f} ms, p99 {p99:.1f} ms (the {CLIENTS} clients are Python threads and share the cores)"
    )


def batches_formed(requests_by_rows: Counter[int]) -> str:
    """How many batches of which size the answers came from: a batch of n rows was reported by n one-row requests."""
    parts = []
    for low in (1, 2, 4, 8, 16, 32):
        sizes = range(low, low * 2)
        batches = sum(requests_by_rows[rows] / rows for rows in sizes)
        if batches:
            parts.append(f"{round(batches)} of {low if low == 1 else f'{low}-{low * 2 - 1}'} rows")
    return ", ".join(parts)


@contextlib.contextmanager
def stack(home: Path) -> Iterator[Processes]:
    """The started processes: stopped cleanly at the end, killed on any failure."""
    processes = Processes(home)
    try:
        yield processes
        processes.stop()
    finally:
        processes.kill()


def serve_embedded(processes: Processes) -> tuple[Child, int]:
    """Start everything in one `vtsserving serve`."""
    port = free_port()
    env = {"VTSSERVING_HOME": str(processes.home), "VTSSERVING_GATEWAY__PORT": str(port)}
    return processes.start("serve", [VTSSERVING, "serve", "iris_clf:latest"], env), port


def serve_nats(processes: Processes) -> tuple[Child, int]:
    """Start nats-server and the four services; push the model to the store, which the runner pulls it from."""
    from vtsserving.exceptions import MissingDependency
    from vtsserving_embedded.nats_binary import find_nats_server

    try:
        nats_server = find_nats_server()
    except MissingDependency as error:
        raise DemoFailed(error.message) from error
    nats, monitor, store, gateway = free_port(), free_port(), free_port(), free_port()
    config, passwords = bus_users(processes.home)
    command = [str(nats_server), "-c", str(config), "-a", "127.0.0.1", "-p", str(nats), "-m", str(monitor)]
    broker = processes.start("nats-server", command, {})
    wait_ready(broker, monitor, "/healthz")
    env = {
        "VTSSERVING_NATS_URL": f"nats://127.0.0.1:{nats}",
        "VTSSERVING_STORE_URL": f"http://127.0.0.1:{store}",
        "VTSSERVING_STORE__PORT": str(store),
        "VTSSERVING_STORE__DIR": str(processes.home / "store"),
        "VTSSERVING_GATEWAY__PORT": str(gateway),
        "VTSSERVING_BATCHER__PORT": str(free_port()),
        "VTSSERVING_RUNNER__PORT": str(free_port()),
    }

    def service(name: str) -> Child:
        own = {
            "VTSSERVING_HOME": str(processes.home / name),  # nothing is shared but the bus and the store
            "VTSSERVING_NATS_USER": name,
            "VTSSERVING_NATS_PASSWORD": passwords[name],
        }
        return processes.start(name, [sys.executable, "-m", f"vtsserving_{name}"], {**env, **own})

    wait_ready(service("store"), store)
    pushed = run_cli("models", "push", "iris_clf:latest", env={**env, "VTSSERVING_HOME": str(processes.home)})
    print(pushed.strip() or "pushed iris_clf:latest to the store service")
    for name in ("RUNNER", "GATEWAY"):  # the runner loads it, the gateway is ready when it has
        env[f"VTSSERVING_{name}__PRELOAD"] = "iris_clf:latest"
    service("runner")
    service("batcher")
    return service("gateway"), gateway


def bus_users(home: Path) -> tuple[Path, dict[str, str]]:
    """nats-server's configuration as deploy/ has it, and a fresh password for each service's user."""
    passwords = {name: secrets.token_hex(16) for name in ("gateway", "batcher", "runner", "store")}
    config = home / "nats.conf"
    shutil.copy(ROOT / "deploy" / "nats.conf", config)
    lines = [f'{name}_password: "{password}"\n' for name, password in passwords.items()]
    (home / "nats-passwords.conf").write_text("".join(lines))
    return config, passwords


def how_to_go_on(home: Path) -> None:
    """The commands with which to do the same by hand."""
    vtsserving = shown(Path(VTSSERVING))
    print("\nGo on by hand:")
    print(f"  export VTSSERVING_HOME={shlex.quote(str(home))}")
    print(f"  {vtsserving} models list")
    print(f"  {vtsserving} serve iris_clf:latest          # Ctrl-C stops it")
    print("  curl -s localhost:3000/v1/models/iris_clf:latest/predict -d '[[5.9, 3.0, 5.1, 1.8]]'")


def demo(home: Path, over_nats: bool) -> None:
    """Train, save, list, serve, check, stop."""
    os.environ["VTSSERVING_HOME"] = str(home)
    clf, rows = train_and_save()
    print(run_cli("models", "list", env={}), end="")
    with stack(home) as processes:
        started = time.monotonic()
        front, port = serve_nats(processes) if over_nats else serve_embedded(processes)
        wait_ready(front, port)
        which = "gateway, batcher, runner and store over nats-server" if over_nats else "vtsserving serve"
        print(f"{which}: ready on port {port} after {time.monotonic() - started:.1f} s")
        report(send_and_check(port, clf, rows))
    print("stopped cleanly")
    how_to_go_on(home)


def main() -> int:
    """Run the demo; one line on stderr and exit code 1 on any failure."""
    parser = argparse.ArgumentParser(description="From a trained model to checked predictions over HTTP.")
    parser.add_argument("--nats", action="store_true", help="separate processes over a real nats-server")
    parser.add_argument("--home", type=Path, default=HOME, help="where models and logs stay (default: .demo)")
    arguments = parser.parse_args()
    try:
        demo(arguments.home.absolute(), arguments.nats)
    except KeyboardInterrupt:
        print("demo: interrupted; everything it started was stopped", file=sys.stderr)
        return 130
    except DemoFailed as failure:
        print(f"demo: {failure}", file=sys.stderr)
    except Exception as error:
        print(
            f"demo: {type(error).__name__}: {error}; run `make clean demo` to start afresh", file=sys.stderr
        )
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
