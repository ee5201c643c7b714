"""Models and archives for tests: good ones made by the product, hostile ones made byte by byte."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from vtsserving._archive import write_archive
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.draft import Draft
from vtsserving._model.info import ModelContext
from vtsserving._model.tag import Tag

COMPRESSED = ("vtsmodel", "gz", "xz", "bz2", "zip")
ARCHIVES = (*COMPRESSED, "tar")


def save_model(
    store: LocalStore,
    files: dict[str, bytes] | None = None,
    *,
    tag: str = "iris_clf",
    labels: dict[str, str] | None = None,
) -> Model:
    """Save a model with the given files; nothing in it can be loaded."""
    with store.staging() as staged:
        for name, content in (files or {"weights.bin": b"\x00\x01weights" * 500}).items():
            path = staged / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        draft = Draft(
            tag=Tag.parse(tag), module="vtsserving.sklearn", context=ModelContext(), labels=labels or {}
        )
        return store.save(staged, draft)


def archive_of(model: Model, archive_format: str) -> bytes:
    """A model, packed."""
    packed = io.BytesIO()
    write_archive(model.path, packed, archive_format)
    return packed.getvalue()


def tar_of(*members: tarfile.TarInfo | tuple[str, bytes], tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive with any members, however hostile; text pairs are plain files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tar_format) as archive:
        for member in members:
            if isinstance(member, tuple):
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
            else:
                archive.addfile(member)
    return packed.getvalue()


def tar_entry(name: str, kind: bytes, *, linkname: str = "", **fields: int) -> tarfile.TarInfo:
    """A tar member of any type."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = linkname
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def raw_tar_header(name: bytes, kind: bytes, size_bytes: int, magic: bytes = b"ustar\x0000") -> bytes:
    """One tar header with a good checksum and whatever else was asked for."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = f"{size_bytes:011o}\0".encode()
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257 : 257 + len(magic)] = magic
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def zip_of(
    *members: tuple[str, bytes], mode: int | None = None, compress: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """A zip archive; `mode` goes to all members' Unix modes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compress) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.filename = name  # the constructor cuts and repairs names
            info.compress_type = compress
            if mode is not None:
                info.create_system = 3
                info.external_attr = mode << 16
            archive.writestr(info, content)
    return packed.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, with their contents."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
