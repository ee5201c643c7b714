"""deploy/roll.sh --beside from 0.1.0, which speaks another version of the wire, to this release and back under load."""

from __future__ import annotations

import asyncio
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support.compose_stack import ComposeStack
from support.first_release import WHEEL
from support.load import Load, Report
from support.proofs import Proof
from support.rolling import CLIENTS, linear, refused_roll
from vtsserving._wire.limits import PROTOCOL_VERSION

OLD: Final = "test-0.1"
"""The tag of images of this build's Python and packages with the wheel of 0.1.0."""

SERVICES: Final = ("store", "batcher", "runner", "gateway")
DOCKERFILE: Final = """\
ARG BASE
FROM ${BASE}
USER root
RUN rm -rf /opt/vtsserving-package
COPY package /opt/vtsserving-package
USER 10001:10001
"""


def build_old_images(stack: ComposeStack, folder: Path) -> None:
    """Make an image of 0.1.0 for each service."""
    (folder / "package").mkdir()
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(folder / "package")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    for service in SERVICES:
        base = f"BASE=vtsserving-{service}:test"
        stack.run(
            "docker",
            "build",
            "--quiet",
            "--build-arg",
            base,
            "-t",
            f"vtsserving-{service}:{OLD}",
            str(folder),
        )


def wire_versions(stack: ComposeStack) -> set[str]:
    """Which versions of the wire the services speak that run."""
    say = "from vtsserving.wire.limits import PROTOCOL_VERSION; print(PROTOCOL_VERSION)"
    return {
        stack.run("docker", "exec", container, "python", "-c", say).strip()
        for service in SERVICES
        for container in stack.containers(service)
    }


@pytest.fixture
def old(fresh: ComposeStack, tmp_path: Path) -> Iterator[ComposeStack]:
    """The stack with 0.1.0 in it, and with a nats-server that gives the rights of then."""
    stack = fresh
    build_old_images(stack, tmp_path)
    stack.compose("down")
    config = stack.folder / "deploy" / "nats.conf"
    text = config.read_text()
    config.write_text(re.sub(rf'.*"vts\.v{PROTOCOL_VERSION}\..*\n', "", text))
    stack.environment["VTSSERVING_VERSION"] = OLD
    stack.up("--no-build", "--scale", "runner=2", "--scale", "gateway=2")
    # A new file: the server that runs goes on to see the one that it was started with.
    config.unlink()
    config.write_text(text)
    yield stack
    stack.compose("down", "--volumes")
    stack.environment["VTSSERVING_VERSION"] = "test"
    stack.run("docker", "image", "rm", *(f"vtsserving-{service}:{OLD}" for service in SERVICES))


@pytest.mark.prove
def test_a_set_of_another_wire_takes_over_and_back_and_loses_no_request(
    old: ComposeStack, proof: Proof
) -> None:
    stack = old
    assert wire_versions(stack) == {"1"}
    stack.environment["VTSSERVING_VERSION"] = "test"
    assert "deploy/roll.sh --beside" in refused_roll(stack, "batcher")

    async def scenario() -> Report:
        async with Load.closed(linear(stack), clients=CLIENTS) as load:
            await load.progress(200)
            for version, wire in (("test", str(PROTOCOL_VERSION)), (OLD, "1")):
                stack.environment["VTSSERVING_VERSION"] = version
                await asyncio.to_thread(stack.run, "deploy/roll.sh", "--beside")
                await load.progress(200)
                assert await asyncio.to_thread(wire_versions, stack) == {wire}
            return await load.stop()

    report = asyncio.run(scenario())
    print(report)
    proof.record(
        f"compose: 0.1.0 to this release and back, deploy/roll.sh --beside, {CLIENTS} clients",
        requests=len(report.answers),
        not_right=len(report.answers) - len(report.of("right")),
        worst_s=max(answer.latency_s for answer in report.answers),
    )
    assert len(report.of("right")) == len(report.answers), report
