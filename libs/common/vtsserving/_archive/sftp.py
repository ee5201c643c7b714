"""The SFTP file system: it talks only to servers that this user knows, and keeps many requests under way.

Models may hold code, so a server that nobody vouches for is refused, as `ssh` does it; fsspec's own file system accepts
any host key. It also waits for each 32 KiB, which makes a transfer as slow as the way to the server is long.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

from vtsserving._archive.limits import MIB
from vtsserving._archive.locations import split_login
from vtsserving.exceptions import AuthError

_TIMEOUT_S: Final = 30
_AHEAD_BYTES: Final = 2 * MIB
"""What is asked for or sent before the first of it is waited for."""


def connect_sftp(address: str, options: Mapping[str, Any]) -> tuple[SFTPFileSystem, str]:
    """Connect to an SFTP server.

    Args:
        address: `sftp://user:password@host:port/path`; user, password and port may be left out. Without a password the
            keys of `ssh` and its agent are tried.
        options: for `paramiko.SSHClient.connect`, for example `key_filename`, and `known_hosts`: the file with the host
            keys, `~/.ssh/known_hosts` by default.

    Returns:
        The file system and the path on it.

    Raises:
        AuthError: the server is not known, or it shows another key than the known one.
    """
    parts = urlsplit(address)
    port = {"port": parts.port} if parts.port else {}
    _, login = split_login(address)
    return KnownHostSftp(parts.hostname, **{**port, **login, **options}), parts.path


class KnownHostSftp(SFTPFileSystem):  # type: ignore[misc]
    """fsspec's file system, with the host key checked."""

    cachable = False

    def _connect(self) -> None:
        settings = {"timeout": _TIMEOUT_S, **self.ssh_kwargs}
        known_hosts = settings.pop("known_hosts", None)
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys(known_hosts and str(Path(known_hosts).expanduser()))
        self.client.set_missing_host_key_policy(_RefuseUnknown())
        try:
            self.client.connect(self.host, **settings)
        except paramiko.BadHostKeyException as error:
            raise AuthError(
                f"{self.host} shows another host key than the known one; only if its administrators say that it has a "
                f"new one, remove the old: ssh-keygen -R {self.host}"
            ) from error
        self.ftp = self.client.open_sftp()

    def _open(self, path: str, mode: str = "rb", **_: Any) -> _Windows:
        return _Windows(self.ftp.open(path, mode, bufsize=0))

    def mv(self, old: str, new: str, **_: Any) -> None:
        """Rename a file, replacing what is there where the server can."""
        try:
            self.ftp.posix_rename(old, new)
        except OSError:  # an extension that not every server has
            self.ftp.rename(old, new)


class _RefuseUnknown(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    def missing_host_key(self, client: Any, hostname: str, key: Any) -> NoReturn:
        raise AuthError(
            f"the SFTP server {hostname} is not known: connect to it once with ssh, or add its key "
            f"({key.get_name()} {key.fingerprint}) to ~/.ssh/known_hosts, or name a file: -O known_hosts=FILE"
        )


class _Windows:
    """An open file that is read or written forwards, a window at a time."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._size_bytes = file.stat().st_size
        self._position = 0
        self._pending = bytearray()

    def read(self, n_bytes: int) -> bytes:
        if not self._pending:
            window = min(_AHEAD_BYTES, self._size_bytes - self._position)
            # Asked for in pieces all at once; a plain prefetch would hold what nobody has read yet, without a limit.
            self._pending += b"".join(self._file.readv([(self._position, window)])) if window else b""
            self._position += len(self._pending)
        data = bytes(self._pending[:n_bytes])
        del self._pending[:n_bytes]
        return data

    def write(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) >= _AHEAD_BYTES:
            self._send()

    def close(self) -> None:
        if self._file.writable():
            self._send()
        self._file.close()

    def _send(self) -> None:
        last = min(len(self._pending), 1)
        with memoryview(self._pending) as view:
            self._file.set_pipelined(True)
            self._file.write(bytes(view[:-last]))
            # One that is waited for waits for all before it, and raises what became of them.
            self._file.set_pipelined(False)
            self._file.write(bytes(view[-last:]))
        self._pending.clear()
