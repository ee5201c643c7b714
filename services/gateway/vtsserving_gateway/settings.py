"""Settings of the gateway, from VTSSERVING_GATEWAY__*; those that all services share are in _runtime.settings."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from vtsserving._http.limits import Limits

DEFAULT_PORT = 3000

FREE_OVERHEAD_BYTES = 64 * 1024
"""Bytes of chunked framing that a body may have however small it is."""


class GatewaySettings(BaseSettings):
    """Where the gateway listens, what it refuses, and how long it waits."""

    model_config = SettingsConfigDict(env_prefix="VTSSERVING_GATEWAY__", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=DEFAULT_PORT, ge=0, le=65535, description="Port to listen on; 0 picks a free one."
    )
    fd: int | None = Field(
        default=None,
        ge=0,
        description="File descriptor of a listening socket to serve on, instead of host and port.",
    )
    preload: str = Field(
        default="",
        description="Tags, joined by commas, of models that a runner must have loaded before the gateway is ready.",
    )

    max_url_bytes: int = Field(default=8 * 1024, ge=64, description="Longest URL, bytes; longer: 414.")
    max_header_bytes: int = Field(
        default=64 * 1024, ge=256, description="Largest header block, bytes; larger: 431."
    )
    max_headers: int = Field(default=256, ge=8, description="Most header lines; more: 431.")
    max_body_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1, description="Largest request body, bytes; larger: 413."
    )
    max_rows: int = Field(default=16_384, ge=1, description="Most rows in one request; more: 413.")
    max_connections: int = Field(
        default=8_192, ge=1, description="Most open connections; beyond, each is answered with 503."
    )
    max_buffered_bytes: int = Field(
        default=512 * 1024 * 1024,
        ge=1,
        description="Most bytes of request bodies held at one time; beyond: 503.",
    )

    header_timeout_s: float = Field(
        default=5.0, gt=0, description="Longest wait for a whole header block, seconds; then 408."
    )
    body_timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="Longest wait for a body that makes no progress (1 KiB), seconds; then 408.",
    )
    write_timeout_s: float = Field(
        default=30.0,
        gt=0,
        description="Longest wait for a client that does not read its answer, seconds; then it is cut off.",
    )
    keep_alive_s: float = Field(
        default=75.0, gt=0, description="How long an idle connection is kept, seconds."
    )
    request_timeout_s: float = Field(
        default=30.0, gt=0, description="Deadline of a request without X-Request-Timeout, seconds."
    )
    max_request_timeout_s: float = Field(
        default=300.0, gt=0, description="Longest deadline that a client may ask for, seconds."
    )
    function_threads: int = Field(
        default=40, ge=1, description="Most threads for the sync functions of a Service; beyond, calls wait."
    )
    grace_s: float = Field(
        default=1.5,
        ge=0,
        description="How long, after SIGTERM, idle connections may still send a request (answered with "
        "`connection: close`), seconds.",
    )
    drain_s: float = Field(
        default=30.0, gt=0, description="Longest time to finish requests after the grace period, seconds."
    )
    access_log: bool = Field(default=False, description="Log one line per request.")

    @property
    def connection_limits(self) -> Limits:
        """These settings as the limits of connections."""
        return Limits(
            max_connections=self.max_connections,
            max_url_bytes=self.max_url_bytes,
            max_header_bytes=self.max_header_bytes,
            max_headers=self.max_headers,
            max_body_bytes=self.max_body_bytes,
            max_overhead_bytes=FREE_OVERHEAD_BYTES,
            header_timeout_s=self.header_timeout_s,
            body_timeout_s=self.body_timeout_s,
            write_timeout_s=self.write_timeout_s,
            keep_alive_s=self.keep_alive_s,
            counts_from_open=False,
            is_strict=True,
        )
