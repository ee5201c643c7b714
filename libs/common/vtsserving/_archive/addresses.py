"""Which hosts a model may be fetched from.

A user may name any address, this machine's included, except the link-local ones where clouds hand out credentials.
A redirect is not named by the user: it may lead to public addresses, or back to the host that was named.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

from vtsserving.exceptions import ForbiddenSource, Unavailable

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
)
"""Where clouds serve instance metadata outside of the link-local ranges."""

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def addresses_of(host: str, port: int) -> list[IpAddress]:
    """Resolve a host once; every odd spelling of an address (decimal, octal) comes out plain.

    Args:
        host: a name or an address, without brackets.
        port: the port to connect to.

    Returns:
        Its addresses, at least one, in the order to try them.

    Raises:
        Unavailable: the name does not resolve.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        raise Unavailable(f"the host {host!r} cannot be found: {e}") from e
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def check_named(host: str, addresses: list[IpAddress]) -> None:
    """Check an address that the user named.

    Args:
        host: as the user wrote it.
        addresses: what it resolves to.

    Raises:
        ForbiddenSource: one of them is link-local or a metadata service.
    """
    for address in addresses:
        plain = _unwrapped(address)
        if plain.is_link_local or plain.is_multicast or plain in _METADATA:
            resolved = "" if host == str(address) else f" ({address})"
            raise ForbiddenSource(f"models are not fetched from {host}{resolved}: it is a link-local address")


def check_redirect(host: str, addresses: list[IpAddress], named_host: str) -> None:
    """Check an address that a server, not the user, named.

    Args:
        host: where the server sends us.
        addresses: what it resolves to.
        named_host: the host that the user named.

    Raises:
        ForbiddenSource: it is not public and not the named host.
    """
    check_named(host, addresses)
    if host == named_host:
        return
    for address in addresses:
        if not _unwrapped(address).is_global:
            raise ForbiddenSource(
                f"the server redirects to {host} ({address}), which is not a public address; "
                "name that address yourself if you trust it"
            )


def _unwrapped(address: IpAddress) -> IpAddress:
    """The IPv4 address inside an IPv6 one, where packets would end up."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address
