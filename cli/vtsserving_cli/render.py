"""Values as people and programs read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from vtsserving_cli.console import Console

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def human_size(n_bytes: int) -> str:
    """A number of bytes with two decimals and a binary unit, for example `5.81 KiB`."""
    size = float(n_bytes)
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size /= 1024
        unit += 1
    return f"{size:.2f} {_UNITS[unit]}"


def count(number: int, noun: str) -> str:
    """A number with its noun, for example `1 file` or `3 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def short_path(path: Path) -> str:
    """A path with `~` for the user's home."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)


def put_json(value: Any) -> None:
    """Write a value as indented JSON."""
    Console.out(json.dumps(value, indent=2, ensure_ascii=False))


def put_yaml(value: Any) -> None:
    """Write a value as YAML."""
    import yaml

    Console.out(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip("\n"))
