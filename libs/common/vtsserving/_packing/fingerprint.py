"""What a custom Runnable is, as a digest that every process computes alike, without pickling anything.

Pickles of the same class differ from process to process, so they cannot name what they hold. This names it by what it
is made of: the source of its module and of the modules of the same project that this one uses, the parameters with
which it is constructed, its signatures and options, and the digests of its models. A gateway, which never pickles,
finds the packed class by this name.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from vtsserving._aliases import first_name
from vtsserving._model.manifest import canonical_json
from vtsserving.exceptions import InvalidArgument

if TYPE_CHECKING:
    from vtsserving.runner.runner import Runner

FORMAT: Final = 1
"""Changes when the same class must get another name."""

MAX_OBJECTS: Final = 200_000
"""Most objects within the parameters of one class."""

_INSTALLED: Final = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_PACKAGES: Final = frozenset(("site-packages", "dist-packages"))


def fingerprint(runner: Runner) -> str:
    """The digest of a runner's class and everything that it is constructed with, hexadecimal.

    Raises:
        InvalidArgument: a parameter has no content that could be named; the message says which.
    """
    cls = runner.runnable_class
    assert cls is not None, "only custom Runnables have fingerprints"
    walker = _Walker()
    parameters = {
        name: walker.digest(value, f"runnable_init_params[{name!r}]")
        for name, value in sorted(runner.runnable_init_params.items())
    }
    home = sys.modules.get(cls.__module__)
    if not getattr(home, "__file__", None):
        raise InvalidArgument(
            f"{cls.__qualname__} has no source file; a class that is served stands in a module"
        )
    modules = project_modules(home, *walker.modules)  # type: ignore[arg-type]
    content = {
        "format": FORMAT,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "class": f"{cls.__module__}.{cls.__qualname__}",
        "sources": {module.__name__: _source_digest(module) for module in modules},
        "parameters": parameters,
        "signatures": {name: one.to_dict() for name, one in runner.signatures.items()},
        "options": runner.options.to_dict(),
        "models": sorted(f"{model.tag} {model.digest}" for model in runner.models),
    }
    declared = {name: one.to_dict() for name, one in runner.contracts.items() if one.is_described}
    if declared:  # otherwise a class has the name that it had before there were contracts
        content["contracts"] = declared
    return hashlib.sha256(canonical_json(content)).hexdigest()


def project_modules(*start: ModuleType) -> list[ModuleType]:
    """Modules that are no installed package, and those of the same kind that they use, sorted by name.

    Their code travels with a packed class, because the runner does not have it.

    Args:
        start: modules to begin with.
    """
    found: dict[str, ModuleType] = {}
    waiting = [module for module in start if _is_of_project(module)]
    while waiting:
        module = waiting.pop()
        if module.__name__ not in found:
            found[module.__name__] = module
            waiting.extend(_used_by(module))
    return [found[name] for name in sorted(found)]


def _used_by(module: ModuleType) -> Iterator[ModuleType]:
    for value in list(vars(module).values()):
        used = (
            value if isinstance(value, ModuleType) else sys.modules.get(str(getattr(value, "__module__", "")))
        )
        if used is not None and _is_of_project(used):
            yield used


def _is_of_project(module: ModuleType) -> bool:
    if module.__name__.partition(".")[0].partition("_")[0] == "vtsserving":
        return False
    file = getattr(module, "__file__", None)
    if not file:
        return False
    path = Path(str(file)).resolve()
    is_installed = any(path.is_relative_to(place) for place in _INSTALLED)
    return not is_installed and not _PACKAGES.intersection(path.parts)


def _source_digest(module: ModuleType) -> str:
    path = Path(str(module.__file__))
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidArgument(
            f"the source of {module.__name__} cannot be read: {path}: {error.strerror}"
        ) from error


class _Walker:
    """Digests values by their content.

    Attributes:
        modules: those of the classes and functions that were met.
    """

    def __init__(self) -> None:
        self.modules: list[ModuleType] = []
        # Made of the whole table of moved modules each time, and the same for every object of a class.
        self._first_name = functools.cache(first_name)
        self._objects = 0
        self._inside: list[int] = []

    def digest(self, value: Any, where: str) -> str:
        """The digest of a value; InvalidArgument names `where` if it has none."""
        hashed = hashlib.sha256()
        try:
            self._feed(value, hashed.update)
        except InvalidArgument as error:
            raise InvalidArgument(f"{where} cannot be packed: {error.message}") from None
        except (TypeError, ValueError, RecursionError, AttributeError, NotImplementedError) as error:
            raise InvalidArgument(f"{where} cannot be packed: {type(error).__name__}: {error}") from error
        return hashed.hexdigest()

    def _feed(self, value: Any, put: Callable[[bytes], None]) -> None:
        self._objects += 1
        if self._objects > MAX_OBJECTS:
            raise InvalidArgument(
                f"it holds more than {MAX_OBJECTS} objects; save it as a model and name that in models="
            )
        kind = type(value)
        if value is None or kind in (bool, int, float, complex, str):
            _put(put, kind.__name__, repr(value).encode())
        elif kind in (bytes, bytearray, memoryview):
            _put(put, kind.__name__, bytes(value))
        elif id(value) in self._inside:
            _put(put, "above", str(len(self._inside) - self._inside.index(id(value))).encode())
        else:
            self._inside.append(id(value))
            self._feed_object(value, put)
            self._inside.pop()

    def _feed_object(self, value: Any, put: Callable[[bytes], None]) -> None:
        if isinstance(value, type | FunctionType | ModuleType) or not hasattr(type(value), "__reduce_ex__"):
            self._feed_name(value, put)
        elif type(value) in (list, tuple):
            _put(put, type(value).__name__, str(len(value)).encode())
            for item in value:
                self._feed(item, put)
        elif type(value) in (set, frozenset):
            _put(put, type(value).__name__, b"".join(sorted(self._own(item) for item in value)))
        elif type(value) is dict:
            # As sent by keyword, the order of keys means nothing.
            _put(put, "dict", b"".join(sorted(self._own(item) for item in value.items())))
        else:
            self._feed_reduced(value, put)

    def _feed_name(self, value: Any, put: Callable[[bytes], None]) -> None:
        module = value if isinstance(value, ModuleType) else sys.modules.get(value.__module__)
        if module is not None:
            self.modules.append(module)
        qualified = getattr(value, "__qualname__", "")
        _put(put, "name", f"{self._first_name(module.__name__) if module else ''}.{qualified}".encode())
        if isinstance(value, FunctionType):
            if "<" in qualified:  # a lambda or a function in a function: others of its module share the name
                put(value.__code__.co_code + repr(value.__code__.co_names).encode())
                self._feed([one for one in value.__code__.co_consts if not isinstance(one, CodeType)], put)
            for cell in value.__closure__ or ():
                self._feed(cell.cell_contents, put)

    def _feed_reduced(self, value: Any, put: Callable[[bytes], None]) -> None:
        """An object by what it says it is made of, as copying it would."""
        reduce = copyreg.dispatch_table.get(type(value))
        made_of: Any = reduce(value) if reduce is not None else value.__reduce_ex__(2)
        _put(put, "object", f"{self._first_name(type(value).__module__)}.{type(value).__qualname__}".encode())
        if isinstance(made_of, str):
            put(made_of.encode())
            return
        for part in made_of[:3]:
            self._feed(part, put)
        for items in made_of[3:5]:
            self._feed(list(items) if items is not None else None, put)

    def _own(self, value: Any) -> bytes:
        hashed = hashlib.sha256()
        self._feed(value, hashed.update)
        return hashed.digest()


def _put(put: Callable[[bytes], None], kind: str, content: bytes) -> None:
    """Unambiguous: what it is, how long it is, what it says."""
    put(f"{kind}:{len(content)}:".encode())
    put(content)
