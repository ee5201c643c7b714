"""Liveness, readiness, metrics."""

from __future__ import annotations

import threading
from typing import Final

from fastapi import APIRouter, Request, Response

from vtsserving import _clock
from vtsserving.exceptions import VtsServingException
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore

READY_CACHE_S: Final = 2.0
router = APIRouter(include_in_schema=False)


class Readiness:
    """Whether the storage answers; asked at most every READY_CACHE_S."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._asked_s = float("-inf")
        self._reason = ""
        self.draining = False

    def reason(self) -> str:
        """Why the store is not ready; empty if it is."""
        if self.draining:
            return "the store is stopping"
        with self._lock:
            if _clock.monotonic_s() - self._asked_s > READY_CACHE_S:
                try:
                    self._objects.stat(keys.PROBES + "ready")
                    self._reason = ""
                except VtsServingException as error:
                    self._reason = error.message
                self._asked_s = _clock.monotonic_s()
            return self._reason


@router.get("/livez")
async def livez() -> Response:
    """The event loop turns."""
    return Response("ok\n", media_type="text/plain")


@router.get("/readyz")
@router.get("/healthz")
def readyz(request: Request) -> Response:
    """The storage answers."""
    reason = request.app.state.readiness.reason()
    return Response(f"{reason or 'ok'}\n", 503 if reason else 200, media_type="text/plain")


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """The Prometheus text format."""
    return Response(request.app.state.metrics.render(), media_type="text/plain; version=0.0.4")
