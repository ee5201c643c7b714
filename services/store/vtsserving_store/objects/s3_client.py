"""Clients of the S3 SDK that repeat requests, write only what is new, and abort an upload on an interrupt.

The SDK sends everything through a urllib3 pool that we give it, one request per `urlopen`, with the body as bytes. So
a request can be repeated here as it is, also one part of a large upload whose source cannot be read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import tenacity
import urllib3
from minio import Minio

from vtsserving_store.objects.s3_errors import is_transient, is_transient_answer
from vtsserving_store.settings import S3Settings

if TYPE_CHECKING:
    from typing_extensions import Self

ATTEMPTS: Final = 4
"""Tries of one request to the storage: the first and three more."""

FIRST_PAUSE_S: Final = 0.1
"""Before the second try; each further pause is twice as long."""

_CONNECTIONS: Final = 32
_MAY_BE_TRANSIENT: Final = frozenset({400, 408, 409, 429, *range(500, 600)})
"""Of the statuses below 500 the error code decides: a body that was damaged on its way is a 400, too."""


class Interrupted(Exception):
    """Carries an interrupt through the SDK, which aborts a multipart upload on an `Exception` alone.

    Attributes:
        interrupt: to be raised once the SDK is left.
    """

    def __init__(self, interrupt: BaseException) -> None:
        super().__init__(repr(interrupt))
        self.interrupt = interrupt


class StorageRetry(urllib3.Retry):
    """Repeats a request that may succeed a moment later; the last answer or error goes to the SDK."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        """Count a failed try; raises where there is no sense in another one."""
        if error is not None and not is_transient(error):
            raise error
        if response is not None and not is_transient_answer(response):
            # Not raised further: with raise_on_status=False, urllib3 returns the response.
            raise urllib3.exceptions.MaxRetryError(_pool, url or "")
        return super().increment(method, url, response, error, _pool, _stacktrace)

    def get_backoff_time(self) -> float:
        """Seconds until the next try; urllib3's own formula makes the second try at once."""
        return FIRST_PAUSE_S * 2.0 ** (len(self.history) - 1)


class StoragePool(urllib3.PoolManager):
    """The connections of one S3 client."""

    def __init__(self, settings: S3Settings, *, create_only: bool = False) -> None:
        """Prepare a pool; nothing is sent yet.

        Args:
            settings: timeouts and certificates.
            create_only: send `If-None-Match: *` with every PUT, which the SDK cannot. The signature does not cover
                the header, and need not. Requests are not repeated: whoever creates must look what the lost answer
                was.
        """
        tls: dict[str, Any] = {"cert_reqs": "CERT_REQUIRED"}
        if settings.ca_file is not None:
            tls["ca_certs"] = str(settings.ca_file)
        super().__init__(
            timeout=urllib3.Timeout(connect=settings.connect_timeout_s, read=settings.stall_timeout_s),
            maxsize=_CONNECTIONS,
            retries=False if create_only else _retry(),
            **tls,
        )
        self._create_only = create_only

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """Send one request.

        Raises:
            Interrupted: an interrupt arrived meanwhile.
        """
        if self._create_only and method == "PUT":
            headers = urllib3.HTTPHeaderDict(options.get("headers"))
            headers["If-None-Match"] = "*"
            options["headers"] = headers
        try:
            return super().urlopen(method, url, redirect, **options)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            raise Interrupted(interrupt) from interrupt


class PartSource:
    """The parts of a verified stream as a file, which the SDK reads part by part.

    The stream's end is read before the last part is given away: where the content is wrong, the SDK aborts the upload.

    Attributes:
        failure: what ended the stream.
    """

    def __init__(self, parts: Iterator[bytes], size_bytes: int) -> None:
        self._parts = parts
        self._left_bytes = size_bytes
        self.failure: BaseException | None = None

    def read(self, _size: int) -> bytes:
        """The next part, of the size that the SDK asks for."""
        try:
            part = next(self._parts)
            self._left_bytes -= len(part)
            if not self._left_bytes:
                for _ in self._parts:
                    pass
        except BaseException as error:
            self.failure = error
            raise Interrupted(error) from error
        return part


def new_client(settings: S3Settings, endpoint: str, pool: StoragePool) -> Minio:
    """A client; nothing is sent yet.

    Args:
        settings: credentials and region.
        endpoint: for example `https://host:port`.
        pool: sends its requests.
    """
    secure, _, host = endpoint.partition("://")
    client = Minio(
        host.rstrip("/"),
        access_key=settings.access_key,
        secret_key=settings.secret_key.get_secret_value(),
        session_token=settings.session_token.get_secret_value() or None,
        secure=secure == "https",
        region=settings.region or None,
        http_client=pool,
    )
    if settings.path_style:
        client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
    return client


def tries(may_repeat: Callable[[BaseException], bool]) -> tenacity.Retrying:
    """Repeats a call on the thread that makes it, as often and after the same pauses as a request is repeated.

    Args:
        may_repeat: whether another try makes sense after this error.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_repeat),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(multiplier=FIRST_PAUSE_S),
        reraise=True,
    )


def _retry() -> StorageRetry:
    return StorageRetry(
        total=ATTEMPTS - 1,
        redirect=False,  # a redirect names another region; the SDK says so
        allowed_methods=None,  # all: each request to S3 may be sent twice
        status_forcelist=_MAY_BE_TRANSIENT,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
