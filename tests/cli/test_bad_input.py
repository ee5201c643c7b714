"""What users and other people's files get wrong, one table: the error of each row, and what it leaves untouched.

The archive's and the store's own tests go deeper into each kind; here every kind stands once, as a user meets it.
"""

from __future__ import annotations

import gzip
import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support.archives import archive_of, raw_tar_header, save_model, tar_entry, tar_of, tree, zip_of
from support.command_line import CommandLine, Ended
from support.file_servers import HttpServer
from support.sdk import iris_classifier, save_copy
from vtsserving._archive import ArchiveLimits, import_model
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.info import ModelContext
from vtsserving.exceptions import VtsServingException

END = bytes(1024)


class World:
    """A store with one model, a sentinel file outside of it, and a canary that only foreign code would touch."""

    def __init__(self, base: Path, vts: CommandLine, store: LocalStore) -> None:
        self.base = base
        self.vts = vts
        self.store = store
        self.kept = save_model(store, tag="kept:v1")
        self.canary = base / "canary"
        (base / "sentinel").write_text("untouched")

    def save(self, name: str = "demo", **details: Any) -> Model:
        """Save an estimator with these details."""
        return vtsserving.sklearn.save_model(name, iris_classifier(), **details)

    def take_in(self, packed: bytes, *more: str) -> Ended:
        """Import these bytes, by the command line."""
        (self.base / "archive").write_bytes(packed)
        return self.vts("models", "import", str(self.base / "archive"), *more)

    def packed(self, archive_format: str = "tar") -> bytes:
        """An archive of a good model, which is not in the store."""
        origin = LocalStore(self.base / "origin")
        return archive_of(save_model(origin, {"weights.bin": b"weights" * 200}), archive_format)

    def load_pickle(self, raw: bytes) -> Any:
        """Load a model whose pickle is these bytes, and recorded as such."""
        saved = vtsserving.picklable_model.save_model("demo", len)
        (saved.path / "model.pkl").write_bytes(raw)
        return vtsserving.picklable_model.load_model(save_copy(saved, {}).tag)

    def load_tampered(self) -> Any:
        """Load a pickle that makes the canary, changed by one byte after it was saved."""
        saved = vtsserving.picklable_model.save_model("demo", Bomb(self.canary), check=False)
        file = saved.path / "model.pkl"
        file.write_bytes(file.read_bytes()[:-2] + b"x.")
        return vtsserving.picklable_model.load_model("demo")

    def without_store(self, make: Callable[[Path], object]) -> Ended:
        """List the models of a home that is something else than a directory."""
        home = self.base / "other"
        make(home)
        os.environ["VTSSERVING_HOME"] = str(home)
        return self.vts("models", "list")


class Bomb:
    """Unpickling it touches a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> None: ...

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def recursive() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = value
    return value


def symlink_chain() -> bytes:
    part, path = "d" * 247, ""
    members: list[Any] = []
    for letter in "abcdefghijklmnop":
        members += [
            tar_entry(f"{path}{part}", tarfile.DIRTYPE),
            tar_entry(f"{path}{letter}", tarfile.SYMTYPE, linkname=part),
        ]
        path += f"{part}/"
    return tar_of(*members, tar_entry("escape", tarfile.SYMTYPE, linkname="a/b/../../../sentinel"))


Do = Callable[[World], Any]


def tag(text: str) -> Do:
    return lambda world: world.vts("models", "get", "--", text)


def take_in(make: Callable[[], bytes], *more: str) -> Do:
    return lambda world: world.take_in(make(), *more)


def bounded(make: Callable[[], bytes]) -> Do:
    """Import with limits that small archives reach."""
    limits = ArchiveLimits(files=100, ratio_from_bytes=2**20)

    def do(world: World) -> Model:
        (world.base / "archive").write_bytes(make())
        return import_model(world.base / "archive", limits=limits)

    return do


def cut(archive_format: str, sixteenths: int) -> Do:
    def do(world: World) -> Ended:
        packed = world.packed(archive_format)
        return world.take_in(packed[: len(packed) * sixteenths // 16])

    return do


def flipped(archive_format: str) -> Do:
    def do(world: World) -> Ended:
        packed = bytearray(world.packed(archive_format))
        packed[len(packed) // 4] ^= 1
        return world.take_in(bytes(packed))

    return do


def save(**details: Any) -> Do:
    return lambda world: world.save(**details)


def pickled(raw: bytes) -> Do:
    return lambda world: world.load_pickle(raw)


def recorded(*, extra: dict[str, Any] | None = None, **context: Any) -> Do:
    """Load a pickle with code, recorded as something else than it is."""

    def do(world: World) -> Any:
        saved = vtsserving.picklable_model.save_model("demo", lambda: 1)
        told = {**saved.info.context.to_dict(), **context}
        return vtsserving.picklable_model.load_model(save_copy(saved, extra or {}, ModelContext(**told)).tag)

    return do


def fetch(address: str, *more: str) -> Do:
    return lambda world: world.vts("models", "import", address, *more)


def fetch_redirected(target: str) -> Do:
    def do(world: World) -> Ended:
        server = HttpServer()
        server.redirect("/model", target)
        with server.serve():
            return world.vts("models", "import", f"http://localhost:{server.port}/model")

    return do


NAMES: dict[str, tuple[Do, str, int]] = {
    "an empty tag": (tag(""), "is empty", 2),
    "a name of 129 characters": (tag("a" * 129), "at most 63", 2),
    "a name of dots": (tag(".."), "not a valid name", 2),
    "a name like an option": (tag("-rf"), "not a valid name", 2),
    "a tag with two colons": (tag("a:b:c"), "not a valid version", 2),
    "a name with a space": (tag("a b"), "not a valid name", 2),
    "a name with a newline": (tag("a\nb"), "not a valid name", 2),
    "a name with NUL": (tag("a\0b"), "not a valid name", 2),
    "percent signs": (tag("%2e%2e"), "not a valid name", 2),
    "a dot at the end": (tag("iris."), "not a valid name", 2),
    "a device of another system": (tag("con"), "device name", 2),
    "a device with an extension": (tag("nul.txt"), "device name", 2),
    "fullwidth letters": (tag("\uff49ris"), "not a valid name", 2),
    "a dotless i": (tag("\u0131ris"), "not a valid name", 2),
    "a space of no width": (tag("iris\u200b"), "not a valid name", 2),
    "composed letters": (tag("caf\u00e9"), "not a valid name", 2),
    "decomposed letters": (tag("cafe\u0301"), "not a valid name", 2),
}

DETAILS: dict[str, tuple[Do, str, int]] = {
    "metadata of 1 MB": (save(metadata={"a": "x" * 2**20}), "invalid_metadata", 2),
    "metadata with NaN": (save(metadata={"a": float("nan")}), "invalid_metadata", 2),
    "metadata 1,000 lists deep": (save(metadata={"a": nested(1_000)}), "invalid_metadata", 2),
    "metadata that contains itself": (save(metadata=recursive()), "invalid_metadata", 2),
    "metadata with bytes": (save(metadata={"a": b"x"}), "invalid_metadata", 2),
    "metadata with a set": (save(metadata={"a": [{1}]}), "invalid_metadata", 2),
    "metadata with an array with NaN": (save(metadata={"a": np.array([np.nan])}), "invalid_metadata", 2),
    "a label that is a number": (save(labels={"stage": 1}), "invalid_metadata", 2),
    "a label whose key is a number": (save(labels={1: "dev"}), "invalid_metadata", 2),
    "a label of 1 MB": (save(labels={"stage": "x" * 2**20}), "invalid_metadata", 2),
    "three batch dimensions": (save(signatures={"predict": {"batch_dim": (0, 0, 0)}}), "invalid_signature", 2),
    "a negative batch dimension": (save(signatures={"predict": {"batch_dim": -1}}), "invalid_signature", 2),
    "a batch dimension that the input lacks": (
        save(signatures={"predict": {"batchable": True, "batch_dim": 2}}, input_example=np.zeros((2, 4))),
        "invalid_signature",
        2,
    ),
    "a method that the model lacks": (save(signatures={"no_such": {}}), "invalid_signature", 2),
    "an attribute that cannot be called": (save(signatures={"classes_": {}}), "invalid_signature", 2),
    "the class as a method": (save(signatures={"__class__": {}}), "invalid_signature", 2),
    "pickle's own method": (save(signatures={"__reduce__": {}}), "invalid_signature", 2),
    "a lock as a custom object": (
        save(custom_objects={"fine": 1, "lock": threading.Lock()}), "not_serializable", 2,
    ),
    "a generator as a custom object": (
        save(custom_objects={"stream": (n for n in ())}), "not_serializable", 2,
    ),
    "a socket as a custom object": (
        lambda world: with_socket(lambda one: world.save(custom_objects={"socket": one})), "not_serializable", 2,
    ),
}  # fmt: skip


def with_socket(use: Callable[[socket.socket], Any]) -> Any:
    with socket.socket() as one:
        return use(one)


ARCHIVES: dict[str, tuple[Do, str, int]] = {
    "a link out": (
        take_in(lambda: tar_of(tar_entry("a", tarfile.SYMTYPE, linkname="../../sentinel"), ("a", b"x"))),
        "symbolic link",
        5,
    ),
    "a link in": (
        take_in(lambda: tar_of(("b", b"x"), tar_entry("a", tarfile.SYMTYPE, linkname="b"))), "symbolic link", 5,
    ),
    "a hard link": (
        take_in(lambda: tar_of(tar_entry("a", tarfile.LNKTYPE, linkname="../../sentinel"))), "hard link", 5,
    ),
    "a chain of links beyond PATH_MAX": (take_in(symlink_chain), "symbolic link", 5),
    "a link without a name": (
        take_in(lambda: raw_tar_header(b"", b"2", 0) + END), "symbolic link", 5,
    ),
    "a climbing name": (take_in(lambda: tar_of(("../sentinel", b"x"))), "unsafe name", 5),
    "an absolute name": (take_in(lambda: raw_tar_header(b"/abs", b"0", 0) + END), "unsafe name", 5),
    "a name with a drive": (take_in(lambda: tar_of(("C:\\x", b"x"))), "unsafe name", 5),
    "a name with backslashes": (take_in(lambda: tar_of(("a\\..\\b", b"x"))), "unsafe name", 5),
    "a device": (
        take_in(lambda: tar_of(tar_entry("a", tarfile.CHRTYPE, devmajor=1, devminor=3))), "character device", 5,
    ),
    "a fifo": (take_in(lambda: tar_of(tar_entry("a", tarfile.FIFOTYPE))), "is a fifo", 5),
    "a sparse file": (
        take_in(lambda: raw_tar_header(b"a", b"S", 0, b"ustar  \0") + END), "is a sparse file", 5,
    ),
    "a name of 1 MB": (
        take_in(lambda: raw_tar_header(b"././@LongLink", b"L", 2**20, b"ustar  \0") + b"n" * 2**20 + END),
        "an extended header of",
        5,
    ),
    "a header that announces 8 GB": (
        take_in(lambda: raw_tar_header(b"pax", b"x", 8 * 1024**3 - 1) + END), "an extended header of", 5,
    ),
    "one name twice": (take_in(lambda: tar_of(("a", b"1"), ("a", b"2"))), "two members for one name", 5),
    "names that differ in case": (take_in(lambda: tar_of(("A", b"1"), ("a", b"2"))), "two members for one name", 5),
    "names that differ in form": (
        take_in(lambda: tar_of(("caf\u00e9", b"1"), ("cafe\u0301", b"2"))), "two members for one name", 5,
    ),
    "a file and then a folder": (take_in(lambda: tar_of(("a", b"1"), ("a/b", b"2"))), "two members for one name", 5),
    "a zip with a climbing name": (take_in(lambda: zip_of(("../sentinel", b"x"))), "unsafe name", 5),
    "a zip with a link": (
        take_in(lambda: zip_of(("a", b"../sentinel"), mode=0o120777)), "not a regular file", 5,
    ),
    "a zip that says two names": (
        take_in(lambda: zip_of(("good", b"x")).replace(b"good", b"evil", 1)), "contradicts itself", 5,
    ),
    "a zip bomb": (bounded(lambda: zip_of(("zeros", bytes(4 * 2**20)))), "archive_too_large", 5),
    "a tar bomb": (
        bounded(lambda: gzip.compress(tar_of(("zeros", bytes(4 * 2**20))))), "archive_too_large", 5,
    ),
    "more bytes than were allowed": (
        take_in(lambda: tar_of(("a", bytes(4_096))), "--max-size", "1KiB"), "more than 1024 bytes", 5,
    ),
    "too many files": (
        bounded(lambda: tar_of(*((str(number), b"") for number in range(101)))), "archive_too_large", 5,
    ),
    **{
        f"a {kind} cut off after {part}/16": (cut(kind, part), "cut off", 5)
        for kind in ("vtsmodel", "tar", "zip") for part in (1, 8, 15)
    },
    **{f"a {kind} with a bit flipped": (flipped(kind), "damaged", 5) for kind in ("vtsmodel", "tar", "zip")},
    "an empty file": (take_in(lambda: b""), "is empty", 5),
    "text": (take_in(lambda: b"this is no archive\n" * 100), "not a model archive", 5),
    "a gz in a gz": (
        take_in(lambda: gzip.compress(gzip.compress(tar_of(("a", b"x"))))), "cut off", 5,
    ),
    "a tar that is no model": (take_in(lambda: tar_of(("a", b"x"))), "not a model: it has no manifest", 5),
}  # fmt: skip

LOADING: dict[str, tuple[Do, str, int]] = {
    "a file that was tampered with": (World.load_tampered, "integrity_error", 5),
    "a record that denies the pickle": (recorded(extra={"runs_code": False}), "integrity_error", 5),
    "a package that is missing": (
        recorded(framework_versions={"no-such-package": "1.0"}),
        "missing_dependency",
        8,
    ),
    "another major version": (
        recorded(framework_versions={"cloudpickle": "99.0"}),
        "incompatible_environment",
        8,
    ),
    "code of another Python": (recorded(python_version="3.1.4"), "python_version_mismatch", 8),
    "an empty pickle": (pickled(b""), "model_load_failed", 7),
    "a pickle that was cut off": (pickled(b"\x80\x05\x95\x10"), "model_load_failed", 7),
    "a pickle of no operation": (pickled(b"\xff\xff"), "model_load_failed", 7),
    "a pickle of protocol 9": (pickled(b"\x80\x09."), "model_load_failed", 7),
    "a pickle of a missing module": (pickled(b"cno_such_module\nthing\n."), "model_load_failed", 7),
    "a pickle of a missing attribute": (pickled(b"cos\nno_such_thing\n."), "model_load_failed", 7),
}

PLACES: dict[str, tuple[Do, str, int]] = {
    "a cloud's metadata": (fetch("http://169.254.169.254/latest"), "link-local address", 2),
    "a cloud's metadata in other words": (fetch("http://2852039166/latest"), "link-local address", 2),
    "a cloud's metadata as an endpoint": (
        fetch("s3://bucket/x", "-O", "endpoint_url=http://169.254.169.254"), "link-local address", 2,
    ),
    "a cloud's metadata by FTP": (fetch("ftp://user@169.254.169.254/x"), "link-local address", 2),
    "a file of another machine": (fetch("file://example.com/etc/passwd"), "another machine", 2),
    "an unknown scheme": (fetch("gopher://example.com/x"), "is not supported", 2),
    "a redirect to loopback": (fetch_redirected("http://127.0.0.2:9/x"), "not a public address", 2),
    "a redirect to a private address": (fetch_redirected("http://10.0.0.1/x"), "not a public address", 2),
    "a redirect to a cloud's metadata": (fetch_redirected("http://169.254.169.254/x"), "link-local address", 2),
    "a store that is a file": (lambda world: world.without_store(Path.touch), "is not a directory", 9),
    "a store in a circle of links": (
        lambda world: world.without_store(lambda home: home.symlink_to(home)), "symbolic link", 9,
    ),
}  # fmt: skip

TABLE = {**NAMES, **DETAILS, **ARCHIVES, **LOADING, **PLACES}


@pytest.fixture
def world(
    tmp_path: Path, vts: CommandLine, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    monkeypatch.setenv("VTSSERVING_HOME", os.environ["VTSSERVING_HOME"])  # put back, whatever a row does
    yield World(tmp_path, vts, store)
    with suppress(FileNotFoundError):
        (tmp_path / "archive").unlink()


@pytest.mark.parametrize("row", TABLE)
def test_bad_input_is_one_typed_error_and_changes_nothing(row: str, world: World) -> None:
    do, words, exit_code = TABLE[row]
    before = {str(model.tag): tree(model.path) for model in world.store.list()}
    try:
        ended = do(world)
    except VtsServingException as error:
        assert error.exit_code == exit_code
        said = f"{error.code}: {error.message}"
    else:
        assert isinstance(ended, Ended), "it went through"
        assert (ended.code, ended.out) == (exit_code, ""), ended.err
        assert ended.err.startswith("Error: ")
        said = ended.err.rstrip("\n")
    assert words in said
    assert said.isprintable()
    assert len(said) < 600
    after = {str(model.tag): tree(model.path) for model in world.store.list() if model.tag.name == "kept"}
    assert after == before
    assert not [model for model in world.store.list() if model.tag.name not in {"kept", "demo", "copy"}]
    assert list((world.store.root / ".tmp").iterdir()) == []
    assert (world.base / "sentinel").read_text() == "untouched"
    assert not world.canary.exists()
