"""Writing and reading pickles, with what the reader must know to refuse one safely.

A pickle that carries code by value (functions and classes of notebooks and scripts) holds byte code of one Python
minor version; another one may crash on it instead of raising. So it is noted when it is written, and refused before
anything is unpickled.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from vtsserving.exceptions import IntegrityError, ModelLoadFailed, PythonVersionMismatch, SerializationError

if TYPE_CHECKING:
    from vtsserving._local_store.model import Model

# Cloudpickle's constructors of functions, code and classes; a pickle without them carries no code.
_CODE_MARKS: Final = (b"_make_function", b"CodeType", b"_make_skeleton")
_OVERLAP_BYTES: Final = 32


class _CodeWatch:
    """A file that notes whether code passes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._tail = b""
        self.has_code = False

    def write(self, data: bytes | memoryview) -> int:
        if not self.has_code:
            view = memoryview(data).cast("B")
            # The marks are short strings, which pickle never writes within a large block.
            piece = self._tail + bytes(view) if view.nbytes < 2**20 else b""
            self.has_code = any(mark in piece for mark in _CODE_MARKS)
            self._tail = piece[-_OVERLAP_BYTES:]
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def dump(value: Any, path: Path, what: str, external_modules: Sequence[ModuleType] = ()) -> bool:
    """Pickle a value into a new file.

    Args:
        value: anything that cloudpickle can pickle.
        path: the file.
        what: names the value in errors.
        external_modules: modules whose functions and classes are written by value, since the reader lacks them.

    Returns:
        Whether the pickle carries code by value.

    Raises:
        SerializationError: it cannot be pickled.
        OSError: the file cannot be written.
    """
    import cloudpickle

    def write(file: Any) -> None:
        cloudpickle.dump(value, file, protocol=5)

    return write_watched(path, write, what, external_modules)


def write_watched(
    path: Path, write: Callable[[Any], None], what: str, external_modules: Sequence[ModuleType] = ()
) -> bool:
    """Let a function write pickles into a new file; arguments and errors beside `write` as those of `dump`.

    Args:
        path: the file.
        write: writes to the file object that it is given.
        what: names the value in errors.
        external_modules: modules whose functions and classes are written by value.
    """
    with open(path, "wb") as file, _by_value(external_modules):
        watch = _CodeWatch(file)
        try:
            write(watch)
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise SerializationError(f"{what} cannot be pickled: {_short(error)}") from error
    return watch.has_code


def load(path: Path, what: str) -> Any:
    """Unpickle a file, which runs its author's code.

    Args:
        path: the file; its digest was checked.
        what: names the value in errors.

    Raises:
        ModelLoadFailed: it cannot be unpickled here.
    """
    import cloudpickle

    try:
        with open(path, "rb") as file:
            return cloudpickle.load(file)
    except Exception as error:
        hint = f"; install the package that provides {error.name!r}" if isinstance(error, ImportError) else ""
        raise ModelLoadFailed(
            f"{what} cannot be loaded: {type(error).__name__}: {_short(error)}{hint}"
        ) from error


def load_model_file(model: Model, name: str) -> Any:
    """Unpickle the file that holds a model object, which runs its author's code.

    Args:
        model: the model; its digests were checked.
        name: the file, relative to the model's directory.

    Raises:
        IntegrityError: the model is recorded as one that runs no code when it is loaded.
        PythonVersionMismatch: it carries code of another Python version.
        ModelLoadFailed: it cannot be unpickled here.
    """
    check_may_run(model)
    return load(model.path_of(name), str(model.tag))


def check_may_run(model: Model) -> None:
    """Check that a model's pickle may be read here, before any of it is.

    Whoever looked at `info.runs_code` first must be able to rely on it, so a record that denies the pickle which the
    model holds is refused, not corrected.

    Raises:
        IntegrityError: the model is recorded as one that runs no code when it is loaded.
        PythonVersionMismatch: it carries code of another Python version.
    """
    if not model.info.runs_code:
        raise IntegrityError(
            f"{model.tag} is recorded as running no code when it is loaded, but it holds a pickle, which may run any; "
            "nothing was loaded"
        )
    has_code = bool(model.info.extra.get("pickle_by_value", True))
    check_python(model.info.context.python_version, has_code, str(model.tag))


def check_python(saved_with: str, has_code: bool, what: str) -> None:
    """Refuse a pickle with code of another Python minor version; warn of one without code.

    Args:
        saved_with: the Python version that wrote it, for example `3.11.7`.
        has_code: what `dump` returned.
        what: names the value in messages.

    Raises:
        PythonVersionMismatch: it carries code of another version.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    there = ".".join(saved_with.split(".")[:2])
    if here == there:
        return
    if has_code:
        raise PythonVersionMismatch(
            f"{what} carries code of Python {there} and this is Python {here}; use Python {there}, or save it again "
            "with its code in an installed package"
        )
    warnings.warn(f"{what} was saved with Python {there}; this is Python {here}", UserWarning, stacklevel=2)


@contextlib.contextmanager
def _by_value(modules: Sequence[ModuleType]) -> Iterator[None]:
    import cloudpickle

    registered = []
    try:
        for module in modules:
            if not isinstance(module, ModuleType):
                raise SerializationError(f"external_modules holds modules, not {type(module).__name__}")
            if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(module)
                registered.append(module)
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
