"""Where a runner's calls go after `init_local`: an object in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from vtsserving._contract.arguments import Arguments
from vtsserving._contract.refused_texts import called
from vtsserving._contract.result_rows import mark
from vtsserving._model.contract import MethodContract
from vtsserving._model.options import ModelOptions
from vtsserving._model.result_form import ResultForm
from vtsserving._recent import RecentDict

if TYPE_CHECKING:
    from vtsserving._wire.rows import Packed

MAX_SEEN: Final = 256
"""Kinds of calls of which it is remembered how their results follow rows."""


class LocalHandle:
    """Calls an object in this process; nothing is queued or batched, so of all limits only the rows of one call count.

    Attributes:
        target: the object whose methods are called.
    """

    def __init__(
        self,
        target: Any,
        contracts: Mapping[str, MethodContract],
        options: ModelOptions | None = None,
        input_specs: Mapping[str, Any] | None = None,
    ) -> None:
        """Call `target`.

        Args:
            target: has a method for each contract.
            contracts: method name to contract.
            options: a `max_batch_size` that they change holds here, too.
            input_specs: method name to what is recorded of its arguments.
        """
        self.target = target
        self._contracts = contracts
        specs = input_specs or {}
        self._arguments = {
            name: Arguments(contract, specs.get(name) or {}) for name, contract in contracts.items()
        }
        self._max_rows = _row_limits(contracts, options or ModelOptions())
        self._seen: RecentDict[tuple[str, bytes], ResultForm | None] = RecentDict(MAX_SEEN)

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method, in parts if its limit asks for that and its contract says that it can be.

        Raises:
            BadInput: an argument does not fit the contract, as the gateway says it.
        """
        known = self._arguments.get(method)
        given, named = (list(args), kwargs) if known is None else known.conform(args, kwargs)
        limit = self._max_rows.get(method)
        if limit is not None:
            return self._call_in_parts(method, given, named, limit)
        return called(getattr(self.target, method), given, named)

    async def async_call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method in a thread."""
        import asyncio

        return await asyncio.to_thread(self.call, method, args, kwargs)

    def _call_in_parts(self, method: str, args: list[Any], kwargs: dict[str, Any], limit: int) -> Any:
        """As a service does it: at most `limit` rows a call if results follow rows, and the results joined again."""
        from vtsserving._wire import rows

        function = getattr(self.target, method)
        packed = rows.pack_call(args, kwargs, self._contracts[method].rule)
        form = self._form(method, packed, limit) if packed.rows > limit else None
        if form is None or not form.follows_rows:
            return called(function, args, kwargs)
        parts = []
        for piece in rows.pieces(packed, limit):
            own_args, own_kwargs = rows.unpack_call(piece)
            leaves: list[Any] = []
            marked = mark(called(function, own_args, own_kwargs), form, piece.rows, leaves)
            head, bodies = rows.cut_leaves(marked, leaves, [piece.rows])
            parts.append(rows.Packed(head, piece.rows, bodies[0]))
        return rows.join_results(parts)

    def _form(self, method: str, packed: Packed, limit: int) -> ResultForm | None:
        """The form of a large call's results, as the contract says it or its first rows show; None: they do not."""
        from vtsserving._contract.result_rows import Undecided, copied
        from vtsserving._contract.seen_results import described_form, form_in_parts
        from vtsserving._wire import rows
        from vtsserving._wire.layout import short_name

        described = described_form(self._contracts[method], packed.head)
        if described is not None:
            return described
        key = (method, short_name(packed.head))
        if key not in self._seen:

            def call(some: Packed) -> Any:
                args, kwargs = rows.unpack_call(some)
                return getattr(self.target, method)(*args, **kwargs)

            first = rows.pieces(packed, max(2, limit))[0]
            try:
                self._seen[key] = form_in_parts(first, copied(call(first)), call)
            except Undecided:
                return None
            except Exception:  # a model that refuses a part cannot be given parts
                self._seen[key] = None
        return self._seen[key]


def _row_limits(contracts: Mapping[str, MethodContract], options: ModelOptions) -> dict[str, int]:
    """Method to the most rows of one call, where somebody chose a limit."""
    default = ModelOptions().max_batch_size
    limits = {
        name: options.of_method(name).max_batch_size
        for name, one in contracts.items()
        if one.rule.axis is not None
    }
    return {name: limit for name, limit in limits.items() if limit is not None and limit != default}
