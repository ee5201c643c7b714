from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

from support.source_tree import REPOSITORY

DOCKERFILE = (REPOSITORY / "deploy" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())
SERVICES = ("gateway", "store", "batcher", "runner")


def stage(name: str) -> str:
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found, f"no stage {name}"
    return found.group(1)


def exec_form(text: str, instruction: str) -> list[str]:
    found = re.search(rf"{instruction} (\[.*\])$", text, re.MULTILINE)
    assert found, f"no {instruction} in exec form"
    words: list[str] = json.loads(found.group(1))
    return words


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_a_target_that_starts_and_checks_itself_without_a_shell(service: str) -> None:
    module = f"vtsserving_{service}"
    assert exec_form(stage(service), "ENTRYPOINT") == ["python", "-m", module]
    assert exec_form(stage(service), "CMD") == ["python", "-m", module, "health"]


def test_services_run_as_a_numbered_user_without_rights() -> None:
    assert "USER 10001:10001" in stage("base")
    assert not re.search(r"^USER", "".join(stage(s) for s in SERVICES), re.MULTILINE)


def test_the_build_needs_no_frontend_and_no_recent_syntax() -> None:
    for newer in ("# syntax=", "--link", "<<", "--mount"):
        assert newer not in DOCKERFILE


def test_the_base_image_is_a_build_argument() -> None:
    assert DOCKERFILE.count("FROM ${PYTHON_IMAGE}") == 2
    assert "ARG PYTHON_IMAGE=python:3.11-slim-bookworm" in DOCKERFILE


def test_compose_waits_for_health_and_publishes_on_loopback_only() -> None:
    services = COMPOSE["services"]
    assert {"nats", "minio", *SERVICES} <= set(services)
    conditions = {
        needed["condition"]
        for service in services.values()
        for needed in service.get("depends_on", {}).values()
    }
    assert conditions == {"service_healthy", "service_completed_successfully"}
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:${") for port in ports)


def test_the_requirements_layer_lists_the_dependencies_and_the_wanted_extras() -> None:
    command = [sys.executable, "deploy/requirements.py", "sklearn,pandas"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert any(line.startswith("uvicorn>=") for line in lines)
    assert lines[-2].startswith("scikit-learn")
    assert lines[-1].startswith("pandas")
