"""The cluster in containers, from the first run to its end. Each test goes on where the one before it stopped."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Final

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from support.cluster import row_and_answer, save_model
from support.compose_stack import PROJECT, ComposeStack
from support.load import Load, Report
from support.proofs import Proof
from support.rolling import linear, refused_roll, roll_under_load
from support.source_tree import REPOSITORY

TIMEOUT_S: Final = 20.0
RECOVERY_S: Final = 10.0
PER_S: Final = 40
KINDS: Final = ("gateway", "store", "batcher", "runner", "nats", "minio", "edge")


def readme(language: str, containing: str) -> str:
    """The block of the README that has some text."""
    text = (REPOSITORY / "README.md").read_text()
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if containing in block]
    return found


def typed(stack: ComposeStack, line: str) -> str:
    """Run a line of the README as it stands, but for the port, which may be taken here."""
    line = line.replace("127.0.0.1:3000", f"127.0.0.1:{stack.gateway_port}").replace(".venv/bin/", "")
    return stack.shell(line)


def ask(stack: ComposeStack, tag: str, rows: list[list[float]], token: str = "") -> tuple[int, object]:
    return stack.post(f"/v1/models/{tag}/predict", rows, token=token)


def store_status(stack: ComposeStack, path: str = "/api/v1/models") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", stack.store_port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def oracle() -> LogisticRegression:
    """The model of the README: the same data and the same steps give the same answers."""
    rows, species = load_iris(return_X_y=True)
    return LogisticRegression(max_iter=1_000).fit(rows, species)


def right_or_raise(report: Report) -> None:
    assert len(report.of("right")) == len(report.answers), report


def figures(report: Report) -> dict[str, int]:
    return {
        "requests": len(report.answers),
        "wrong": len(report.of("wrong")),
        "refused": len(report.of("refused")),
        "lost": len(report.of("lost")),
    }


@pytest.mark.prove
def test_the_first_run_is_what_the_readme_says(stack: ComposeStack, proof: Proof) -> None:
    model = stack.folder / "twenty_lines.py"
    model.write_text(readme("python", "save_model"))
    stack.run(sys.executable, str(model))
    lines = readme("sh", "deploy/init.sh").splitlines()
    began_s = time.monotonic()
    up_s = 0.0
    answers = []
    for line in lines:
        answers.append(typed(stack, line))
        if " up " in line and not up_s:
            up_s = time.monotonic() - began_s
    (answer,) = [
        json.loads(text) for line, text in zip(lines, answers, strict=True) if line.startswith("curl")
    ]
    assert answer == oracle().predict([[5.9, 3.0, 5.1, 1.8]]).tolist()
    assert len(stack.containers("runner")) == 3
    assert len(stack.containers("gateway")) == 2
    assert sum(stack.restarts(c) for kind in KINDS for c in stack.containers(kind)) == 0
    proof.record("compose: init, build, up --wait", up_s=up_s)


@pytest.mark.prove
def test_a_thousand_predictions_through_the_edge_are_right(stack: ComposeStack, proof: Proof) -> None:
    clf = oracle()
    low, high = load_iris(return_X_y=True)[0].min(axis=0), load_iris(return_X_y=True)[0].max(axis=0)
    rows = np.random.default_rng(proof.seed).uniform(low, high, (1_000, 4)).round(2)
    wrong = 0
    for row, right in zip(rows.tolist(), clf.predict(rows).tolist(), strict=True):
        status, answer = ask(stack, "iris_clf:latest", [row])
        wrong += (status, answer) != (200, [right])
    proof.record("compose: predictions through the edge, by the README's model", answers=1_000, wrong=wrong)
    assert wrong == 0


def test_only_the_edge_is_reachable_from_this_machine_and_only_on_loopback(stack: ComposeStack) -> None:
    published = {}
    for kind in KINDS:
        for container in stack.containers(kind):
            ports = stack.inspect(container)["NetworkSettings"]["Ports"] or {}
            found = [binding for bindings in ports.values() for binding in bindings or ()]
            if found:
                published[kind] = {(binding["HostIp"], int(binding["HostPort"])) for binding in found}
    assert published == {"edge": {("127.0.0.1", stack.gateway_port), ("127.0.0.1", stack.store_port)}}


@pytest.mark.parametrize("kind", ["gateway", "store", "batcher", "runner"])
def test_a_service_is_nobody_in_a_read_only_container(stack: ComposeStack, kind: str) -> None:
    container = stack.containers(kind)[0]
    found = stack.inspect(container)
    assert found["Config"]["User"] == "10001:10001"
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["Config"]["Labels"]["org.opencontainers.image.title"] == f"vtsserving-{kind}"
    status = (Path("/proc") / str(stack.main_pid(container)) / "status").read_text()
    assert re.search(r"^Uid:\s+10001\s", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    tools = stack.run(
        "docker", "exec", container, "python", "-c", "import importlib.util as u; print(u.find_spec('pip'))"
    )
    assert tools.strip() == "None"


def test_a_runner_reaches_the_bus_and_the_store_but_neither_the_storage_nor_the_world(
    stack: ComposeStack,
) -> None:
    probe = (
        "import socket, sys\n"
        "def reaches(host, port):\n"
        "    try: socket.create_connection((host, port), 2).close()\n"
        "    except OSError: return False\n"
        "    return True\n"
        "print(*(reaches(h, int(p)) for h, p in (a.split(':') for a in sys.argv[1:])))"
    )
    storage = stack.inspect(stack.containers("minio")[0])["NetworkSettings"]["Networks"]
    address = storage[f"{PROJECT}_storage"]["IPAddress"]
    gateway = storage[f"{PROJECT}_storage"]["Gateway"]
    asked = ["nats:4222", "store:3001", "minio:9000", f"{address}:9000", f"{gateway}:22", "192.0.2.1:80"]
    said = stack.run("docker", "exec", stack.containers("runner")[0], "python", "-c", probe, *asked)
    assert said.split() == ["True", "True", "False", "False", "False", "False"]


@pytest.fixture(scope="module")
def loaded(stack: ComposeStack) -> ComposeStack:
    """The stack with the model of the load pushed, and warm in every runner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", stack.environment["VTSSERVING_HOME"])
        tag = save_model("linear")
    stack.run("vtsserving", "models", "push", tag)
    stack.environment["RUNNER_PRELOAD"] = tag
    stack.up("--scale", "runner=3", "--scale", "gateway=2")
    assert ask(stack, "linear:latest", [row_and_answer(5)[0]]) == (200, [row_and_answer(5)[1]])
    return stack


def batches(stack: ComposeStack, runner: str) -> float:
    """How many batches a runner has computed."""
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:3003/metrics').read().decode())"
    text = stack.run("docker", "exec", runner, "python", "-c", read)
    return sum(
        float(n) for n in re.findall(r"^vtsserving_runner_batches_total(?:\{.*\})? (\S+)$", text, re.M)
    )


def that_computes(stack: ComposeStack) -> str:
    """The runner that the load goes to; the others have the model warm, too."""
    before = {runner: batches(stack, runner) for runner in stack.containers("runner")}
    for number in range(5):
        assert ask(stack, "linear:latest", [row_and_answer(number)[0]])[0] == 200
    return max(before, key=lambda runner: batches(stack, runner) - before[runner])


@pytest.mark.prove
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_container_costs_no_wrong_answer_and_ten_seconds_at_most(
    loaded: ComposeStack, proof: Proof, kind: str
) -> None:
    stack = loaded
    victim = that_computes(stack) if kind == "runner" else stack.containers(kind)[0]

    async def scenario() -> tuple[Report, float, float]:
        async with Load.opened(linear(stack), per_s=PER_S) as load:
            await load.progress(100)
            before = stack.restarts(victim)
            killed_s = time.monotonic()
            stack.kill(victim)
            again_s = await asyncio.to_thread(
                stack.wait,
                lambda: stack.restarts(victim) > before and stack.healthy(victim),
                within_s=120,
                what=f"{kind} is started again",
            )
            await load.progress(100)
            report = await load.stop()
        return report, report.recovery_s(killed_s), again_s

    report, recovery_s, again_s = asyncio.run(scenario())
    print(report)
    proof.record(
        f"compose: kill -9 in the {kind}", **figures(report), recovery_s=recovery_s, healthy_again_s=again_s
    )
    assert not report.of("wrong"), report
    assert recovery_s < RECOVERY_S, report
    stack.wait(lambda: store_status(stack) == 200, within_s=30, what="the store lists models")


@contextmanager
def store_reader(stack: ComposeStack) -> Iterator[list[int]]:
    """Reads from the store all the time; yields the statuses so far, 0 for a broken connection."""
    statuses: list[int] = []
    ended = Event()

    def read() -> None:
        while not ended.is_set():
            statuses.append(store_status(stack, "/api/v1/models/linear"))
            ended.wait(0.05)

    thread = Thread(target=read)
    thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        thread.join()


@pytest.mark.prove
def test_a_rolling_restart_of_every_service_loses_no_request(loaded: ComposeStack, proof: Proof) -> None:
    stack = loaded
    services = ("store", "batcher", "runner", "gateway", "nats")
    before = {service: set(stack.containers(service)) for service in (*services, "edge")}
    after = {}

    with store_reader(stack) as statuses:
        report = roll_under_load(stack)
    worst_s = max(answer.latency_s for answer in report.answers)
    proof.record(
        "compose: deploy/roll.sh, 8 clients",
        **figures(report),
        worst_s=worst_s,
        store_reads=len(statuses),
        store_failures=sum(status != 200 for status in statuses),
    )
    right_or_raise(report)
    assert set(statuses) == {200}
    for service in services:
        after[service] = set(stack.containers(service))
        assert len(after[service]) == len(before[service])
        assert not after[service] & before[service]
    # What took over is what `up` would have made: it leaves all of it as it is.
    stack.up("--scale", "runner=3", "--scale", "gateway=2")
    assert {service: set(stack.containers(service)) for service in before} == before | after


@pytest.mark.prove
def test_a_whole_set_takes_over_beside_the_old_one_and_loses_no_request(
    loaded: ComposeStack, proof: Proof
) -> None:
    """What a release with another version of the wire asks for; tests/compat does it with 0.1.0, as processes."""
    stack = loaded
    services = ("nats", "store", "batcher", "runner", "gateway")
    before = {service: set(stack.containers(service)) for service in (*services, "edge")}
    report = roll_under_load(stack, "--beside")
    worst_s = max(answer.latency_s for answer in report.answers)
    proof.record("compose: deploy/roll.sh --beside, 8 clients", **figures(report), worst_s=worst_s)
    right_or_raise(report)
    after = {service: set(stack.containers(service)) for service in before}
    assert after["edge"] == before["edge"]
    for service in services:
        assert len(after[service]) == len(before[service])
        assert not after[service] & before[service]


@pytest.mark.prove
def test_nats_servers_that_replace_each_other_lose_no_request(loaded: ComposeStack, proof: Proof) -> None:
    stack = loaded
    rolls = proof.count(full=5, quick=1)
    before = stack.containers("nats")
    report = roll_under_load(stack, "nats", rolls=rolls)
    worst_s = max(answer.latency_s for answer in report.answers)
    proof.record("compose: deploy/roll.sh nats, 8 clients", rolls=rolls, **figures(report), worst_s=worst_s)
    right_or_raise(report)
    (after,) = stack.containers("nats")
    assert after not in before


def test_a_second_nats_server_lets_in_the_same_users_and_nobody_from_the_network(
    loaded: ComposeStack,
) -> None:
    """The table of subjects itself is checked on both servers of a cluster in tests/deploy."""
    stack = loaded
    stack.up("--no-deps", "--no-recreate", "--scale", "nats=2", "nats")
    probe = (
        "import socket, sys\n"
        "for address in sorted({i[4][0] for i in socket.getaddrinfo('nats', 6222)}):\n"
        "    s = socket.create_connection((address, 6222), 2); s.settimeout(5); f = s.makefile('rwb')\n"
        '    f.readline(); f.write(b\'CONNECT {"user":"nats","pass":"guess"}\\r\\nPING\\r\\n\'); f.flush()\n'
        "    print(f.readline().decode().strip())"
    )
    try:
        said = stack.run("docker", "exec", stack.containers("runner")[0], "python", "-c", probe)
    finally:
        stack.up("--no-deps", "--no-recreate", "--scale", "nats=1", "nats")
    assert said.splitlines() == ["-ERR 'Authorization Violation'"] * 2


def test_a_nats_server_that_the_old_one_refuses_does_not_take_over(loaded: ComposeStack) -> None:
    stack = loaded
    secret = stack.folder / "deploy" / "secrets" / "nats-routes.conf"
    kept, before = secret.read_text(), stack.containers("nats")

    def replace(text: str) -> None:
        # A new file: a container that runs goes on to see the one that it was started with.
        secret.unlink()
        secret.write_text(text)

    replace(re.sub(r"[0-9a-f]{48}", "0" * 48, kept))
    try:
        said = refused_roll(stack, "nats")
    finally:
        replace(kept)
    assert "do not reach each other" in said
    assert stack.containers("nats") == before
    # A moment may pass until those who were let in by the new one have changed to the old one.
    stack.wait(
        lambda: ask(stack, "linear:latest", [row_and_answer(5)[0]]) == (200, [row_and_answer(5)[1]]),
        within_s=10,
        what="the model answers",
    )


@pytest.mark.prove
def test_an_edge_that_reads_its_configuration_again_loses_no_request(
    loaded: ComposeStack, proof: Proof
) -> None:
    stack = loaded
    reloads = proof.count(full=10, quick=3)
    before = stack.containers("edge")

    with store_reader(stack) as statuses:
        report = roll_under_load(stack, "edge", rolls=reloads, requests=400)
    proof.record(
        "compose: deploy/roll.sh edge, 8 clients",
        reloads=reloads,
        **figures(report),
        store_reads=len(statuses),
        store_failures=sum(status != 200 for status in statuses),
    )
    right_or_raise(report)
    assert set(statuses) == {200}
    assert stack.containers("edge") == before


@pytest.mark.prove
@pytest.mark.parametrize("kind", ["nats", "edge", "minio"])
def test_a_restart_of_what_runs_only_once_is_a_short_outage(
    loaded: ComposeStack, proof: Proof, kind: str
) -> None:
    stack = loaded

    async def scenario() -> tuple[Report, float]:
        async with Load.opened(linear(stack), per_s=PER_S) as load:
            await load.progress(100)
            restarted_s = time.monotonic()
            await asyncio.to_thread(stack.compose, "restart", kind)
            await load.progress(100)
            report = await load.stop()
        return report, report.recovery_s(restarted_s)

    report, recovery_s = asyncio.run(scenario())
    print(report)
    proof.record(f"compose: restart of {kind}", **figures(report), recovery_s=recovery_s)
    assert not report.of("wrong"), report
    assert recovery_s < RECOVERY_S, report
    stack.wait(lambda: store_status(stack) == 200, within_s=60, what="the store lists models")
    for service in KINDS:
        for container in stack.containers(service):
            stack.wait(lambda c=container: stack.healthy(c), within_s=60, what=f"{service} is healthy")


@pytest.mark.prove
def test_a_runner_that_is_cut_off_the_network_costs_no_wrong_answer_and_comes_back(
    loaded: ComposeStack, proof: Proof
) -> None:
    stack, network = loaded, f"{PROJECT}_inner"
    victim = that_computes(stack)

    async def scenario() -> tuple[Report, float]:
        async with Load.opened(linear(stack), per_s=PER_S) as load:
            await load.progress(100)
            cut_s = time.monotonic()
            stack.run("docker", "network", "disconnect", network, victim)
            await load.progress(200)
            stack.run("docker", "network", "connect", "--alias", "runner", network, victim)
            await asyncio.to_thread(
                stack.wait, lambda: stack.healthy(victim), within_s=60, what="the runner is healthy again"
            )
            await load.progress(100)
            report = await load.stop()
        return report, report.recovery_s(cut_s)

    report, recovery_s = asyncio.run(scenario())
    print(report)
    proof.record("compose: a runner cut off the network", **figures(report), recovery_s=recovery_s)
    assert not report.of("wrong"), report
    assert recovery_s < RECOVERY_S, report


def test_a_backup_restored_into_an_empty_cluster_serves_the_same(loaded: ComposeStack) -> None:
    stack = loaded
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    commands = [
        line.strip().replace("dc ", "docker compose -f deploy/compose.yaml ", 1)
        for line in page.splitlines()
        if line.startswith("    dc run")
    ]
    backup, restore = commands
    (stack.folder / "backup").mkdir()
    stack.shell(backup)
    stack.compose("down", "--volumes")
    del stack.environment["RUNNER_PRELOAD"]
    stack.up()
    assert ask(stack, "linear:latest", [row_and_answer(5)[0]])[0] == 404
    stack.shell(restore)
    # An unknown name may be remembered as unknown for a moment.
    stack.wait(
        lambda: ask(stack, "linear:latest", [row_and_answer(5)[0]]) == (200, [row_and_answer(5)[1]]),
        within_s=30,
        what="the restored model answers",
    )


def test_down_with_volumes_leaves_nothing(stack: ComposeStack) -> None:
    assert stack.leftovers()
    stack.compose("down", "--volumes")
    assert stack.leftovers() == []


def test_with_tokens_required_the_first_run_works_for_those_who_have_one(stack: ComposeStack) -> None:
    settings = stack.folder / "deploy" / ".env"
    settings.write_text(settings.read_text().replace("VTSSERVING_AUTH=off", "VTSSERVING_AUTH=required"))
    stack.up()
    refused = subprocess.run(
        ["vtsserving", "models", "push", "iris_clf:latest"],
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 6
    create = "vtsserving store token create alice --scope push --expires 90d"
    token = stack.compose("exec", "-T", "store", *create.split()).strip()
    with_token = {**stack.environment, "VTSSERVING_STORE_TOKEN": token}
    subprocess.run(["vtsserving", "models", "push", "iris_clf:latest"], env=with_token, check=True)
    row = [[5.9, 3.0, 5.1, 1.8]]
    assert ask(stack, "iris_clf:latest", row, token) == (200, oracle().predict(row).tolist())
    assert ask(stack, "iris_clf:latest", row)[0] == 401
    assert ask(stack, "iris_clf:latest", row, token[:-1] + ("0" if token[-1] != "0" else "1"))[0] == 401
    assert store_status(stack) == 401


def test_a_stack_without_its_secrets_says_what_to_run(stack: ComposeStack) -> None:
    settings = stack.folder / "deploy" / ".env"
    kept = settings.read_text()
    settings.unlink()
    try:
        done = subprocess.run(
            ["docker", "compose", "-f", "deploy/compose.yaml", "up", "-d"],
            cwd=stack.folder,
            env=stack.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        settings.write_text(kept)
    assert done.returncode != 0
    assert "run deploy/init.sh first" in done.stderr
