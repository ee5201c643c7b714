"""Keeps an object as it is while it is saved and called: attributes, contents of containers, modes and statistics.

Saving calls the user's object with the example. Some objects count their calls, fill a cache, or, being modules of
torch in training mode, move the statistics of their layers. All that is put back. What lies outside of the object, such
as a global variable, is not looked at.
"""

from __future__ import annotations

import contextlib
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, Final

MAX_OBJECTS: Final = 100_000
"""Larger objects are looked at up to here; most of them are data, which no call changes."""

MAX_ARRAY_BYTES: Final = 2**24
"""Arrays up to this size are copied, so that what is written into them can be undone."""

MAX_COPIED_BYTES: Final = 2**28

_Undo = Callable[[], None]

_SIMPLE: Final = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type(None),
    type,
    ModuleType,
    FunctionType,
    MethodType,
)
_DICTS: Final = (dict, OrderedDict, defaultdict)


@contextlib.contextmanager
def unchanged(*roots: Any) -> Iterator[None]:
    """Put objects back to what they were when the block began.

    Args:
        roots: objects; what they consist of counts, too.
    """
    memory = _Memory(roots)
    try:
        yield
    finally:
        memory.restore()


class _Memory:
    """What objects were, as steps that bring them back there."""

    def __init__(self, roots: tuple[Any, ...]) -> None:
        self._undo: list[_Undo] = []
        self._copied_bytes = 0
        self._seen: dict[int, Any] = {}  # the objects, too: while they live, their numbers belong to them
        waiting = list(roots)
        while waiting and len(self._seen) < MAX_OBJECTS:
            one = waiting.pop()
            if id(one) not in self._seen and not isinstance(one, _SIMPLE):
                self._seen[id(one)] = one
                waiting.extend(self._look_at(one))

    def restore(self) -> None:
        """Bring the objects back."""
        for step in reversed(self._undo):
            step()

    def _look_at(self, one: Any) -> Iterable[Any]:
        """Note how to undo changes of one object; returns what it consists of."""
        if type(one) in (list, set, *_DICTS) and len(one) > MAX_OBJECTS:
            return ()
        if type(one) is list:
            saved = list(one)
            self._undo.append(lambda: _restore_list(one, saved))
            return saved
        if type(one) in _DICTS:
            return self._mapping(one)
        if type(one) is set:
            members = set(one)
            self._undo.append(lambda: _restore_set(one, members))
            return ()
        if isinstance(one, tuple | frozenset):
            return one
        numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
        if numpy is not None and isinstance(one, numpy.ndarray):
            self._array(one, numpy)
            return ()
        if torch is not None and isinstance(one, torch.Tensor):
            self._tensor(one, torch)
            return ()
        return self._object(one, torch)

    def _object(self, one: Any, torch: Any) -> Iterable[Any]:
        # Objects of the standard library, such as loggers and locks, are shared with the rest of the program.
        if (
            type(one) is not SimpleNamespace
            and type(one).__module__.partition(".")[0] in sys.stdlib_module_names
        ):
            return ()
        parts: list[Any] = []
        if torch is not None and isinstance(one, torch.nn.Module):
            self._modes(one)
            parts += one.buffers()
        attributes = getattr(one, "__dict__", None)
        return [*parts, *self._mapping(attributes)] if type(attributes) is dict else parts

    def _mapping(self, one: dict[Any, Any]) -> Iterable[Any]:
        saved = dict(one)

        def restore() -> None:
            same = len(saved) == len(one) and all(key in one and one[key] is saved[key] for key in saved)
            if not same:
                one.clear()
                one.update(saved)

        self._undo.append(restore)
        return saved.values()

    def _may_copy(self, size_bytes: int) -> bool:
        self._copied_bytes += size_bytes
        return size_bytes <= MAX_ARRAY_BYTES and self._copied_bytes <= MAX_COPIED_BYTES

    def _array(self, one: Any, numpy: Any) -> None:
        if one.dtype.hasobject or not one.flags.writeable or not self._may_copy(one.nbytes):
            return
        saved = one.copy()

        def restore() -> None:
            if one.shape == saved.shape and one.tobytes() != saved.tobytes():
                numpy.copyto(one, saved)

        self._undo.append(restore)

    def _tensor(self, one: Any, torch: Any) -> None:
        """Note the values of a tensor that is not a weight: weights change by training alone, and may fill memory."""
        if (
            isinstance(one, torch.nn.Parameter)
            or one.layout != torch.strided
            or one.is_meta
            or one.is_inference()
        ):
            return
        if not self._may_copy(one.numel() * one.element_size()):
            return
        saved = one.detach().clone()

        def restore() -> None:
            if one.shape == saved.shape and not torch.equal(one, saved):
                with torch.no_grad():
                    one.copy_(saved)

        self._undo.append(restore)

    def _modes(self, one: Any) -> None:
        """Note the modes of a module of torch; a scripted one has them outside of Python."""
        modes = [(module, module.training) for module in one.modules() if hasattr(module, "training")]

        def restore() -> None:
            for module, training in modes:
                if module.training is not training:
                    module.training = training

        self._undo.append(restore)


def _restore_list(one: list[Any], saved: list[Any]) -> None:
    if len(one) != len(saved) or any(now is not then for now, then in zip(one, saved, strict=True)):
        one[:] = saved


def _restore_set(one: set[Any], saved: set[Any]) -> None:
    if one != saved:
        one.clear()
        one.update(saved)
