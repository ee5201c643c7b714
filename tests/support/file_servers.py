"""Real FTP, SFTP and HTTP servers on free ports of this machine."""

from __future__ import annotations

import contextlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class FtpServer(NamedTuple):
    """A running FTP server: its URL with user and password, and the folder that it serves."""

    url: str
    folder: Path
    port: int


_FTP_PROGRAM = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
authorizer = DummyAuthorizer()
authorizer.add_user("user", "p@ss word", sys.argv[1], perm="elradfmwMT")
FTPHandler.authorizer = authorizer
server = FTPServer(("127.0.0.1", 0), FTPHandler)
print(server.socket.getsockname()[1], flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def ftp_server(folder: Path) -> Iterator[FtpServer]:
    """Serve a folder over FTP, to `user` with the password `p@ss word`, from a process of its own."""
    # The library still stands on asyncore, which warns when it is imported; in its own process nobody minds.
    with server_process([sys.executable, "-W", "ignore", "-c", _FTP_PROGRAM, str(folder)]) as line:
        yield FtpServer(f"ftp://user:p%40ss%20word@127.0.0.1:{line}", folder, int(line))


class SftpServer(NamedTuple):
    """A running SFTP server: its URL with user and password, the folder that it serves, and its known_hosts."""

    url: str
    folder: Path
    port: int
    known_hosts: Path


_SFTP_PROGRAM = """
import asyncio, sys
import asyncssh

class Server(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return (username, password) == ("user", "p@ss word")

class Disk(asyncssh.SFTPServer):
    def write(self, file_obj, offset, data):
        if offset + len(data) > int(sys.argv[2]):
            raise asyncssh.SFTPFailure("no space left")
        return super().write(file_obj, offset, data)

async def main():
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Server,
        server_host_keys=[key],
        sftp_factory=lambda channel: Disk(channel, chroot=sys.argv[1]),
    )
    print(server.get_port(), key.export_public_key().decode().strip(), flush=True)
    await server.wait_closed()

asyncio.run(main())
"""


@contextlib.contextmanager
def sftp_server(folder: Path, known_hosts: Path, *, max_file_bytes: int) -> Iterator[SftpServer]:
    """Serve a folder over SFTP, to `user` with the password `p@ss word`, from a process of its own.

    Args:
        folder: what is served.
        known_hosts: written, with the server's host key.
        max_file_bytes: a longer file finds the disk full.
    """
    with server_process(
        [sys.executable, "-W", "ignore", "-c", _SFTP_PROGRAM, str(folder), str(max_file_bytes)]
    ) as line:
        port, _, key = line.partition(" ")
        known_hosts.write_text(f"[127.0.0.1]:{port} {key}\n")
        url = f"sftp://user:p%40ss%20word@127.0.0.1:{port}"
        yield SftpServer(url, folder, int(port), known_hosts)


@contextlib.contextmanager
def server_process(argv: list[str]) -> Iterator[str]:
    """Run a program that prints one line once it serves; yields the line."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line, "the server did not start"
        yield line
    finally:
        process.kill()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


class HttpServer:
    """A web server whose answers a test sets.

    Attributes:
        answers: path to (status, headers, body); `body` may be longer or shorter than a content-length in `headers`.
        requests: the paths asked for, with the Host header.
    """

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def redirect(self, path: str, target: str) -> None:
        """Answer a path with a redirect."""
        self.answers[path] = (302, {"location": target}, b"")

    def serve(self) -> contextlib.AbstractContextManager[HttpServer]:
        """Run while the block runs."""
        return self._serve()

    @contextlib.contextmanager
    def _serve(self) -> Iterator[HttpServer]:
        thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.05), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(timeout=10)

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the library's name
                outer.requests.append((self.path, self.headers.get("host", "")))
                status, headers, body = outer.answers.get(self.path, (404, {}, b""))
                self.send_response(status)
                for key, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the test output clean."""

        return Handler
