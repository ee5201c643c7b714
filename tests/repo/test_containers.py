from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support.source_tree import REPOSITORY
from vtsserving.exceptions import from_code

DOCKERFILE = (REPOSITORY / "deploy" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((REPOSITORY / "deploy" / "compose.yaml").read_text())
EDGE = (REPOSITORY / "deploy" / "haproxy.cfg").read_text()
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
    for target in (*SERVICES, "runner-cuda"):
        users = re.findall(r"^USER (\S+)", stage(target), re.MULTILINE)
        assert users in ([], ["10001:10001"]), target


def test_the_build_needs_no_frontend_and_no_recent_syntax() -> None:
    for newer in ("# syntax=", "--link", "<<"):
        assert newer not in DOCKERFILE


def test_bases_frameworks_and_the_source_of_torch_are_build_arguments() -> None:
    assert set(re.findall(r"^FROM \$\{(\w+)\}", DOCKERFILE, re.MULTILINE)) == {"PYTHON_IMAGE", "CUDA_IMAGE"}
    for argument in (
        "PYTHON_IMAGE=python:3.11-slim-bookworm",
        "RUNNER_EXTRAS=sklearn,onnx,xgboost,lightgbm",
        "TORCH=torch==2.13.0",
        "TORCH_INDEX_URL=",
    ):
        assert f"ARG {argument}\n" in DOCKERFILE


def test_what_is_ignored_by_a_build_has_all_that_the_dockerfile_copies() -> None:
    kept = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    }
    bound = set(re.findall(r"type=bind,source=([^,]+)", DOCKERFILE))
    assert copied | bound == kept


def test_every_image_is_labelled() -> None:
    for target in (*SERVICES, "runner-cuda"):
        for label in ("title", "description", "version", "revision"):
            assert f"org.opencontainers.image.{label}=" in stage(target), (target, label)


def test_compose_waits_for_health_and_only_the_edge_publishes_on_loopback() -> None:
    services = COMPOSE["services"]
    assert {"edge", "nats", "minio", "setup", *SERVICES} <= set(services)
    unhealthy = {
        (name, needed): how["condition"]
        for name, service in services.items()
        for needed, how in service.get("depends_on", {}).items()
        if how["condition"] != "service_healthy"
    }
    # What waits for models must not keep the store from being reached.
    assert unhealthy == {
        ("edge", "gateway"): "service_started",
        ("gateway", "runner"): "service_started",
        ("store", "setup"): "service_completed_successfully",
    }
    ports = {name: service["ports"] for name, service in services.items() if service.get("ports")}
    assert set(ports) == {"edge"}
    assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:${") for port in ports["edge"])


def test_services_are_read_only_without_capabilities_and_get_longer_to_stop_than_they_drain() -> None:
    from vtsserving_batcher.settings import BatcherSettings
    from vtsserving_gateway.settings import GatewaySettings
    from vtsserving_runner.settings import RunnerSettings
    from vtsserving_store.settings import StoreSection

    gateway = GatewaySettings()
    drains_s = {
        "gateway": gateway.grace_s + gateway.drain_s,
        "batcher": BatcherSettings().drain_s,
        "runner": RunnerSettings().drain_s,
        "store": StoreSection().drain_s,
    }
    for name, drain_s in drains_s.items():
        service = COMPOSE["services"][name]
        assert service["read_only"] is True
        assert service["init"] is True
        assert service["cap_drop"] == ["ALL"]
        assert float(service["stop_grace_period"].removesuffix("s")) > drain_s + 5


def test_no_secret_stands_in_the_environment_of_a_container() -> None:
    for name, service in COMPOSE["services"].items():
        for variable in service.get("environment", {}):
            secret = re.search(r"PASSWORD|TOKEN|SECRET_KEY|ACCESS_KEY", variable)
            assert not secret or variable.endswith("_FILE"), (name, variable)


def test_each_container_is_given_only_the_passwords_that_it_needs() -> None:
    given = {
        name: {one if isinstance(one, str) else one["source"] for one in service.get("secrets", [])}
        for name, service in COMPOSE["services"].items()
    }
    holders = {secret: {name for name in given if secret in given[name]} for secret in COMPOSE["secrets"]}
    assert holders == {
        "ca": set(),
        "nats_passwords": {"nats"},
        "nats_routes": {"nats"},
        "nats_gateway": {"gateway"},
        "nats_batcher": {"batcher"},
        "nats_runner": {"runner", "runner-cuda"},
        "nats_store": {"store"},
        "s3_access_key": {"minio", "setup", "store"},
        "s3_secret_key": {"minio", "setup", "store"},
        "store_token": {"gateway", "runner", "runner-cuda", "setup"},
    }


def test_the_runner_reaches_neither_the_world_nor_the_storage() -> None:
    assert COMPOSE["services"]["runner"]["networks"] == ["inner"]
    assert COMPOSE["networks"]["inner"]["internal"] is True
    assert "inner" not in COMPOSE["services"]["minio"]["networks"]


def test_the_example_of_settings_says_what_compose_does_without_it() -> None:
    """A line of .env.example is the default of the same variable in compose.yaml, or that has none."""
    text = (REPOSITORY / "deploy" / "compose.yaml").read_text()
    example = (REPOSITORY / "deploy" / ".env.example").read_text()
    settings = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", example, re.MULTILINE))
    used = dict(re.findall(r"\$\{([A-Z0-9_]+):[-?]([^}]*)\}", text))
    assert set(settings) - {"COMPOSE_PROFILES"} == set(used)
    assert settings["VTSSERVING_AUTH"] == "off"
    for name in set(used) - {"VTSSERVING_AUTH"}:
        assert settings[name] == used[name], name


def test_init_writes_what_compose_needs_once(tmp_path: Path) -> None:
    for name in ("init.sh", ".env.example"):
        shutil.copy(REPOSITORY / "deploy" / name, tmp_path / name)

    def init() -> dict[str, str]:
        subprocess.run(["sh", str(tmp_path / "init.sh")], check=True, capture_output=True)
        return {path.name: path.read_text().strip() for path in (tmp_path / "secrets").iterdir()}

    first = init()
    files = {Path(secret["file"]).name for name, secret in COMPOSE["secrets"].items() if name != "ca"}
    assert set(first) == files
    assert len({first[f"nats_{role}"] for role in SERVICES}) == len(SERVICES)
    assert all(len(first[f"nats_{role}"]) == 48 for role in SERVICES)
    assert f'runner_password: "{first["nats_runner"]}"' in first["nats-passwords.conf"]
    (route,) = re.findall(r'^cluster_password: "([0-9a-f]{48})"$', first["nats-routes.conf"], re.MULTILINE)
    assert f'cluster_route: "nats-route://nats:{route}@nats:6222"' in first["nats-routes.conf"]
    assert route not in {first[f"nats_{role}"] for role in SERVICES}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    (tmp_path / ".env").write_text("# mine\n")
    assert init() == first
    assert (tmp_path / ".env").read_text() == "# mine\n"


def test_the_requirements_layer_lists_the_dependencies_and_the_wanted_extras() -> None:
    command = [sys.executable, "deploy/requirements.py", "sklearn,pandas"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert any(line.startswith("uvicorn>=") for line in lines)
    assert lines[-2].startswith("scikit-learn")
    assert lines[-1].startswith("pandas")


def test_an_extra_that_does_not_exist_stops_the_build_and_says_which_do() -> None:
    command = [sys.executable, "deploy/requirements.py", "sklaern"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith("RUNNER_EXTRAS: pyproject.toml has no extra 'sklaern'; choose of ")
    assert "sklearn" in said


@pytest.mark.parametrize(("frontend", "code"), [("predictions", "gateway"), ("models", "store")])
def test_what_the_edge_says_itself_is_an_error_of_the_table(frontend: str, code: str) -> None:
    (section,) = re.findall(rf"^frontend {frontend}\n((?:    .*\n)+)", EDGE, re.MULTILINE)
    said = re.findall(
        r"^    http-error status (\d+) content-type application/json string '(.+)'(.*)$",
        section,
        re.MULTILINE,
    )
    assert {int(status) for status, _, _ in said} == {400, 408, 502, 503, 504}
    for status, text, rest in said:
        error = json.loads(text)["error"]
        assert set(error) == {"code", "message", "request_id"}
        known = from_code(error["code"], error["message"])
        assert known.code == error["code"]
        # The table has no 502 for what may be tried again.
        assert known.http_status == (503 if status == "502" else int(status))
        assert ("retry-after" in rest) == (int(status) in (502, 503))
        assert int(status) not in (502, 503) or known.code == f"{code}_unavailable"


def test_the_edge_counts_as_starting_for_longer_than_the_gateways_that_it_does_not_wait_for() -> None:
    pattern = r"HEALTHCHECK --interval=(\d+)s .*--start-period=(\d+)s --retries=(\d+)"
    (interval_s, start_s, retries) = map(int, re.findall(pattern, stage("gateway"))[0])
    edge_s = float(COMPOSE["services"]["edge"]["healthcheck"]["start_period"].removesuffix("s"))
    assert edge_s > start_s + interval_s * retries
