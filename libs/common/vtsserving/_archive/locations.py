"""Where archives come from and go to: paths, and URLs of known schemes."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from vtsserving.exceptions import ForbiddenSource, InvalidArgument

INSTALL_HINTS: Final = {
    "s3": "pip install 'vtsserving[s3]'",
    "s3a": "pip install 'vtsserving[s3]'",
    "gs": "pip install 'vtsserving[gs]'",
    "gcs": "pip install 'vtsserving[gs]'",
    "sftp": "pip install 'vtsserving[sftp]'",
    "ssh": "pip install 'vtsserving[sftp]'",
    "dropbox": "pip install dropboxdrivefs dropbox requests",
    "abfs": "pip install adlfs",
    "abfss": "pip install adlfs",
    "az": "pip install adlfs",
}
"""Scheme -> how to get its plug-in, for those that need one."""

HTTP_SCHEMES: Final = frozenset({"http", "https"})
HOST_SCHEMES: Final = HTTP_SCHEMES | {"ftp", "sftp", "ssh"}
"""Schemes whose URL names the host that is connected to."""

SCHEMES: Final = HOST_SCHEMES | frozenset(INSTALL_HINTS) | {"memory"}


@dataclass(frozen=True)
class Location:
    """A path on this machine, or a URL.

    Attributes:
        scheme: empty for a path.
        address: the path or the URL as given; a URL may hold a password.
    """

    scheme: str
    address: str

    @property
    def is_local(self) -> bool:
        """Whether it is a path on this machine."""
        return not self.scheme

    @property
    def path(self) -> Path:
        """The path on this machine; only where `is_local`."""
        return Path(self.address).expanduser()

    @property
    def shown(self) -> str:
        """The address as it may be printed: without a password, a token or a signed query."""
        if self.is_local:
            return self.address
        parts = urlsplit(self.address)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))

    @property
    def file_name(self) -> str:
        """The last part of the path; empty where it ends with a slash."""
        path = self.address if self.is_local else urlsplit(self.address).path
        return posixpath.basename(path)

    def child(self, name: str) -> Location:
        """The location of `name` inside this folder."""
        if self.is_local:
            return replace(self, address=os.path.join(self.address, name))
        parts = urlsplit(self.address)
        return replace(self, address=urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}")))

    def with_suffix(self, suffix: str) -> Location:
        """The same location with `suffix` appended to its name."""
        if self.is_local:
            return replace(self, address=self.address + suffix)
        parts = urlsplit(self.address)
        return replace(self, address=urlunsplit(parts._replace(path=parts.path + suffix)))


def parse_location(text: str | os.PathLike[str]) -> Location:
    """Read a path or URL that a user gave.

    Args:
        text: a path, a `file://` URL, or a URL of one of SCHEMES.

    Returns:
        The location.

    Raises:
        InvalidArgument: empty.
        ForbiddenSource: an unknown scheme, chained URLs, or a `file://` URL of another host.
    """
    address = os.fspath(text)
    if not isinstance(address, str) or "\0" in address:
        raise InvalidArgument("a path or URL must be text")
    scheme, colon, _ = address.partition("://")
    if not colon:
        return Location("", address or ".")
    if "::" in address.partition("?")[0]:
        raise ForbiddenSource(f"chained URLs are not supported: {address.partition('@')[0]}")
    scheme = scheme.lower()
    if scheme == "file":
        parts = urlsplit(address)
        if parts.netloc not in {"", "localhost"}:
            raise ForbiddenSource(f"{address} is on another machine; a file URL begins with file:///")
        return Location("", unquote(parts.path))
    if scheme not in SCHEMES:
        known = ", ".join(sorted(SCHEMES | {"file"}))
        raise ForbiddenSource(f"the address scheme {scheme[:20]!r} is not supported; supported are: {known}")
    return Location(scheme, address)


def split_login(address: str) -> tuple[str, dict[str, str]]:
    """A URL without its user name and password, and these by themselves, with percent signs decoded."""
    parts = urlsplit(address)
    given = {"username": parts.username, "password": parts.password}
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return bare, {key: unquote(value) for key, value in given.items() if value}
