"""Which URLs are calls of models, and in which dialect."""

from __future__ import annotations

from vtsserving_gateway.dialect import Api
from vtsserving_gateway.native import NATIVE
from vtsserving_gateway.routes import PREFIX


def call_of(url: bytes) -> Api | None:
    """The dialect of a POST to a URL; None if it is no call of a model."""
    return NATIVE if url.startswith(PREFIX) else None


def family_of(url: bytes) -> Api:
    """The dialect whose errors a URL is answered with."""
    return NATIVE
