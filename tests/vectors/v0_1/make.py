"""Write what release 0.1.0 leaves on disk: models, archives, a store, its backup, logins and pickles.

Run it in an environment that has nothing but the wheel beside this file and the frameworks, on Python 3.11:

    python3.11 -m venv made-with && made-with/bin/pip install torch==2.13.0 xgboost-cpu==3.2.0 \\
        'vtsserving-0.1.0-py3-none-any.whl[sklearn,onnx,lightgbm,catboost,transformers,lightning,pandas]'
    made-with/bin/python make.py OUT

`made.json` names the versions that the files here were made with. Only the public API and the command line are used.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
WHEEL: Final = HERE / "vtsserving-0.1.0-py3-none-any.whl"
RELEASE: Final = "0.1.0"
READY_TIMEOUT_S: Final = 180.0
ARCHIVES: Final = {
    "vtsmodel": ".vtsmodel", "tar": ".tar", "gz": ".tar.gz", "xz": ".tar.xz", "bz2": ".tar.bz2", "zip": ".zip",
    "folder": "",
}  # fmt: skip
RECORDED: Final = (
    "catboost", "cloudpickle", "joblib", "lightgbm", "numpy", "onnx", "onnxruntime", "pytorch-lightning",
    "scikit-learn", "torch", "transformers", "vtsserving", "xgboost-cpu",
)  # fmt: skip


def main(out: Path) -> None:
    """Write everything into an empty folder."""
    check_environment()
    out.mkdir()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["VTSSERVING_HOME"] = str(folder / "home")
        os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
        shutil.copytree(HERE / "project", folder / "project")
        made = save_models(folder)
        expected = {"models": expected_of(made), **serve_and_ask(folder, made)}
        expected["packed"] = packed_models()
        tokens = fill_store(folder, [one["tag"] for one in expected["models"]])
        archives = export(out)
        write_pickles(out)
        write_json(out / "expected.json", {**expected, "archives": archives})
        write_json(out / "tokens.json", tokens)
        for name in ("home", "store", "backup", "project"):
            pack_tree(folder / name, out / f"{name}.tar.gz")
    versions = {name: importlib.metadata.version(name) for name in RECORDED}
    wheel = hashlib.sha256(WHEEL.read_bytes()).hexdigest()
    write_json(
        out / "made.json", {"python": platform.python_version(), "wheel_sha256": wheel, "packages": versions}
    )


def check_environment() -> None:
    """Refuse to run on anything but the wheel beside this file."""
    installed = importlib.metadata.distribution("vtsserving")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    wheel = hashlib.sha256(WHEEL.read_bytes()).hexdigest()
    if origin.get("archive_info", {}).get("hashes", {}).get("sha256") != wheel:
        sys.exit(f"install {WHEEL.name} into this environment first: what is there is {origin or installed}")
    if sys.version_info[:2] != (3, 11):
        sys.exit("packed classes carry code of one Python minor version: these are made with 3.11")


# --- the local store ----------------------------------------------------------------------------------------------


def save_models(folder: Path) -> list[Any]:
    """Save all models, point aliases to them, change settings, delete one."""
    import make_models

    import vtsserving

    makers = [*make_models.LIGHT, *make_models.HEAVY, functools.partial(make_models.transformers, folder)]
    made = [one for maker in makers for one in maker()]
    first = next(one.tag for one in made if one.tag.startswith("iris:") and not one.tag.endswith("second"))
    command("models", "alias", first, "production")
    command("models", "alias", "iris:second", "candidate")
    command("models", "alias", "iris:second", "gone")
    command("models", "alias", "iris", "gone", "--remove")
    command("models", "configure", "iris", "max_batch_size=24")
    command("models", "configure", first, "threads=2", "predict_proba.max_batch_size=2")
    with vtsserving.models.create("deleted:one") as new:
        new.path_of("file").write_text("gone")
    command("models", "delete", "deleted:one", "--yes")
    return made


def expected_of(made: list[Any]) -> list[dict[str, Any]]:
    """What the records say of each model."""
    import vtsserving

    found = []
    for one in made:
        model = vtsserving.models.get(one.tag)
        found.append(
            {
                "tag": one.tag,
                "digest": model.digest,
                "module": model.info.module,
                "method": one.method,
                "body": one.body,
                "exact": one.exact,
                "runs_code": model.info.runs_code,
                "by_value": bool(model.info.extra.get("pickle_by_value")),
                "frameworks": sorted(model.info.context.framework_versions),
                "labels": dict(model.info.labels),
                "metadata": json.loads(json.dumps(dict(model.info.metadata), default=str)),
                "options": dict(model.info.raw_options),
                "signatures": {name: s.to_dict() for name, s in model.info.signatures.items()},
                "input_specs": dict(model.info.input_specs),
                "description": model.info.description,
                "custom_objects": sorted(model.custom_objects),
                "shown": json.loads(command("models", "get", one.tag, "-o", "json")),
                "files": [entry.path for entry in model.manifest.files],
            }
        )
    return found


def packed_models() -> list[dict[str, Any]]:
    """The hidden models that `services pack` has made."""
    import vtsserving

    packed = [model for model in vtsserving.models.list(hidden=True) if model.tag.name.startswith("packed.")]
    return [{"tag": str(model.tag), "digest": model.digest} for model in packed]


def serve_and_ask(folder: Path, made: list[Any]) -> dict[str, Any]:
    """The answers over HTTP of every model, and of a Service with a packed class."""
    service = str(folder / "project" / "prices_service.py") + ":svc"
    command("services", "pack", service)
    served = [one for one in made if one.method]
    answers: dict[str, Any] = {}
    with running("serve", *(one.tag for one in served), port_path="/readyz") as url:
        for one in served:
            answers[one.tag] = ask(f"{url}/v1/models/{one.tag}/{one.method}", one.body)
    rows = [[1.0, 2.0, 0.5, 4.0], [3.0, 1.0, 2.0, 0.25]]
    calls = {}
    with running("serve", service, port_path="/readyz") as url:
        for route, body in (("quote", rows), ("about", None)):
            calls[route] = {"body": body, "answer": ask(f"{url}/{route}", body)}
    return {"answers": answers, "service": calls}


# --- the store service --------------------------------------------------------------------------------------------


def fill_store(folder: Path, tags: list[str]) -> dict[str, Any]:
    """Push everything into a store that wants tokens, and leave a push and an upload in it that never ended."""
    store = str(folder / "store")
    tokens = {
        scope: command("store", "token", "create", f"test-{scope}", "--scope", scope, "--dir", store).strip()
        for scope in ("infer", "pull", "push", "admin")
    }
    revoked = command("store", "token", "create", "revoked", "--scope", "pull", "--dir", store).strip()
    command("store", "token", "revoke", revoked.split("_")[1], "--dir", store)
    token_file = str(folder / "home" / "tokens.jsonl")
    of_file = command(
        "store", "token", "create", "test-file", "--scope", "infer", "--file", token_file
    ).strip()
    os.environ["VTSSERVING_AUTH"] = "required"
    with running("store", "serve", "--dir", store, port_path="/readyz") as url:
        given = folder / "token.txt"
        given.write_text(tokens["push"])
        command("login", url, "--token-stdin", "--name", "team", stdin=given)
        command("models", "push", *tags)
        command("services", "push", str(folder / "project" / "prices_service.py") + ":svc")
        command("models", "alias", "iris:second", "live", "--remote")
        command("models", "alias", next(t for t in tags if t.startswith("iris:")), "live", "--remote")
        command("models", "configure", "iris", "max_batch_size=12", "--remote")
        call(
            f"{url}/api/v1/models/iris/versions/second/labels",
            tokens["push"],
            "PATCH",
            {"labels": {"stage": "old"}},
        )
        digest = "sha256:" + hashlib.sha256(b"never sent").hexdigest()
        call(f"{url}/api/v1/pushes", tokens["push"], "POST", {"digests": [digest]})
        call(f"{url}/api/v1/uploads", tokens["push"], "POST", {"digest": digest, "size": 10})
        shown = call(f"{url}/api/v1/models/iris", tokens["pull"], "GET", None)
    del os.environ["VTSSERVING_AUTH"]
    command("store", "backup", "--dir", store, str(folder / "backup"))
    command("store", "fsck", "--deep", "--dir", store)
    return {"tokens": tokens, "revoked": revoked, "file": of_file, "login": url, "iris": shown}


# --- archives and pickles -----------------------------------------------------------------------------------------


def export(out: Path) -> dict[str, str]:
    """One archive of each format."""
    (out / "archives").mkdir()
    for name, extension in ARCHIVES.items():
        command(
            "models",
            "export",
            "iris:production",
            str(out / "archives" / f"iris{extension}"),
            "--format",
            name,
        )
    return {name: f"iris{extension}" for name, extension in ARCHIVES.items()}


def write_pickles(out: Path) -> None:
    """Pickles of public classes and instances."""
    import make_pickles

    write_json(
        out / "pickles.json",
        {
            "modules": make_pickles.modules(),
            "public": make_pickles.public(),
            "references": make_pickles.references(),
            "instances": make_pickles.instances(),
            "subclass": make_pickles.subclass(),
        },
    )


# --- running things -----------------------------------------------------------------------------------------------


def command(*arguments: str, stdin: Path | None = None) -> str:
    """Run the command line; returns what it printed."""
    with contextlib.ExitStack() as stack:
        given = stack.enter_context(stdin.open()) if stdin else subprocess.DEVNULL
        ended = subprocess.run(
            [sys.executable, "-m", "vtsserving_cli", *arguments],
            stdin=given,
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode:
        sys.exit(f"{' '.join(arguments)}: {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout


@contextlib.contextmanager
def running(*arguments: str, port_path: str) -> Iterator[str]:
    """A command that serves, on a free port; yields its address when it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "vtsserving_cli", *arguments, "--port", str(port)])
    try:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not is_ready(f"http://127.0.0.1:{port}{port_path}"):
            if process.poll() is not None or time.monotonic() > deadline_s:
                sys.exit(f"{' '.join(arguments)} does not get ready")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def is_ready(url: str) -> bool:
    """Whether a GET succeeds now."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def ask(url: str, body: Any) -> Any:
    """Post JSON; returns the answer's."""
    return call(url, "", "POST", body)


def call(url: str, token: str, method: str, body: Any) -> Any:
    """Send a request; returns the answer's JSON."""
    headers = {"content-type": "application/json", "x-request-timeout": "120"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None if method == "GET" else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data, headers, method=method), timeout=130
        ) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {url}: {error.code} {error.read()!r}")


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people can read and compare."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def pack_tree(tree: Path, archive: Path) -> None:
    """Put a folder into one compressed file, owned by nobody in particular; modes and times stay."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if "__pycache__" in member.name or member.name.endswith(".lock"):
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with gzip.GzipFile(archive, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(tree, tree.name, filter=plain)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
