"""Models written as a class: what the model process calls, where no framework module fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

from vtsserving._aliases import stable
from vtsserving._model.contract import MethodContract, plain_signature
from vtsserving._model.parameters import parameters_of
from vtsserving._model.signature import ModelSignature, check_method_name

_MARK: Final = "__vtsserving_signature__"
_DECLARED: Final = "__vtsserving_declared__"
_GPUS: Final = frozenset(("nvidia.com/gpu", "gpu", "cuda"))

_Method = TypeVar("_Method", bound=Callable[..., Any])


@stable
class Runnable:
    """Base of custom model classes; its marked methods can be called through a Runner.

    Example:
        >>> class Doubler(vtsserving.Runnable):
        ...     @vtsserving.Runnable.method(batchable=True)
        ...     def double(self, x):
        ...         return x * 2
    """

    SUPPORTED_RESOURCES: ClassVar[tuple[str, ...]] = ("cpu",)
    """Kinds of devices that the class can use: `cpu`, and `nvidia.com/gpu` (or `gpu`) if its processes may have one."""

    SUPPORTS_CPU_MULTI_THREADING: ClassVar[bool] = False
    """Whether one call profits from several threads; if not, its libraries get one each."""

    @staticmethod
    def method(
        function: _Method | None = None,
        *,
        batchable: bool = False,
        batch_dim: int | tuple[int, int] = 0,
        **contract: Any,
    ) -> Any:
        """Mark a method as callable through a Runner; usable with and without arguments.

        Args:
            function: the method.
            batchable: whether several calls may be joined into one.
            batch_dim: the dimension along which they are; or (input, output).
            contract: `arguments`, `parameters`, `result`, `deterministic`, as in the signatures of `save_model`; see
                docs/contract.md.

        Returns:
            The method itself, or a decorator.

        Raises:
            InvalidSignature: an option is impossible, or the method is private.
        """
        described = {"batchable": batchable, "batch_dim": batch_dim, **contract}
        signature = plain_signature(described, "Runnable.method")

        def mark(marked: _Method) -> _Method:
            check_method_name(marked.__name__)
            _contract(marked, described)
            setattr(marked, _MARK, signature)
            setattr(marked, _DECLARED, described)
            return marked

        return mark if function is None else mark(function)

    @classmethod
    def default_options(cls) -> dict[str, Any]:
        """The serving options that follow from what the class supports."""
        options: dict[str, Any] = {} if _GPUS.intersection(cls.SUPPORTED_RESOURCES) else {"device": "cpu"}
        return {**options, "threads": None} if cls.SUPPORTS_CPU_MULTI_THREADING else options

    @classmethod
    def signatures(cls) -> dict[str, ModelSignature]:
        """The marked methods, inherited ones included."""
        marked = {name: getattr(getattr(cls, name, None), _MARK, None) for name in dir(cls)}
        return {name: signature for name, signature in marked.items() if signature is not None}

    @classmethod
    def contracts(cls) -> dict[str, MethodContract]:
        """The contracts of the marked methods, inherited ones included."""
        methods = {name: getattr(cls, name) for name in cls.signatures()}
        return {
            name: _contract(method, getattr(method, _DECLARED, None) or getattr(method, _MARK))
            for name, method in methods.items()
        }


def _contract(method: Callable[..., Any], described: Any) -> MethodContract:
    declared = MethodContract.declared(method.__name__, described)
    return declared.completed(method.__name__, parameters_of(method, bound=False))
