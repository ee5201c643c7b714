"""Where a runner's calls go after `init_local`: an object in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vtsserving._contract.arguments import Arguments
from vtsserving._contract.result_rows import mark
from vtsserving._model.contract import MethodContract
from vtsserving._model.options import ModelOptions
from vtsserving._model.result_form import ResultForm


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
        return getattr(self.target, method)(*given, **named)

    async def async_call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method in a thread."""
        import asyncio

        return await asyncio.to_thread(self.call, method, args, kwargs)

    def _call_in_parts(self, method: str, args: list[Any], kwargs: dict[str, Any], limit: int) -> Any:
        """As a service does it: at most `limit` rows a call, the results joined again."""
        from vtsserving._wire import rows

        function = getattr(self.target, method)
        contract = self._contracts[method]
        form = contract.result or ResultForm(contract.batch_dim[1])
        packed = rows.pack_call(args, kwargs, contract.rule)
        if packed.rows <= limit or not form.follows_rows:
            return function(*args, **kwargs)
        parts = []
        for piece in rows.pieces(packed, limit):
            own_args, own_kwargs = rows.unpack_call(piece)
            leaves: list[Any] = []
            marked = mark(function(*own_args, **own_kwargs), form, piece.rows, leaves)
            head, bodies = rows.cut_leaves(marked, leaves, [piece.rows])
            parts.append(rows.Packed(head, piece.rows, bodies[0]))
        return rows.join_results(parts)


def _row_limits(contracts: Mapping[str, MethodContract], options: ModelOptions) -> dict[str, int]:
    """Method to the most rows of one call, where somebody chose a limit."""
    default = ModelOptions().max_batch_size
    limits = {
        name: options.of_method(name).max_batch_size
        for name, one in contracts.items()
        if one.rule.axis is not None
    }
    return {name: limit for name, limit in limits.items() if limit is not None and limit != default}
