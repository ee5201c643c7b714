"""Opening a TCP connection to one of the addresses that a name has, without waiting long for those that are dead."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Final, TypeVar

P = TypeVar("P", bound=asyncio.BaseProtocol)

ADDRESS_TIMEOUT_S: Final = 0.4
"""How long one address may take; the kernel of a machine that is there answers long before, however busy it is.

Requests wait 0.8 s for the bus, so that one dead address costs none of them.
"""


async def addresses(host: str, port: int) -> list[str]:
    """The addresses of a name now, in random order, so that clients spread over the servers behind it.

    Raises:
        OSError: the name is unknown, or no name server answers.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    distinct = list({str(info[4][0]) for info in found})
    random.shuffle(distinct)
    return distinct


async def dial(factory: Callable[[], P], host: str, port: int) -> P:
    """Connect to the first address of a name that answers.

    Args:
        factory: makes the protocol of a connection.
        host: a name or an address.
        port: of all of them.

    Raises:
        OSError: the last address refused, or the name is unknown.
        asyncio.TimeoutError: the last address was silent.
    """
    failure: BaseException = OSError(f"{host} has no address")
    for address in await addresses(host, port):
        opening = asyncio.get_running_loop().create_connection(factory, address, port)
        try:
            _, protocol = await asyncio.wait_for(opening, ADDRESS_TIMEOUT_S)
        except (OSError, asyncio.TimeoutError) as error:
            failure = error
        else:
            return protocol
    raise failure
