"""A model behind a gateway: one version of it for the whole file, called over HTTP."""

from __future__ import annotations

from typing import Any, Final

from vtsserving._model.contract import MethodContract
from vtsserving._scoring.answering import Call
from vtsserving._scoring.local_model import Known, known_of
from vtsserving.client.sync_client import Client
from vtsserving.exceptions import InvalidSignature, NotAGateway

RETRIES: Final = 60
"""Most repetitions of a call while the gateway is busy or away, within its timeout."""


def known_remotely(client: Client, tag: str, method: str) -> Known:
    """Ask a gateway what it knows of a method.

    Args:
        client: of the gateway.
        tag: of the model; a name that moves means what it means now, until the last row.
        method: as `known_of` takes it; raises as that, too.

    Raises:
        NotAGateway: the answer describes no model.
        VtsServingException: the gateway's own error.
    """
    described = client.describe_model(tag)
    try:
        specs = dict(described["input_specs"])
        raw = described.get("contracts")
        if raw is None:
            signatures = described["signatures"]
            contracts = {name: MethodContract.declared(name, one) for name, one in signatures.items()}
        else:
            contracts = {name: MethodContract.from_dict(one) for name, one in raw.items()}
        exact, digest = str(described["tag"]), str(described["digest"])
    except (KeyError, TypeError, AttributeError, InvalidSignature) as error:
        raise NotAGateway(
            f"{client.url} describes {tag} in a form that is not known here: {error!r:.80}"
        ) from error
    return known_of(exact, digest, contracts, specs, method)


def remote_call(client: Client, known: Known) -> Call:
    """A call over HTTP, from any thread; arguments are checked here first, so that errors come at once."""
    arguments = known.arguments()

    def call(args: list[Any], kwargs: dict[str, Any]) -> Any:
        fitting, named = arguments.conform(args, kwargs)
        return client.call_model(known.tag, known.method, fitting, named)

    return call
