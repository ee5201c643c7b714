"""Where a runner's calls go after `init_local`: an object in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import ModelSignature


class LocalHandle:
    """Calls an object in this process; nothing is queued or batched, so of all limits only the rows of one call count.

    Attributes:
        target: the object whose methods are called.
    """

    def __init__(
        self, target: Any, signatures: Mapping[str, ModelSignature], options: ModelOptions | None = None
    ) -> None:
        """Call `target`.

        Args:
            target: has a method for each signature.
            signatures: method name to signature.
            options: a `max_batch_size` that they change holds here, too.
        """
        self.target = target
        self._signatures = signatures
        self._max_rows = _row_limits(signatures, options or ModelOptions())

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method, in parts if its limit asks for that."""
        limit = self._max_rows.get(method)
        if limit is not None:
            return self._call_in_parts(method, args, kwargs, limit)
        return getattr(self.target, method)(*args, **kwargs)

    async def async_call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method in a thread."""
        import asyncio

        return await asyncio.to_thread(self.call, method, args, kwargs)

    def _call_in_parts(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], limit: int) -> Any:
        """As a service does it: at most `limit` rows a call, the results joined again."""
        from vtsserving._wire import rows

        in_axis, out_axis = self._signatures[method].batch_dim
        packed = rows.pack_call(args, kwargs, in_axis)
        function = getattr(self.target, method)
        if packed.rows <= limit:
            return function(*args, **kwargs)
        parts = []
        for piece in rows.pieces(packed, limit):
            own_args, own_kwargs = rows.unpack_call(piece)
            result = function(*own_args, **own_kwargs)
            head, bodies = rows.split_result(result, [piece.rows], out_axis)
            parts.append(rows.Packed(head, piece.rows, bodies[0]))
        return rows.join_results(parts)


def _row_limits(signatures: Mapping[str, ModelSignature], options: ModelOptions) -> dict[str, int]:
    """Method to the most rows of one call, where somebody chose a limit."""
    default = ModelOptions().max_batch_size
    limits = {
        name: options.of_method(name).max_batch_size for name, one in signatures.items() if one.batchable
    }
    return {name: limit for name, limit in limits.items() if limit is not None and limit != default}
