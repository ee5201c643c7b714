"""Clients that offer HTTP/2 with their first request: Java's default HttpClient, and curl when it is asked to."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from support.backend import entry, rows_spec
from support.served_gateway import served
from support.stores import ThreadedStore, store_settings

LIMITS = {"max_body_bytes": 4_000_000}
ENTRIES = [entry("iris", input_specs=rows_spec(4))]
SUM = {("iris", "predict"): lambda X: X.sum(axis=1)}

pytestmark = [pytest.mark.frameworks("java"), pytest.mark.slow, pytest.mark.timeout(300)]


def run(*command: str, given: bytes | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout.decode()


def test_javas_default_client_is_answered() -> None:
    """A JDK runs the program as it is: `java` of 11 or later, on PATH."""
    with served(ENTRIES, SUM, LIMITS) as gateway:
        program = Path(__file__).with_name("Offers.java")
        lines = run("java", str(program), f"http://127.0.0.1:{gateway.port}").splitlines()
    expected = [f"HTTP_1_1 200 [{number + 9.0}]" for number in range(60)]
    assert lines == [*expected, 'HTTP_1_1 200 {"live":true}']


def curl(*options: str, given: bytes | None = None) -> str:
    return run(
        "curl",
        "-sS",
        "--http2",
        "--max-time",
        "30",
        "-w",
        " %{http_version} %{http_code}",
        *options,
        given=given,
    )


def test_curl_that_asks_for_http2_is_answered() -> None:
    with served(ENTRIES, SUM, LIMITS) as gateway:
        url = f"http://127.0.0.1:{gateway.port}"
        call = f"{url}/v1/models/iris/predict"
        json_type = ("-H", "Content-Type: application/json")
        assert curl(call, *json_type, "-d", "[[1, 2, 3, 4]]") == "[10.0] 1.1 200"
        # Of unknown length, so in chunks; then with `Expect: 100-continue`, which curl sends with large bodies.
        chunked = ("-T", "-", "-X", "POST", "-H", "Transfer-Encoding: chunked")
        assert curl(call, *json_type, *chunked, given=b"[[2, 2, 3, 4]]") == "[11.0] 1.1 200"
        large = b"[[3, 2, 3, 4]]" + b" " * 2_000_000
        assert curl(call, *json_type, "--data-binary", "@-", given=large) == "[12.0] 1.1 200"
        assert curl(f"{url}/livez") == '{"live":true} 1.1 200'
        # Slowly: 40 KB in two seconds.
        slow = ("--limit-rate", "20k", "--data-binary", "@-")
        assert curl(call, *json_type, *slow, given=b"[[4, 2, 3, 4]]" + b" " * 40_000) == "[13.0] 1.1 200"


def test_the_store_answers_them_too(tmp_path: Path) -> None:
    content = b"x" * 200_000
    with ThreadedStore(store_settings(tmp_path)) as store:
        path = f"{store.url}/api/v1/blobs/sha256:{hashlib.sha256(content).hexdigest()}"
        assert curl(path, "-T", "-", given=content).endswith((" 1.1 200", " 1.1 201"))
        assert curl(path) == f"{content.decode()} 1.1 200"
