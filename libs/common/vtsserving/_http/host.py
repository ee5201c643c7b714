"""The service behind the connections of a server, as they see it."""

from __future__ import annotations

from typing import Protocol

from vtsserving._http.limits import Limits
from vtsserving._http.watch import Watch
from vtsserving.exceptions import VtsServingException


class ConnectionHost(Protocol):
    """State that all connections of one server share; their owner provides it."""

    @property
    def draining(self) -> bool:
        """Whether answers say `connection: close`, since the server is about to leave."""

    @property
    def limits(self) -> Limits:
        """The limits of the connections."""

    @property
    def watch(self) -> Watch:
        """The open connections and the clock of their timeouts."""

    def request_id(self, wanted: bytes | None) -> bytes:
        """The id of a request whose client asked for the id `wanted`, or for none."""

    def refuse(self, error: VtsServingException, url: bytes, request_id: bytes) -> bytes:
        """Count a request that could not be read.

        Args:
            error: why.
            url: of the request, as far as it was read.
            request_id: for the answer.

        Returns:
            The whole response, with `connection: close`.
        """
