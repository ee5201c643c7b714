"""The cluster of deploy/compose.yaml, really running, in a project and on ports of the tests' own.

The tests use a copy of what is committed, as a user's fresh checkout would be, so that `.env` and secrets of whoever
works here stay untouched.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import yaml

from support.source_tree import REPOSITORY
from support.supervisor import command_line, descendants, free_port

PROJECT: Final = "vtsserving-test"
COPIED: Final = (
    "deploy",
    "libs",
    "services",
    "cli",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    ".dockerignore",
)
COMMAND_TIMEOUT_S: Final = 900.0
POLL_S: Final = 0.05
STANDINS: Final = "tests/compose/standins/build.sh makes stand-ins of Debian packages"


def missing() -> str:
    """What this machine lacks for these tests, in one line; empty if nothing."""
    if shutil.which("docker") is None:
        return "docker is not on PATH"
    engine = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if engine.returncode != 0:
        return f"no container engine answers: {engine.stderr.strip().splitlines()[-1]}"
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        return "docker has no compose plugin"
    if os.geteuid() != 0:
        return "killing processes in containers needs root"
    example = (REPOSITORY / "deploy" / ".env.example").read_text()
    images = re.findall(r"^(?:PYTHON|EDGE|NATS|S3)_IMAGE=(.+)$", example, re.MULTILINE)
    absent = [
        i
        for i in images
        if subprocess.run(["docker", "image", "inspect", i], capture_output=True, check=False).returncode
    ]
    return f"images are missing, pull them ({STANDINS}): {' '.join(absent)}" if absent else ""


class ComposeStack:
    """One compose project. Call `close` at the end; it removes everything.

    Attributes:
        folder: the checkout that is used.
        gateway_port: of the edge, for predictions, on 127.0.0.1.
        store_port: of the edge, for the store, on 127.0.0.1.
    """

    def __init__(self, folder: Path) -> None:
        """Copy the checkout; nothing is started."""
        self.folder = folder
        for name in COPIED:
            source, target = REPOSITORY / name, folder / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".env", "secrets")
                shutil.copytree(source, target, ignore=ignored)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        self.gateway_port, self.store_port = free_port(), free_port()
        bin_folder = str(Path(sys.executable).parent)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VTSSERVING_")}
        self.environment = {
            **inherited,
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "COMPOSE_PROJECT_NAME": PROJECT,
            "VTSSERVING_VERSION": "test",
            "GATEWAY_PORT": str(self.gateway_port),
            "STORE_PORT": str(self.store_port),
            "VTSSERVING_HOME": str(folder / "home"),
            "VTSSERVING_STORE_URL": f"http://127.0.0.1:{self.store_port}",
        }

    # --- commands ----------------------------------------------------------------------------------------------

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the checkout and return what it wrote to stdout.

        Raises:
            AssertionError: it failed; shows the end of what it said.
        """
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if check and done.returncode != 0:
            said = (done.stdout + done.stderr)[-3_000:]
            raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{said}\n{self.logs()}")
        return done.stdout

    def shell(self, line: str) -> str:
        """Run a line of a shell, as a reader of the documentation types it."""
        return self.run("sh", "-euc", line)

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run `docker compose` on the stack."""
        return self.run("docker", "compose", "-f", "deploy/compose.yaml", *arguments, check=check)

    def set_line(self, name: str, value: str) -> None:
        """Change a setting in deploy/.env, as an editor would."""
        settings = self.folder / "deploy" / ".env"
        lines = settings.read_text().splitlines()
        changed = [f"{name}={value}" if line.startswith(f"{name}=") else line for line in lines]
        assert changed.count(f"{name}={value}") == 1, f"{name} is not in .env"
        settings.write_text("\n".join(changed) + "\n")

    def up(self, *arguments: str) -> None:
        """Start what does not run and return when everything is healthy."""
        self.compose("up", "-d", "--wait", *arguments)

    def logs(self, *services: str, lines: int = 15) -> str:
        """The ends of the containers' logs."""
        done = subprocess.run(
            [
                "docker",
                "compose",
                "-f",
                "deploy/compose.yaml",
                "logs",
                "--no-color",
                "--tail",
                str(lines),
                *services,
            ],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    def post(self, path: str, body: object, *, token: str = "") -> tuple[int, Any]:
        """Send JSON through the edge; returns the status and the answer's JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway_port, timeout=60)
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        return answer.status, found

    # --- containers --------------------------------------------------------------------------------------------

    def containers(self, service: str) -> list[str]:
        """The ids of the running containers of a service."""
        return self.compose("ps", "--quiet", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """What the engine knows of a container."""
        found: list[dict[str, Any]] = json.loads(self.run("docker", "inspect", container))
        return found[0]

    def main_pid(self, container: str) -> int:
        """The process, as this machine numbers it, that does the work of a container: init's child where it has one."""
        pid = int(self.inspect(container)["State"]["Pid"])
        if "docker-init" in command_line(pid) or "tini" in command_line(pid):
            own = [child for child in descendants(pid) if "worker" not in command_line(child)]
            return own[0]
        return pid

    def kill(self, container: str) -> None:
        """End the main process of a container as a crash would."""
        os.kill(self.main_pid(container), signal.SIGKILL)

    def restarts(self, container: str) -> int:
        """How often the engine has started a container again by itself."""
        return int(self.inspect(container)["RestartCount"])

    def healthy(self, container: str) -> bool:
        """Whether a container runs and its health check says so."""
        state = self.inspect(container)["State"]
        return bool(state["Running"]) and state.get("Health", {}).get("Status", "healthy") == "healthy"

    def wait(self, condition: Any, *, within_s: float, what: str) -> float:
        """Return, with the seconds that it took, when a condition is true."""
        began_s = time.monotonic()
        while not condition():
            if time.monotonic() - began_s > within_s:
                raise AssertionError(f"not within {within_s:g} s: {what}\n{self.logs()}")
            time.sleep(POLL_S)
        return time.monotonic() - began_s

    def configuration(self) -> dict[str, Any]:
        """compose.yaml with everything filled in."""
        found: dict[str, Any] = yaml.safe_load(self.compose("config"))
        return found

    # --- the end -----------------------------------------------------------------------------------------------

    def leftovers(self) -> list[str]:
        """Containers, volumes and networks of the project."""
        label = f"label=com.docker.compose.project={PROJECT}"
        found: list[str] = []
        for kind, all_of in (("container", ["--all"]), ("volume", []), ("network", [])):
            found += self.run("docker", kind, "ls", *all_of, "--quiet", "--filter", label).split()
        return found

    def close(self) -> None:
        """Remove everything of the project; may be called again."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if (self.folder / "deploy" / ".env").exists():
                self.compose("--profile", "*", "down", "--volumes", "--timeout", "20", check=False)
