"""Running store services for tests."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from minio import Minio

from support.seaweedfs import ACCESS_KEY, SECRET_KEY
from support.supervisor import free_port
from vtsserving_store import maintenance
from vtsserving_store.app import StoreApp
from vtsserving_store.settings import StoreSettings, read_settings

START_TIMEOUT_S: Final = 60.0


def wait_until(condition: Callable[[], object], *, within_s: float = START_TIMEOUT_S, what: str = "") -> None:
    """Return as soon as the condition is true; for code without an event loop."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)


def answers(url: str) -> bool:
    """Whether a GET of the URL succeeds now."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


class Bucket(NamedTuple):
    """A bucket on a test server."""

    endpoint: str
    name: str


def bucket_of_its_own(endpoint: str) -> Bucket:
    """Create an empty bucket on a test server."""
    name = f"b{secrets.token_hex(8)}"
    client = Minio(endpoint.partition("://")[2], ACCESS_KEY, SECRET_KEY, secure=False, region="us-east-1")
    client.make_bucket(name)
    return Bucket(endpoint, name)


def s3_section(endpoint: str, bucket: str = "") -> dict[str, Any]:
    """Settings for a bucket of its own on a test server."""
    return {
        "endpoint": endpoint,
        "bucket": bucket or f"b{secrets.token_hex(8)}",
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "region": "us-east-1",
    }


def store_settings(
    directory: Path | None = None, s3: Mapping[str, Any] | None = None, **more: Any
) -> StoreSettings:
    """Settings of a store on a directory or a bucket; `more` goes into its own section."""
    auth = more.pop("auth", "off")
    section: dict[str, Any] = {"port": 0, "index_max_age_s": 0, "dir": directory, **more}
    return read_settings(store=section, s3=dict(s3 or {}), auth=auth)


def token(settings: StoreSettings, scope: str, *, expires_in_s: float | None = None) -> str:
    """Create a token in a store's storage and return its text."""
    with maintenance.opened(settings) as parts:
        return parts.tokens.create(scope, scope, expires_in_s=expires_in_s)[1]


class ThreadedStore:
    """A store service on an event loop in a thread of this process."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.url = ""
        self.app = StoreApp(settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="store")

    def __enter__(self) -> ThreadedStore:
        self._thread.start()
        try:
            self.call(self.app.start())
        except BaseException:
            self._end()
            raise
        self.url = f"http://127.0.0.1:{self.app.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self.app.drain())
        self._end()

    def call(self, coroutine: Any) -> Any:
        """Run a coroutine on the store's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def _end(self) -> None:
        self.call(self.app.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


class StoreProcess:
    """A store service as a process of its own, which can be killed and started again on its port."""

    def __init__(self, folder: Path, settings: Mapping[str, str], *, port: int = 0) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"store-{self.port}.log"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("VTSSERVING_")},
            "VTSSERVING_STORE__PORT": str(self.port),
            "VTSSERVING_AUTH": "off",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> StoreProcess:
        """Start it and return when it is ready."""
        self.spawn()
        wait_until(lambda: answers(f"{self.url}/readyz"), what=f"the store; {self.log()[-2000:]}")
        return self

    def spawn(self) -> None:
        """Start it."""
        with self._log.open("ab") as log:
            argv = [sys.executable, "-m", "vtsserving_store"]
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=self._environment)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        """Ask it to end; returns its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)

    def wait(self, within_s: float = START_TIMEOUT_S) -> int:
        """Return the exit code of a store that ends by itself."""
        assert self._process is not None
        return self._process.wait(within_s)

    def peak_memory_bytes(self) -> int:
        """Most memory that it had resident so far."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> StoreProcess:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
