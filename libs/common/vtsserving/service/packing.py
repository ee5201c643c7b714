"""Packing what a Service needs beside its code: its custom Runnables and the models that its runners use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.tag import Tag
from vtsserving._packing.package import pack
from vtsserving._store_client import transfer
from vtsserving._store_client.client import RegistryClient
from vtsserving._store_client.contexts import connect
from vtsserving.exceptions import AlreadyExists, NotFound
from vtsserving.service.service import Service


class Pushed(NamedTuple):
    """One model of a service that is in the store service now.

    Attributes:
        tag: exact.
        runner: the runner that was packed into it; empty for a saved model.
        sent: whether it was not there before.
    """

    tag: Tag
    runner: str
    sent: bool


def pack_service(service: Service, store: LocalStore | None = None) -> dict[str, Model]:
    """Pack the custom Runnables of a service into the local store; what is there already stays.

    Returns:
        Runner's name to hidden model.

    Raises:
        VtsServingException: as `vtsserving._packing.package.pack`.
    """
    custom = [runner for runner in service.runners if runner.runnable_class is not None]
    return {runner.name: pack(runner, store) for runner in custom}


def push_service(
    service: Service, *, store_url: str | None = None, token: str | None = None
) -> Iterator[Pushed]:
    """Send the packed runners of a service, and the models that its runners use, to the store service.

    Args:
        service: imported.
        store_url: of the store; by default VTSSERVING_STORE_URL, the login, or this machine.
        token: for the store; by default VTSSERVING_STORE_TOKEN or the login's.

    Yields:
        One after the other, models before the runners that use them; what the store has is not sent again.

    Raises:
        VtsServingException: as those of packing and of `vtsserving.models.push`.
    """
    store = LocalStore()
    packed = pack_service(service, store)
    models = {model.tag: model for runner in service.runners for model in runner.models}
    wanted = [(model.tag, "") for model in models.values()]
    wanted += [(model.tag, name) for name, model in packed.items()]
    with connect(store_url, token) as client:
        for tag, runner in wanted:
            sent = not _has(client, tag)
            if sent:
                try:
                    transfer.push(tag, store_url=store_url, token=token, store=store)
                except AlreadyExists:
                    if not runner:
                        raise
                    sent = False  # another machine packed and pushed the same class meanwhile
            yield Pushed(tag, runner, sent)


def _has(client: RegistryClient, tag: Tag) -> bool:
    """Whether the store has a version; a packed class of one name is the same class, whoever packed it."""
    try:
        client.version(tag)
    except NotFound:
        return False
    return True
