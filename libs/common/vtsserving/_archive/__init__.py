"""Models as archives: packed reproducibly, unpacked without trust, from and to files, folders and URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtsserving._archive.exporting import export_model
    from vtsserving._archive.extract import extract_archive
    from vtsserving._archive.importing import import_model
    from vtsserving._archive.limits import ArchiveLimits
    from vtsserving._archive.pack import write_archive

__all__ = ["ArchiveLimits", "export_model", "extract_archive", "import_model", "write_archive"]

_HOMES = {
    "ArchiveLimits": "limits",
    "export_model": "exporting",
    "extract_archive": "extract",
    "import_model": "importing",
    "write_archive": "pack",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that listing models loads no compressors."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
