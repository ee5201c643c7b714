"""Which URLs are calls of models, and in which dialect."""

from __future__ import annotations

from typing import Final

from vtsserving_gateway.predict import oip_codec
from vtsserving_gateway.predict.codec import Api
from vtsserving_gateway.predict.native_codec import NATIVE
from vtsserving_gateway.predict.routes import PREFIX

OIP_ROOT: Final = b"/v2"


class ApiRegistry:
    """The ways to call a model that one gateway knows."""

    def __init__(self, max_body_bytes: int) -> None:
        """Refuse bodies that inflate to more than `max_body_bytes`."""
        self._oip = oip_codec.OipApi(max_body_bytes)

    def call(self, url: bytes) -> Api | None:
        """The dialect of a POST to a URL; None if it is no call of a model."""
        if url.startswith(PREFIX):
            return NATIVE
        if url.startswith(oip_codec.PREFIX) and url.partition(b"?")[0].endswith(b"/infer"):
            return self._oip
        return None

    def errors(self, url: bytes) -> Api:
        """The dialect whose errors a URL is answered with."""
        return self._oip if url.startswith(OIP_ROOT) else NATIVE
