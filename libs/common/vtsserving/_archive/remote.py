"""Archives on FTP, SFTP, S3 and the like, through fsspec: streamed, whole or absent."""

from __future__ import annotations

import contextlib
import ftplib
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from vtsserving._archive.addresses import addresses_of, check_named
from vtsserving._archive.limits import MIB
from vtsserving._archive.locations import HOST_SCHEMES, INSTALL_HINTS, Location, split_login
from vtsserving._archive.streams import Readable, Writable
from vtsserving.exceptions import (
    AlreadyExists,
    AuthError,
    ConfigurationError,
    Forbidden,
    MissingDependency,
    NotFound,
    StorageError,
    Unavailable,
    VtsServingException,
)

# One S3 upload has at most 10,000 parts, so this part size carries objects of 160 GB.
_BLOCK_BYTES: Final = 16 * MIB
_COMMITTING: Final = frozenset({"s3", "s3a", "gs", "gcs", "memory"})
"""Schemes whose files appear only when a finished upload is committed; the others are renamed into place."""

_UNKNOWN_OPTION: Final = re.compile(r"unexpected keyword argument '([^']+)'")

_DEFAULT_PORTS: Final = {"ftp": 21, "sftp": 22, "ssh": 22}


class Remote(NamedTuple):
    """A file system and a path on it."""

    fs: Any
    path: str
    location: Location


def connect(location: Location, options: Mapping[str, Any]) -> Remote:
    """Connect to the file system of a URL.

    Args:
        location: a URL that is not http.
        options: what the file system's constructor takes: credentials, endpoint_url, and so on.

    Returns:
        The file system and the path on it.

    Raises:
        MissingDependency: the plug-in for the scheme is not installed; the message says how to.
        ConfigurationError: an option that the plug-in does not know.
        ForbiddenSource: the host must not be connected to.
        Unavailable: it cannot be reached.
    """
    import fsspec

    for address in _addresses(location, options):
        _check_host(address)
    try:
        with remote_errors(location):
            if location.scheme in {"sftp", "ssh"}:
                from vtsserving._archive.sftp import connect_sftp

                return Remote(*connect_sftp(location.address, options), location)
            # Instances are cached by default, with their connection and its listings; neither must be stale here.
            address, login = (
                split_login(location.address) if location.scheme == "ftp" else (location.address, {})
            )
            fs, path = fsspec.url_to_fs(address, skip_instance_cache=True, **{**login, **options})
    except ImportError as e:
        hint = INSTALL_HINTS.get(location.scheme, "install its fsspec plug-in")
        raise MissingDependency(f"{location.scheme}:// needs a plug-in that is not installed: {hint}") from e
    return Remote(fs, path, location)


def is_folder(remote: Remote) -> bool:
    """Whether a URL names a folder: with a slash at its end it does, without one the file system is asked.

    Args:
        remote: from `connect`.

    Raises:
        AuthError: the credentials are refused.
        Unavailable: the connection fails.
    """
    if not remote.location.file_name:
        return True
    try:
        with remote_errors(remote.location):
            return bool(remote.fs.isdir(remote.path))
    except (Forbidden, NotFound):
        return False  # a file may be readable where folders cannot be listed; opening it says what is wrong


@contextlib.contextmanager
def open_remote(remote: Remote, path: str | None = None) -> Iterator[Readable]:
    """Read a file.

    Args:
        remote: from `connect`.
        path: another path on the same file system.

    Yields:
        The file, forwards only, read ahead in blocks.

    Raises:
        NotFound: there is no such file.
        AuthError: the credentials are refused.
        Unavailable: the connection fails.
    """
    with remote_errors(remote.location):
        file = remote.fs.open(path or remote.path, "rb", block_size=4 * MIB, cache_type="readahead")
    try:
        yield _ErrorsNamed(file, remote.location)
    finally:
        with remote_errors(remote.location):
            file.close()


@contextlib.contextmanager
def create_remote(remote: Remote, *, force: bool, path: str | None = None) -> Iterator[Writable]:
    """Write a file that appears only when the block ends without an error.

    Args:
        remote: from `connect`.
        force: replace an existing file.
        path: another path on the same file system.

    Yields:
        Where the bytes go, forwards only.

    Raises:
        AlreadyExists: the file exists and `force` is not set.
        AuthError: the credentials are refused.
        Unavailable: the connection fails.
    """
    fs, target = remote.fs, path or remote.path
    if not force:
        with remote_errors(remote.location):
            if fs.exists(target):
                raise AlreadyExists(f"{remote.location.shown} exists already; --force replaces it")
    if remote.location.scheme in _COMMITTING:
        yield from _committed(remote, target)
    else:
        yield from _renamed(remote, target)


def _committed(remote: Remote, target: str) -> Iterator[Writable]:
    with remote_errors(remote.location):
        file = remote.fs.open(target, "wb", block_size=_BLOCK_BYTES, autocommit=False)
    try:
        yield _ErrorsNamed(file, remote.location)
        with remote_errors(remote.location):
            file.close()
            file.commit()
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            file.discard()
        file.closed = True  # else the collector closes it, which uploads what there is
        raise


def _renamed(remote: Remote, target: str) -> Iterator[Writable]:
    folder, slash, name = target.rpartition("/")
    partial = f"{folder}{slash}.{name}.{secrets.token_hex(4)}.partial"
    with remote_errors(remote.location):
        file = remote.fs.open(partial, "wb", block_size=_BLOCK_BYTES)
    try:
        yield _ErrorsNamed(file, remote.location)
        with remote_errors(remote.location):
            file.close()
            if remote.fs.exists(target):
                remote.fs.rm_file(target)
            remote.fs.mv(partial, target)
    except BaseException:
        with contextlib.suppress(Exception):
            file.close()
        with contextlib.suppress(Exception):
            remote.fs.rm_file(partial)
        raise


class _ErrorsNamed:
    """A remote file whose errors name the address."""

    def __init__(self, file: Any, location: Location) -> None:
        self._file = file
        self._location = location

    def read(self, n_bytes: int) -> bytes:
        with remote_errors(self._location):
            data: bytes = self._file.read(n_bytes)
        return data

    def write(self, data: bytes) -> None:
        with remote_errors(self._location):
            self._file.write(data)


@contextlib.contextmanager
def remote_errors(location: Location) -> Iterator[None]:
    """Turn what a plug-in raises into an error of ours that names the address.

    Args:
        location: what the block works on.

    Raises:
        ConfigurationError: an option that the plug-in does not know.
        NotFound: no such file, folder or bucket.
        AuthError: the credentials are missing or refused.
        Unavailable: anything else that goes wrong on the way.
    """
    try:
        yield
    except (VtsServingException, ImportError):
        raise
    except TypeError as e:
        # Options reach the plug-in as keyword arguments; some plug-ins look at them only when they connect.
        match = _UNKNOWN_OPTION.search(str(e))
        what = f"takes no option {match[1]!r}" if match else f"does not take these options: {e}"
        raise ConfigurationError(f"{location.scheme}:// {what}") from e
    except FileNotFoundError as e:
        raise NotFound(f"{location.shown}: there is no such file, folder or bucket") from e
    except PermissionError as e:
        raise Forbidden(f"{location.shown}: access is denied; check the credentials") from e
    except FileExistsError as e:
        raise AlreadyExists(f"{location.shown} exists already; --force replaces it") from e
    except ftplib.error_perm as e:
        raise _of_ftp(e, location) from e
    except Exception as e:
        kind = type(e).__name__
        if "Credential" in kind or "Authentication" in kind:
            raise AuthError(f"{location.shown}: the credentials are missing or refused ({kind})") from e
        raise Unavailable(f"{location.shown} cannot be reached or used ({kind}: {str(e)[:200]})") from e


def _of_ftp(error: ftplib.error_perm, location: Location) -> VtsServingException:
    code = str(error)[:3]
    if code in {"530", "532"}:
        return AuthError(f"{location.shown}: the server refuses the user name or password")
    if code == "552":
        return StorageError(f"{location.shown}: the server has no space left for this user")
    if code == "550":
        return NotFound(f"{location.shown}: there is no such file or folder, or access is denied")
    return Unavailable(f"{location.shown}: the server answers {str(error)[:200]}")


def _addresses(location: Location, options: Mapping[str, Any]) -> Iterator[str]:
    """The URLs whose hosts will be connected to, as far as they are known."""
    if location.scheme in HOST_SCHEMES:
        yield location.address
    endpoint = options.get("endpoint_url")
    if isinstance(endpoint, str):
        yield endpoint


def _check_host(address: str) -> None:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme, 443)
    except ValueError as e:
        raise ConfigurationError(f"the address is not a valid URL: {e}") from e
    if not host:
        raise ConfigurationError("the address names no host; write for example ftp://host/folder/")
    check_named(host, addresses_of(host, port))
