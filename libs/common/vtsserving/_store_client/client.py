"""The store service as Python sees it: one method for each thing that its HTTP API can do.

Every call ends in a bounded time with an error of `vtsserving.exceptions`; what can be repeated safely is repeated
when the connection breaks or the store asks for it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from vtsserving._model.manifest import Manifest, canonical_json
from vtsserving._model.tag import LATEST, Tag
from vtsserving._store_client import http as wire
from vtsserving._store_client.answers import Lease, RemoteUpload, RemoteVersion
from vtsserving.exceptions import (
    DigestMismatch,
    IntegrityError,
    NotAStore,
    RequestTimeout,
    StoreUnavailable,
    Unavailable,
    VtsServingException,
)

if TYPE_CHECKING:
    import httpx2
    import tenacity


DEFAULT_URL: Final = "http://127.0.0.1:3001"
ATTEMPTS: Final = 4
SLOW_TIMEOUT_S: Final = 900.0
"""For requests in which the store reads a whole model before it answers."""

CHUNK_BYTES: Final = 1 << 20
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0

T = TypeVar("T")


class RegistryClient:
    """Talks to one store service; may be used from many threads."""

    def __init__(self, url: str, token: str = "", *, attempts: int = ATTEMPTS) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: for example `http://127.0.0.1:3001`.
            token: where the store needs one.
            attempts: how often a request is tried.

        Raises:
            ConfigurationError: the URL is malformed.
        """
        self.url = wire.check_url(url)
        self._attempts = max(1, attempts)
        self._http = wire.new_client(self.url, token)
        self._storage = wire.new_client("", "")

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
        self._storage.close()

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading ------------------------------------------------------------------------------------------------

    def service(self) -> dict[str, Any]:
        """What answers there; NotAStore if it is no store."""
        answer = self._json("GET", "/api/v1")
        if answer.get("service") != "vtsserving-store":
            raise NotAStore(f"{self.url} answers, but not as a model store: is this a store?")
        return answer

    def version(self, tag: str | Tag) -> RemoteVersion:
        """Find a version.

        Args:
            tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix.

        Raises:
            ModelNotFound: there is no such name.
            VersionNotFound: there is no such version.
            StoreUnavailable: the store does not answer.
        """
        wanted = Tag.parse(tag)
        answer = self._json(
            "GET", f"{_model(wanted.name)}/versions/{quote(wanted.version or LATEST, safe='')}"
        )
        return self._remote(answer)

    def versions(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Summaries of all versions that fit, by name, newest first within a name.

        Args:
            filters: `q` (part of the name), `label` (a list of `key=value`), `module`.
        """
        return self._pages("/api/v1/versions", "versions", filters)

    def records(self, name: str = "") -> Iterator[dict[str, Any]]:
        """What serving needs of all versions, or of those of one name; see the route /api/v1/records."""
        return self._pages("/api/v1/records", "records", {"name": name} if name else {})

    def models(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Names that have a fitting version: `name`, `versions` (how many), `latest` (a summary)."""
        return self._pages("/api/v1/models", "models", filters)

    def name(self, name: str) -> dict[str, Any]:
        """One model: `versions` (summaries, newest first) and `aliases`."""
        return self._json("GET", _model(name))

    def alias_history(self, name: str, alias: str) -> list[dict[str, Any]]:
        """Where an alias pointed, newest first."""
        answer = self._call("GET", f"{_model(name)}/aliases/{quote(alias, safe='')}")
        found: list[dict[str, Any]] = wire.json_of(answer, self.url, list)
        return found

    # --- changing -----------------------------------------------------------------------------------------------

    def delete(self, tag: Tag, *, force: bool = False) -> None:
        """Delete an exact version; `force` removes aliases that point to it."""
        path = f"{_model(tag.name)}/versions/{quote(str(tag.version), safe='')}"
        self._call("DELETE", path, params={"force": "true"} if force else None)

    def set_alias(self, tag: Tag, alias: str, *, expected: str | None = None) -> Tag:
        """Point an alias to a version.

        Args:
            tag: the version, or a reference to it.
            alias: its name.
            expected: only if it points to this version now; empty: only if it does not exist.

        Returns:
            The exact tag that it points to now.
        """
        body = {"version": tag.version or LATEST, "expected": expected}
        answer = self._json("PUT", f"{_model(tag.name)}/aliases/{quote(alias, safe='')}", json=body)
        return Tag(tag.name, str(answer["version"]))

    def remove_alias(self, name: str, alias: str) -> None:
        """Remove an alias; its history stays."""
        self._call("DELETE", f"{_model(name)}/aliases/{quote(alias, safe='')}")

    def edit_labels(self, tag: Tag, changes: Mapping[str, str | None]) -> dict[str, str]:
        """Set labels (None removes one); returns those that count now."""
        path = f"{_model(tag.name)}/versions/{quote(tag.version or LATEST, safe='')}/labels"
        labels: dict[str, str] = self._json("PATCH", path, json={"labels": dict(changes)})["labels"]
        return labels

    def configure(
        self, name: str, version: str | None, changes: Mapping[str, Any], reset: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Change options of a model, or of one exact version; returns the record, see model_settings."""
        body = {"version": version, "set": dict(changes), "reset": list(reset)}
        return self._json("PATCH", f"{_model(name)}/settings", json=body)

    def settings_history(self, name: str) -> list[dict[str, Any]]:
        """The records of a name, newest first: `number`, `settings`, `at`, `by`."""
        answer = self._call("GET", f"{_model(name)}/settings")
        found: list[dict[str, Any]] = wire.json_of(answer, self.url, list)
        return found

    # --- pushing ------------------------------------------------------------------------------------------------

    def begin_push(self, digests: list[str]) -> Lease:
        """Protect a model's blobs and learn which are missing."""
        return self._push(self._json("POST", "/api/v1/pushes", json={"digests": digests}))

    def renew_push(self, push: Lease) -> Lease:
        """Prolong a push."""
        return self._push(self._json("POST", f"/api/v1/pushes/{push.id}"))

    def put_blob(self, digest: str, content: bytes) -> None:
        """Send a small blob."""
        self._call("PUT", f"/api/v1/blobs/{digest}", content=content)

    def begin_upload(self, digest: str, size_bytes: int, resume_key: str) -> RemoteUpload:
        """Begin or resume an upload in parts.

        Args:
            digest: of the whole blob.
            size_bytes: of the whole blob.
            resume_key: finds this upload again after a crash.
        """
        body = {"digest": digest, "size": size_bytes, "resume_key": resume_key}
        answer = self._json("POST", "/api/v1/uploads", json=body)
        with self._schema():
            missing = sorted(set(range(1, answer["parts"] + 1)) - set(answer["received"]))
            return RemoteUpload(
                answer["id"], answer["size"], answer["part_bytes"], tuple(missing), answer["direct"]
            )

    def put_part(
        self, upload: RemoteUpload, number: int, open_part: Callable[[], Iterator[bytes]], sha256: str
    ) -> None:
        """Send one part, straight to the storage where the store allows that.

        Args:
            upload: the upload.
            number: of the part, from 1.
            open_part: gives the part's bytes; called for each attempt.
            sha256: of the part, hexadecimal.
        """
        length = str(upload.span(number)[1])
        path = f"/api/v1/uploads/{upload.id}/parts/{number}"
        if upload.direct:
            url = self._json("GET", f"{path}/url")["url"]
            try:
                answer = self._storage.put(url, content=open_part(), headers={"content-length": length})
            except wire.transport_errors():
                pass  # the storage cannot be reached from here: send it through the store
            else:
                if answer.is_success:
                    return
        self._call("PUT", path, body=open_part, headers={"content-length": length, "x-part-sha256": sha256})

    def complete_upload(self, upload: RemoteUpload) -> None:
        """Let the store check all parts and make them a blob."""
        self._call("POST", f"/api/v1/uploads/{upload.id}/complete", timeout_s=SLOW_TIMEOUT_S)

    def commit(self, manifest: Manifest, push: Lease) -> tuple[RemoteVersion, bool]:
        """Make the model visible.

        Returns:
            The version, and whether it is new.
        """
        answer = self._call(
            "PUT",
            f"{_model(manifest.name)}/versions/{quote(manifest.version, safe='')}",
            params={"push": push.id},
            content=manifest.to_bytes(),
            headers={"content-type": "application/json"},
            timeout_s=SLOW_TIMEOUT_S,
        )
        return self._remote(wire.json_of(answer, self.url, dict)), answer.status_code == 201

    # --- pulling ------------------------------------------------------------------------------------------------

    def download(
        self, digest: str, size_bytes: int, *, start: int = 0, direct: bool = False
    ) -> Iterator[bytes]:
        """Bytes of a blob from `start`; goes on by itself where a connection broke.

        Args:
            digest: of the blob; the caller compares it with what arrives.
            size_bytes: of the blob.
            start: first byte to fetch.
            direct: fetch it straight from the storage, where that can be reached.

        Raises:
            BlobNotFound: there is none.
            StoreUnavailable: the connection breaks again and again, or nothing comes.
        """
        chunks: Iterator[bytes] | None = None

        def next_chunk() -> bytes:
            nonlocal chunks, direct
            opened, chunks = chunks or self._range(digest, start, size_bytes, direct), None
            try:
                chunk = next(opened, None)
                if chunk is None:
                    raise StoreUnavailable(f"{self.url} ended a download {size_bytes - start} bytes early")
            except Unavailable:
                direct = False
                raise
            chunks = opened
            return chunk

        while start < size_bytes:
            # Each chunk begins to count anew.
            chunk = self._tries(lambda error: isinstance(error, Unavailable))(next_chunk)
            start += len(chunk)
            yield chunk

    # --- inside -------------------------------------------------------------------------------------------------

    def _range(self, digest: str, start: int, size_bytes: int, direct: bool) -> Iterator[bytes]:
        headers = {"range": f"bytes={start}-", "accept-encoding": "identity"} if start else {}
        client, path = self._http, f"/api/v1/blobs/{digest}"
        if direct:
            client, path = self._storage, str(self._json("GET", f"{path}/url")["url"])
        with wire.connection_errors(self.url), client.stream("GET", path, headers=headers) as response:
            if not response.is_success:
                response.read()
                if direct:
                    raise StoreUnavailable(f"the storage of {self.url} answered {response.status_code}")
                raise wire.error_of(response, self.url)
            if start and response.status_code != 206:
                raise NotAStore(f"{self.url} ignores ranges: is this a store?")
            taken = start
            for chunk in response.iter_raw(CHUNK_BYTES):
                taken += len(chunk)
                if taken > size_bytes:
                    raise IntegrityError(f"{self.url} sends more than the {size_bytes} bytes of {digest}")
                yield chunk

    def _pages(self, path: str, key: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        cursor: str | None = ""
        while cursor is not None:
            answer = self._json("GET", path, params={**filters, "limit": 1000, "cursor": cursor})
            with self._schema():
                yield from answer[key]
                cursor = answer["next"]

    def _remote(self, answer: dict[str, Any]) -> RemoteVersion:
        with self._schema():
            manifest = Manifest.from_bytes(canonical_json(answer["manifest"]))
            if manifest.digest != answer["digest"]:
                raise DigestMismatch(
                    f"{self.url} sent a manifest that does not have the digest {answer['digest']}"
                )
            return RemoteVersion(
                manifest,
                answer["info"],
                answer["labels"],
                tuple(answer["aliases"]),
                str(answer["pushed_at"]),
                dict(answer.get("settings", {})),
            )

    def _push(self, answer: dict[str, Any]) -> Lease:
        with self._schema():
            return Lease(answer["id"], tuple(answer["missing"]), answer["expires_s"], answer["part_bytes"])

    def _schema(self) -> wire.SchemaErrors:
        return wire.SchemaErrors(self.url)

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._call(method, path, **options)
        sealed = answer.headers.get("content-digest", "")
        if sealed:
            actual = base64.b64encode(hashlib.sha256(answer.content).digest()).decode()
            if sealed != f"sha-256=:{actual}:":
                raise DigestMismatch(f"an answer of {self.url} was changed on its way")
        found: dict[str, Any] = wire.json_of(answer, self.url, dict)
        return found

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Callable[[], Iterator[bytes]] | None = None,
        timeout_s: float | None = None,
        **options: Any,
    ) -> httpx2.Response:
        """Send a request until it is answered; all our requests may be repeated."""
        if timeout_s is not None:
            options["timeout"] = wire.timeouts(timeout_s)

        def once() -> httpx2.Response:
            if body is not None:
                options["content"] = body()
            with wire.connection_errors(self.url):
                answer = self._http.request(method, path, **options)
            if not answer.is_success:
                raise wire.error_of(answer, self.url)
            return answer

        def may_repeat(error: BaseException) -> bool:
            # A part that was damaged or held up on its way is worth another try, too.
            is_damaged_part = isinstance(error, DigestMismatch) and body is not None
            return is_damaged_part or isinstance(error, (Unavailable, RequestTimeout))

        return self._tries(may_repeat)(once)

    def _tries(self, may_repeat: Callable[[BaseException], bool]) -> tenacity.Retrying:
        """Repeats a call on the thread that makes it, after the pauses that the store asks for."""
        import tenacity

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(may_repeat),
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=_pause_s,
            reraise=True,
        )


def _model(name: str) -> str:
    return f"/api/v1/models/{quote(name, safe='')}"


def _pause_s(state: tenacity.RetryCallState) -> float:
    """Seconds until the next try."""
    error = state.outcome.exception() if state.outcome is not None else None
    advised_s = error.retry_after_s if isinstance(error, VtsServingException) else None
    return min(_LONGEST_PAUSE_S, advised_s or _FIRST_PAUSE_S * 2.0 ** (state.attempt_number - 1))
