"""Manifests: canonical bytes, strict reading, and comparison with a directory."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from vtsserving._model.manifest import FileEntry, Manifest, canonical_json, check_paths
from vtsserving._model.tag import Tag
from vtsserving.exceptions import IntegrityError

pytestmark = pytest.mark.fast

TIME = "2026-05-19T08:36:52.456990+00:00"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("model.yaml", "b.bin", "sub/a.bin"):
        (tmp_path / name).write_text(name)
    return tmp_path


def of(path: Path, **extra: Any) -> Manifest:
    return Manifest.of(path, tag=Tag("iris", "v1"), creation_time=TIME, extra=extra)


def test_bytes_are_canonical_and_their_sha256_is_the_digest(model: Path) -> None:
    manifest = of(model, runs_code=True)
    raw = manifest.to_bytes()
    assert (
        raw == json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )
    assert manifest.digest == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert [entry.path for entry in manifest.files] == ["b.bin", "model.yaml", "sub/a.bin"]
    assert Manifest.from_bytes(raw) == manifest
    assert Manifest.from_bytes(raw).to_bytes() == raw


def test_the_manifest_does_not_list_itself(model: Path) -> None:
    before = of(model)
    (model / "manifest.json").write_bytes(before.to_bytes())
    assert of(model) == before
    before.check(model)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda path: (path / "b.bin").write_text("b.bim"), r"b\.bin"),
        (lambda path: (path / "b.bin").write_text("b.bin "), r"b\.bin"),
        (lambda path: (path / "sub/a.bin").unlink(), r"sub/a\.bin"),
        (lambda path: (path / "sub/c.bin").write_text(""), r"sub/c\.bin"),
        (lambda path: (path / "b.bin").unlink() or os.symlink("model.yaml", path / "b.bin"), r"b\.bin"),
    ],
    ids=["changed", "grown", "missing", "added", "link"],
)
def test_a_directory_that_differs_is_refused_and_the_file_named(model: Path, change: Any, named: str) -> None:
    manifest = of(model)
    change(model)
    with pytest.raises(IntegrityError, match=named):
        manifest.check(model)


BAD_PATHS = [
    "", ".", "..", "../x", "a/../b", "/abs", "a//b", "a/", "C:/x", "a\\b", "a\x00b", "a\nb", "a*", "a.", "a ",
    "x" * 256,
    "manifest.json", "MANIFEST.json", "a/./b", "\ud800", "x/" * 600,
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS, ids=ascii)
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(IntegrityError):
        check_paths([FileEntry(path, 0, "0" * 64)])


@pytest.mark.parametrize(
    "paths",
    [
        ("a", "a"),
        ("A", "a"),
        ("a", "a/b"),
        ("caf\u00e9", "cafe\u0301"),
        ("Sub/a", "sub/A"),
        ("SUB", "sub/x"),
        ("\u00df", "ss"),
    ],
    ids=ascii,
)
def test_paths_that_meet_where_case_or_form_do_not_count_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(IntegrityError):
        check_paths([FileEntry(path, 0, "0" * 64) for path in paths])


def sealed(plain: dict[str, Any]) -> bytes:
    """Manifest bytes with a right checksum, whatever they say."""
    checksum = hashlib.sha256(canonical_json(plain)).hexdigest()
    return canonical_json({**plain, "self_sha256": checksum})


def plain_of(manifest: Manifest) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(manifest.to_bytes())
    del parsed["self_sha256"]
    return parsed


BAD_VALUES = {
    "name": [{"name": "../x"}, {"name": 1}, {"name": ""}],
    "version": [{"version": "latest"}, {"version": "a b"}],
    "api version": [{"api_version": "v0"}, {"api_version": "1"}, {"api_version": 2}, {"api_version": None}],
    "time": [
        {"creation_time": "2026-05-19"},
        {"creation_time": 1},
        {"creation_time": TIME.replace("+00", "+01")},
    ],
    "extra": [{"extra": []}, {"more": 1}],
    "files": [
        {"files": {}},
        {"files": []},
        {"files": [{"path": "model.yaml", "size": 1}]},
        {"files": [{"path": "model.yaml", "size": -1, "sha256": "0" * 64}]},
        {"files": [{"path": "model.yaml", "size": True, "sha256": "0" * 64}]},
        {"files": [{"path": "model.yaml", "size": 2**70, "sha256": "0" * 64}]},
        {"files": [{"path": "model.yaml", "size": 1, "sha256": "G" * 64}]},
        {"files": [{"path": 5, "size": 1, "sha256": "0" * 64}]},
        {"files": [{"path": "../model.yaml", "size": 1, "sha256": "0" * 64}]},
        {"files": [{"path": path, "size": 1, "sha256": "0" * 64} for path in ("model.yaml", "b")]},
    ],
}


@pytest.mark.parametrize("changes", BAD_VALUES.values(), ids=BAD_VALUES.keys())
def test_a_manifest_with_an_impossible_value_is_refused(model: Path, changes: list[dict[str, Any]]) -> None:
    plain = plain_of(of(model))
    assert Manifest.from_bytes(sealed(plain)) == of(model)
    for change in changes:
        with pytest.raises(IntegrityError):
            Manifest.from_bytes(sealed({**plain, **change}))


def test_bytes_that_are_not_canonical_are_refused(model: Path) -> None:
    raw = of(model).to_bytes()
    for other in (raw + b"\n", json.dumps(json.loads(raw)).encode(), raw[:-1], b"", b"[" * 100_000, b"\xff"):
        with pytest.raises(IntegrityError):
            Manifest.from_bytes(other)


def test_every_flipped_bit_of_a_manifest_is_noticed(model: Path) -> None:
    raw = of(model, description="a demo").to_bytes()
    for at in range(len(raw)):
        for bit in range(8):
            with pytest.raises(IntegrityError):
                Manifest.from_bytes(raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :])
