"""The trial of a model before it becomes one: what was written is loaded elsewhere, and compared with what was given.

A model process loads files, not the object that was saved, so whatever a format or a pickle loses shows here, while the
one who saves can still do something about it.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vtsserving import _clock
from vtsserving._local_store.change import PROVISIONAL, write_provisional
from vtsserving._model.draft import Draft
from vtsserving._model.manifest_files import FileEntry
from vtsserving._model.signature import ModelSignature, method_of
from vtsserving._model.tag import Tag
from vtsserving._saving.checker import Copy, NoChecker, copy_of
from vtsserving._saving.compare import differences, unsteady
from vtsserving._saving.input_example import Example
from vtsserving._wire.iterators import is_iterator, listed
from vtsserving.exceptions import (
    BadModelOutput,
    InvalidArgument,
    ModelCrashed,
    ModelFailed,
    ModelLoadFailed,
    ModelTimeout,
    SerializationError,
    VtsServingException,
)

MAX_BYTES: Final = 2**31
"""Larger models are not checked unless `check=True`: loading them again may take all memory."""

LIMIT_S: Final = 60.0
CHOSEN_LIMIT_S: Final = 600.0
"""Most time that a check takes by default, and with `check=True`."""

CHECK: Final = "check"
"""The key of the manifest's `extra` that says what was checked."""

_SLOW_S: Final = 5.0
"""A method that takes longer is called a second time only where its answers differ from those of the saved model."""

_MORE_CALLS: Final = 30
_MAX_IMPORTS: Final = 2_000
_MAX_SHOWN: Final = 3
_WAY_OUT: Final = "check=False saves it as it is"


@dataclass(frozen=True)
class GivenModel:
    """The object that is saved, and what it answers to the example.

    Attributes:
        served: has the methods.
        example: its input; None: there is none.
        answers: method to what it answered, as the wire carries it.
        results: method to what it returned.
        unsteady: method to the parts that differ between two calls.
        coarse: whether it computes with half precision, or on a graphics card.
    """

    served: Any
    example: Example | None
    answers: Mapping[str, Any]
    results: Mapping[str, Any]
    unsteady: Mapping[str, set[Any]]
    coarse: bool = False


def checked_flag(check: object) -> bool | None:
    """The value of `check=`; InvalidArgument if it is none."""
    if check is not None and not isinstance(check, bool):
        raise InvalidArgument(f"check is True, False or None, not {check!r:.80}")
    return check


def ask(
    served: Any,
    example: Example | None,
    signatures: Mapping[str, ModelSignature],
    *,
    coarse: bool = False,
    strict: bool = True,
) -> GivenModel:
    """Call each method of the object that is saved with the example.

    Args:
        served: has the methods.
        example: their input, if there is one.
        signatures: the methods.
        coarse: as in GivenModel.
        strict: whether a result that cannot be answered is an error, and not a warning.

    Raises:
        InvalidArgument: a method refuses the example.
        BadModelOutput: it returns what cannot be sent.
    """
    results: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    varying: dict[str, set[Any]] = {}
    for method in signatures if example is not None else ():
        assert example is not None
        began_s = _clock.monotonic_s()
        results[method] = _call(served, method, example)
        took_s = _clock.monotonic_s() - began_s
        try:
            answers[method] = _as_answered(results[method])
        except VtsServingException as error:
            text = f"the model's {method!r} returns what could never be answered to the input example: {error.message}"
            if strict:
                raise BadModelOutput(
                    f"{text}; wrap the model in a function that returns one of these, or save it with check=False"
                ) from error
            warnings.warn(text, UserWarning, stacklevel=5)
            continue
        if took_s < _SLOW_S and strict:
            varying[method] = unsteady(answers[method], _as_answered(_call(served, method, example)))
    return GivenModel(served, example, answers, results, varying, coarse)


def answers(served: Any, method: str, args: tuple[Any, ...]) -> bool:
    """Whether a method answers a call.

    Args:
        served: has the method.
        method: its name.
        args: are copied, since a method may write to them.
    """
    try:
        from vtsserving._contract.owned import owned
        from vtsserving._wire.values import decode_value, encode_value

        result = method_of(served, method)(*owned(tuple(decode_value(encode_value(list(args), "args")))))
        _as_answered(listed(result) if is_iterator(result) else result)
    except Exception:  # a model raises whatever it likes
        return False
    return True


def imports_of(module: str, packages: Sequence[str]) -> list[str]:
    """The modules that the checker keeps for models of one kind.

    Args:
        module: the framework module.
        packages: the framework's.

    Returns:
        The framework module, and the public modules of the packages that this process has imported.
    """
    names = [
        name
        for name in list(sys.modules)
        if name.partition(".")[0] in packages and "._" not in name and "test" not in name
    ]
    return [module, *names[:_MAX_IMPORTS]]


def run_trial(
    staged: Path,
    draft: Draft,
    files: Sequence[FileEntry],
    given: GivenModel,
    check: bool | None,
    imports: Sequence[str],
) -> dict[str, Any]:
    """Load what was written, as a model process does, and compare its answers with those of the given object.

    Args:
        staged: the model's directory, complete but for model.yaml and manifest.
        draft: what will be recorded.
        files: those of the directory.
        given: the object that is saved, and its answers.
        check: as for `save_model`.
        imports: of `imports_of`.

    Returns:
        What was checked, for the manifest's `extra`.

    Raises:
        VtsServingException: the saved model cannot be loaded, or answers otherwise; the message says what to do.
    """
    if check is False:
        return {CHECK: {"result": "skipped", "reason": "check=False"}}
    size_bytes = sum(entry.size for entry in files)
    if check is None and size_bytes >= MAX_BYTES:
        return _skipped(
            draft, f"its files have {size_bytes / 2**30:.1f} GiB; check=True checks it nevertheless"
        )
    try:
        with trial(staged, draft, files, CHOSEN_LIMIT_S if check else LIMIT_S, imports) as copy:
            for method in given.answers:
                _compare(copy, given, method)
    except NoChecker as error:
        if check:
            raise ModelLoadFailed(f"{draft.tag} cannot be checked: {error}") from error
        return _skipped(draft, f"there is no process to check it in: {error}")
    except ModelTimeout as error:
        if check:
            raise
        return _skipped(draft, error.message)
    except (ModelLoadFailed, ModelFailed) as error:
        if check or not _wants_a_gpu(draft):
            raise
        return _skipped(draft, f"it is made for another device than the CPU, where {error.message}")
    if given.answers:
        return {CHECK: {"result": "equal", "methods": list(given.answers)}}
    return {CHECK: {"result": "loaded"}}


@contextlib.contextmanager
def trial(
    staged: Path, draft: Draft, files: Sequence[FileEntry], timeout_s: float, imports: Sequence[str]
) -> Iterator[Copy]:
    """Load what was written, as a model process does; `copy.call(method, args)` then computes on what will be served.

    Args:
        staged: the model's directory, complete but for model.yaml and manifest.
        draft: what will be recorded.
        files: those of the directory.
        timeout_s: for everything, seconds.
        imports: of `imports_of`.

    Raises:
        NoChecker: there is no process to load it in.
        VtsServingException: it cannot be loaded there.
    """
    write_provisional(staged, draft, files)
    loading = True
    try:
        with copy_of(staged, timeout_s, imports) as copy:
            loading = False
            yield copy
    except ModelCrashed as error:
        raise ModelCrashed(f"{draft.tag} was written, but {error.message}; {_WAY_OUT}") from error
    except (ModelTimeout, ModelFailed, BadModelOutput):
        raise
    except VtsServingException as error:
        if not loading:
            raise
        reason = error.message.replace(f"{Tag(draft.tag.name, PROVISIONAL)} cannot be loaded: ", "")
        raise type(error)(
            f"{draft.tag} was written, but a model process could not load it: {reason}{_hint(reason)}; {_WAY_OUT}"
        ) from error


def _compare(copy: Copy, given: GivenModel, method: str) -> None:
    """Compare the answers of one method.

    Raises:
        SerializationError: they differ; the message says where.
    """
    assert given.example is not None
    try:
        found = copy.call(method, given.example.args())
    except ModelFailed as error:
        raise SerializationError(
            f"the saved model's {method!r} raises {error.message} for the input example, which the given object "
            f"answers; save what it needs with it, or {_WAY_OUT}"
        ) from error
    except BadModelOutput as error:
        raise BadModelOutput(
            f"the saved model's {method!r} returns what could never be answered: {error.message}; {_WAY_OUT}"
        ) from error
    expected, ignored = given.answers[method], set(given.unsteady.get(method, ()))
    different = differences(expected, found, ignored, coarse=given.coarse)
    # An object may well answer twice the same by chance: it is asked until it is clear that it would not differ.
    until_s, calls = _clock.monotonic_s() + _SLOW_S, 0
    while different and calls < _MORE_CALLS and (calls == 0 or _clock.monotonic_s() < until_s):
        ignored |= unsteady(expected, _as_answered(_call(given.served, method, given.example)))
        different = differences(expected, found, ignored, coarse=given.coarse)
        calls += 1
    if different:
        shown = "; ".join(str(one) for one in different[:_MAX_SHOWN])
        more = f" and {len(different) - _MAX_SHOWN} more" if len(different) > _MAX_SHOWN else ""
        raise SerializationError(
            f"what was saved answers otherwise than the given object: {method!r} of the input example, "
            f"{shown}{more}. The format of the model does not keep what makes the difference; save it with "
            f"vtsserving.picklable_model, or {_WAY_OUT}"
        )


def _call(served: Any, method: str, example: Example) -> Any:
    try:
        result = method_of(served, method)(*example.args())
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InvalidArgument(
            f"the model's {method!r} refuses the input example: {type(error).__name__}: {reason}"
        ) from error
    return listed(result) if is_iterator(result) else result


def _as_answered(value: Any) -> Any:
    """A result as a caller gets it."""
    from vtsserving._wire.values import decode_value, encode_value

    return decode_value(encode_value(value, "the result"))


def _skipped(draft: Draft, reason: str) -> dict[str, Any]:
    warnings.warn(
        f"{draft.tag} was saved, but not checked to answer as the given object: {reason}",
        UserWarning,
        stacklevel=5,
    )
    return {CHECK: {"result": "skipped", "reason": reason}}


def _wants_a_gpu(draft: Draft) -> bool:
    device = draft.options.device
    return device is not None and device != "cpu"


def _hint(reason: str) -> str:
    if "No module named" in reason or "install the package" in reason:
        return (
            ". Its code is not installed where models are served from: install it, name its module in "
            "external_modules=[...], or run this from the folder that it is in"
        )
    return ""
