"""What gateways say of models beside requests and orders: what one needs, that it replaces others, that it is replaced.

Nothing is answered, and what is lost is said again or not missed.
"""

from __future__ import annotations

import asyncio

from vtsserving._wire import frames, subjects
from vtsserving.exceptions import BadFrame
from vtsserving_batcher.dispatch import Dispatcher
from vtsserving_batcher.loading import Loading


class PrepareHandler:
    """Acts on Prepare frames."""

    def __init__(self, dispatcher: Dispatcher, loading: Loading) -> None:
        """Load by `loading` the models of `dispatcher`."""
        self._dispatcher = dispatcher
        self._loading = loading
        self._now_s = asyncio.get_running_loop().time

    def take(self, prepare: frames.Prepare) -> None:
        """Act on one frame; an operation of another release is left alone.

        Raises:
            BadFrame: it says that it comes from something that cannot be a gateway.
        """
        if not subjects.is_id(prepare.gateway):
            raise BadFrame("a wish without a gateway's id")
        self._loading.learn(prepare.digest, prepare.needs)
        if prepare.op == "know":
            return
        model = self._dispatcher.model_for(prepare)
        if prepare.op == "succeed" and model.unloading_state is None and self._dispatcher.owns(model):
            self._loading.succeed(model, self._now_s())
        elif prepare.op == "release":
            self._loading.release(model)
