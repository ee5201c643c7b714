"""The addresses of our HTTP services, as users give them."""

from __future__ import annotations

from urllib.parse import urlsplit

from vtsserving.exceptions import ConfigurationError


def checked_url(url: str, service: str, example: str) -> str:
    """Check an address of a service.

    Args:
        url: as given.
        service: what it should be the address of, for the error.
        example: an address as it should be, for the error.

    Returns:
        The address, without a slash at its end.

    Raises:
        ConfigurationError: it is no http or https address.
    """
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.query
        _ = parts.port
    except ValueError:
        fine = False
    if not fine:
        raise ConfigurationError(f"{url!a:.200} is not the address of a {service}; one looks like {example}")
    return url.rstrip("/")
