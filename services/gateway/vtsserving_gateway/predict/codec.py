"""What the two ways to call a model have to tell the exchange that answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vtsserving._codecs.json_strict import Body
from vtsserving._inference.request import Outcome
from vtsserving._wire.rows import Packed
from vtsserving.exceptions import VtsServingException
from vtsserving_gateway.http.respond import ResponseContent
from vtsserving_gateway.predict.decode import Target
from vtsserving_gateway.predict.routes import Route


class Codec(Protocol):
    """How one request is read and its answer written."""

    @property
    def timeout_s(self) -> float | None:
        """The deadline that the body asked for, once it was decoded."""

    @property
    def target(self) -> Target | None:
        """The method that the body asked for instead of the URL's, once it was decoded; None: it did not."""

    def decode(self, target: Target, body: Body) -> Packed:
        """The call that a body means; BadInput of its many kinds if it means none."""

    def answer(self, outcome: Outcome, route: Route) -> ResponseContent:
        """The answer to a call that has ended; raises its error, or that the result cannot be written."""


class Api(Protocol):
    """One family of URLs."""

    def route(self, url: bytes) -> Route:
        """What a URL names; NotFound if it names nothing that could exist."""

    def codec(self, headers: Mapping[bytes, bytes]) -> Codec:
        """How a request with these headers (lower-case names) is read and answered.

        Raises:
            UnsupportedMediaType, NotAcceptable: as it is not.
        """

    def error(self, error: VtsServingException, request_id: str) -> tuple[int, bytes]:
        """Status and JSON body of an error."""
