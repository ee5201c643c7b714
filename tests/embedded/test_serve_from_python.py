"""`vtsserving.serve(...)`: the embedded stack from Python, in a child process that ends with its parent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vtsserving
from support.sdk import iris_classifier, iris_rows
from support.stores import wait_until
from support.supervisor import descendants, process_state
from vtsserving.exceptions import (
    ConfigurationError,
    DeadlineExceeded,
    InvalidArgument,
    ModelNotFound,
    ServerEnded,
)

pytestmark = pytest.mark.slow

HOLDER = """
import json, os, signal
import vtsserving
server = vtsserving.serve("iris_clf:latest", port=0)
# A fork keeps every descriptor of this process open after it is gone.
forked = os.fork()
if forked:
    print(json.dumps([server.pid, server.url, forked]), flush=True)
signal.pause()
"""


@pytest.fixture
def iris(clean_environment: Path) -> str:
    return str(vtsserving.sklearn.save_model("iris_clf", iris_classifier()).tag)


@pytest.fixture
def leftovers() -> Iterator[list[int]]:
    """Processes that a test started and may have left."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def is_gone(pid: int) -> bool:
    return process_state(pid) in ("", "Z")


def test_a_model_is_served_until_the_handle_stops_it(iris: str) -> None:
    server = vtsserving.serve("iris_clf:latest", port=0)
    assert server.serving == (iris,)
    assert server.running
    with server.client() as client:
        answer = client.predict("iris_clf:latest", iris_rows()[:3])
    assert answer.tolist() == [0, 0, 0]
    children = descendants(server.pid)
    server.stop()
    assert not server.running
    assert "stopped" in repr(server)
    assert "stopped" in server.log()
    assert all(is_gone(pid) for pid in (server.pid, *children))
    server.stop()


def test_a_with_block_ends_the_server(iris: str, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "serve.log"
    with vtsserving.serve(iris, port=0, log_file=log) as server:
        assert server.log_file == log
        with server.client() as client:
            assert client.predict(iris, iris_rows()[:1]).tolist() == [0]
    assert not server.running
    assert "ready" in log.read_text()


def test_the_address_is_the_one_that_the_settings_name(iris: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_GATEWAY__HOST", "127.0.0.2")
    with vtsserving.serve(iris, port=0) as server, server.client() as client:
        assert server.url.startswith("http://127.0.0.2:")
        assert client.predict(iris, iris_rows()[:1]).tolist() == [0]


def test_the_callers_process_imports_no_service(iris: str) -> None:
    code = (
        "import json, sys, vtsserving\n"
        "with vtsserving.serve('iris_clf', port=0) as server: server.client()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not {name for name in loaded if name.startswith("vtsserving_")}
    assert {"fastapi", "uvicorn", "nats"}.isdisjoint(loaded)


def test_a_model_that_does_not_exist_is_the_childs_own_error(clean_environment: Path) -> None:
    with pytest.raises(ModelNotFound, match="no_such_model"):
        vtsserving.serve("no_such_model:latest", port=0)


def test_a_taken_port_is_an_error_with_the_end_of_the_log(iris: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}.*in use") as raised:
            vtsserving.serve(iris, port=port)
    assert "The end of" in str(raised.value)


def test_a_service_is_served_by_its_place(iris: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flowers.py").write_text(
        "import vtsserving\n"
        "from vtsserving.io import JSON\n"
        "runner = vtsserving.sklearn.get('iris_clf:latest').to_runner()\n"
        "svc = vtsserving.Service('flowers', runners=[runner])\n"
        "@svc.api(input=JSON(), output=JSON())\n"
        "def species(rows):\n"
        "    return runner.predict.run(rows).tolist()\n"
    )
    monkeypatch.chdir(tmp_path)
    with vtsserving.serve("flowers.py:svc", port=0) as server:
        assert server.serving[-1] == "flowers.py:svc"
        with server.client() as client:
            assert client.species(iris_rows()[:2].tolist()) == [0, 0]


def test_a_child_that_ends_by_itself_shows_its_last_lines(
    clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("import os, sys\nprint('giving up', flush=True)\nos._exit(3)\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServerEnded, match=r"(?s)exit code 3.*giving up"):
        vtsserving.serve(service="broken.py:svc", port=0)


def test_a_server_that_is_not_ready_in_time_does_not_stay(
    clean_environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "never")
    (tmp_path / "stuck.py").write_text(
        "import os\nopen('pid', 'w').write(str(os.getpid()))\nopen('never').read()\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeadlineExceeded, match="timeout_s"):
        vtsserving.serve(service="stuck.py:svc", port=0, timeout_s=5.0)
    pid = tmp_path / "pid"
    assert not pid.exists() or is_gone(int(pid.read_text()))


def test_something_that_is_no_name_is_refused_before_anything_starts() -> None:
    with pytest.raises(InvalidArgument, match=r"service\.py:svc"):
        vtsserving.serve(object())  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="name a model"):
        vtsserving.serve(port=0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_with_its_parent_however_that_ends(
    iris: str, leftovers: list[int], how: signal.Signals
) -> None:
    parent = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None and parent.stdout is not None
    try:
        server, _, forked = json.loads(parent.stdout.readline())
        models = descendants(server)
        leftovers += [server, forked, *models]
        assert models
        parent.send_signal(how)
        parent.wait(30)
        wait_until(lambda: all(is_gone(pid) for pid in (server, *models)), what="the end of the server")
        assert not is_gone(forked), "the fork that holds the parent's descriptors is alive all the while"
    finally:
        parent.kill()
        parent.wait()
        parent.stdin.close()
        parent.stdout.close()


def test_an_interrupt_of_the_callers_group_leaves_the_server_alone(iris: str) -> None:
    with vtsserving.serve(iris, port=0) as server:
        assert os.getpgid(server.pid) != os.getpgid(0)
        assert os.getsid(server.pid) == server.pid


def test_the_server_ends_when_the_program_ends(iris: str) -> None:
    code = "import vtsserving\nprint(vtsserving.serve('iris_clf', port=0).pid)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert is_gone(int(done.stdout))
    assert done.stderr == ""
