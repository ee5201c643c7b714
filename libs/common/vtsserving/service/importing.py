"""Services by name: `module:attribute` or `path/file.py:attribute`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

from vtsserving.exceptions import InvalidArgument, NotFound
from vtsserving.service.service import Service


def load_service(target: str) -> Service:
    """Import a service.

    Args:
        target: `module:attribute` or `path/file.py:attribute`; without an attribute, the only Service in the module.

    Returns:
        The service.

    Raises:
        NotFound: no such module or file.
        InvalidArgument: the attribute is no Service, or the module has none or several.
    """
    found = _find(target)
    found.target = target
    return found


def _find(target: str) -> Service:
    left, _, attribute = target.partition(":")
    module = _import_file(Path(left)) if left.endswith(".py") or "/" in left else _import_module(left)
    if attribute:
        found = getattr(module, attribute, None)
        if not isinstance(found, Service):
            raise InvalidArgument(f"{left} has no Service named {attribute!r}; it has {_named(module)}")
        return found
    services = [value for value in vars(module).values() if isinstance(value, Service)]
    if len(services) != 1:
        raise InvalidArgument(f"{left} has {len(services)} services; name one: {left}:svc")
    return services[0]


def _named(module: object) -> str:
    """The names of a module's Services, for messages."""
    found = sorted(name for name, value in vars(module).items() if isinstance(value, Service))
    return ", ".join(found) or "none"


def _import_file(path: Path) -> object:
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(path.stem)


def _import_module(name: str) -> object:
    if not is_importable(name):
        raise NotFound(f"there is no module {name} in {_searched()}; run this where it can be imported")
    return importlib.import_module(name)


def _searched() -> str:
    """Where a module of one's own is looked for, for messages."""
    named = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    return " or ".join([*named, str(Path.cwd())])


def _add_working_directory() -> None:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)


def is_importable(module: str) -> bool:
    """Whether a module can be found, in the working directory, too; parents of a dotted name are imported."""
    _add_working_directory()
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
