"""Sending a model's blobs: small ones whole, large ones in parts that survive a crash of either side."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from vtsserving import _clock
from vtsserving._local_store.files import write_durably
from vtsserving._local_store.home import home
from vtsserving._local_store.model import Model
from vtsserving._model.manifest import FileEntry
from vtsserving._store_client.answers import Lease, RemoteUpload
from vtsserving._store_client.client import CHUNK_BYTES, RegistryClient
from vtsserving._store_client.progress import Progress
from vtsserving.exceptions import DigestMismatch, IntegrityError, StorageError

RENEW_FRACTION: Final = 3
"""A push is renewed when a third of its time is over."""


class _LeaseKeeper:
    """Keeps a push alive while its blobs travel."""

    def __init__(self, client: RegistryClient, push: Lease) -> None:
        self._client = client
        self.push = push
        self._lock = threading.Lock()
        self._renewed_s = _clock.monotonic_s()

    def keep(self) -> None:
        """Renew the push if that is due; called now and then by any thread."""
        with self._lock:
            if _clock.monotonic_s() - self._renewed_s > self.push.expires_s / RENEW_FRACTION:
                self.push = self._client.renew_push(self.push)
                self._renewed_s = _clock.monotonic_s()


def upload_blobs(
    client: RegistryClient,
    model: Model,
    push: Lease,
    digests: Sequence[str],
    threads: int,
    progress: Progress,
) -> Lease:
    """Send the blobs that a push lacks.

    Args:
        client: of the store.
        model: in the local store.
        push: begun for this model.
        digests: those to send.
        threads: how many requests at once.
        progress: receives what happens.

    Returns:
        The push, renewed if need was.

    Raises:
        IntegrityError: a local file is damaged; the message names it.
    """
    wanted = set(digests)
    by_digest = {entry.sha256: entry for entry in model.manifest.files if f"sha256:{entry.sha256}" in wanted}
    entries = sorted(by_digest.values(), key=lambda entry: -entry.size)
    progress.begin({entry.path: entry.size for entry in entries})
    lease = _LeaseKeeper(client, push)
    key = _resume_key() if any(entry.size > push.part_bytes for entry in entries) else ""
    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="push")
    try:
        tasks: list[Future[None]] = []
        for entry in entries:
            one = _File(client, model, entry, lease, progress)
            if entry.size <= push.part_bytes:
                tasks.append(pool.submit(one.send_whole))
            else:
                tasks.extend(one.send_parts(pool.submit, key))
        done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
        for task in done:
            task.result()
    except Exception:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    except BaseException:
        # Ctrl-C: whoever interrupts does not want to wait; closing the client ends what is on its way.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return lease.push


class _File:
    """One file on its way."""

    def __init__(
        self, client: RegistryClient, model: Model, entry: FileEntry, lease: _LeaseKeeper, progress: Progress
    ) -> None:
        self._client = client
        self._model = model
        self._entry = entry
        self._path = model.path / entry.path
        self._lease = lease
        self._progress = progress
        self._lock = threading.Lock()
        self._left = 0

    def send_whole(self) -> None:
        """Send a small file in one request."""
        self._lease.keep()
        content = self._path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self._entry.sha256:
            raise self._damaged()
        self._client.put_blob(f"sha256:{self._entry.sha256}", content)
        self._progress.advance(self._entry.path, len(content))

    def send_parts(
        self,
        submit: Callable[[Callable[[RemoteUpload, int], None], RemoteUpload, int], Future[None]],
        resume_key: str,
    ) -> list[Future[None]]:
        """Begin to send a large file; the last part to arrive completes it.

        Returns:
            A task for each part that the store does not have.
        """
        if self._path.stat().st_size != self._entry.size:
            raise self._damaged()
        upload = self._client.begin_upload(f"sha256:{self._entry.sha256}", self._entry.size, resume_key)
        missing = upload.missing
        travelled = self._entry.size - sum(upload.span(number)[1] for number in missing)
        self._progress.advance(self._entry.path, travelled)
        self._left = len(missing)
        if not missing:
            return [submit(self._complete, upload, 0)]
        return [submit(self._send_part, upload, number) for number in missing]

    def _send_part(self, upload: RemoteUpload, number: int) -> None:
        self._lease.keep()
        start, length = upload.span(number)
        digest = hashlib.sha256()
        for chunk in self._chunks(start, length):
            digest.update(chunk)
        reported = 0

        def attempt() -> Iterator[bytes]:
            nonlocal reported
            self._progress.advance(self._entry.path, -reported)
            reported = 0
            for chunk in self._chunks(start, length):
                yield chunk
                reported += len(chunk)
                self._progress.advance(self._entry.path, len(chunk))

        self._client.put_part(upload, number, attempt, digest.hexdigest())
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._complete(upload, number)

    def _complete(self, upload: RemoteUpload, _number: int) -> None:
        self._lease.keep()
        try:
            self._client.complete_upload(upload)
        except DigestMismatch as error:
            # Each part arrived as it was read, so the file here is not what it was when the model was saved.
            raise self._damaged() from error

    def _chunks(self, start: int, length: int) -> Iterator[bytes]:
        with self._path.open("rb", buffering=0) as file:
            file.seek(start)
            while length > 0:
                chunk = file.read(min(CHUNK_BYTES, length))
                if not chunk:
                    raise self._damaged()
                length -= len(chunk)
                yield chunk

    def _damaged(self) -> IntegrityError:
        return IntegrityError(
            f"{self._model.tag}: the file {self._entry.path!a} is damaged: its bytes do not match the manifest"
        )


def _resume_key() -> str:
    """A key of this home, so that nobody else's uploads meet ours and ours are found again."""
    path: Path = home() / ".uploads"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        import secrets

        key = secrets.token_hex(16)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, key.encode())
        except OSError:
            return key  # a read-only home: this push works, it cannot be resumed
        return key
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
