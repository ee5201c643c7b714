"""Settings of the store service; read once, from the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from vtsserving._runtime.secret_files import read_secret
from vtsserving.exceptions import ConfigurationError

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FROM_FILE = ("access_key", "secret_key", "session_token")


class S3Settings(BaseModel, frozen=True, extra="forbid"):
    """`VTSSERVING_S3__*`: the bucket that holds everything."""

    endpoint: str = ""
    """`http://host:9000` or `https://s3.eu-west-1.amazonaws.com`; without a scheme, `secure` decides."""
    secure: bool = True
    """Whether an endpoint without a scheme means https."""
    bucket: str = "vtsserving"
    """Name of the bucket."""
    access_key: str = ""
    """Access key of the object storage."""
    secret_key: SecretStr = SecretStr("")
    """Secret key of the object storage."""
    session_token: SecretStr = SecretStr("")
    """Session token, where the keys are temporary."""
    access_key_file: Path | None = None
    """File that holds the access key instead."""
    secret_key_file: Path | None = None
    """File that holds the secret key instead."""
    session_token_file: Path | None = None
    """File that holds the session token instead."""
    region: str = ""
    """Region of the bucket, where the server asks for one."""
    path_style: bool = True
    """Address the bucket in the path, not in the host name; every server but some of AWS's newest needs it."""
    ca_file: Path | None = None
    """Certificates to trust for https, instead of the system's."""
    create_bucket: bool = True
    """Make the bucket at start if it is not there."""
    public_endpoint: str = ""
    """Where clients reach the storage; set, it lets them upload and download there directly, by presigned URLs."""
    presigned_s: int = Field(900, ge=60, le=7 * 24 * 3600)
    """How long a presigned URL is valid, seconds."""
    connect_timeout_s: float = Field(5.0, gt=0)
    """Longest wait for a connection to the object storage, seconds."""
    stall_timeout_s: float = Field(10.0, gt=0)
    """A request fails when no byte came for this long, however long it takes as a whole."""

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, values: Any) -> Any:
        """`VTSSERVING_S3__SECRET_KEY_FILE` and its kind: the value is the file's content."""
        if not isinstance(values, dict):
            return values
        for name in _FROM_FILE:
            path = values.get(f"{name}_file")
            if path and not values.get(name):
                values[name] = read_secret(path, f"VTSSERVING_S3__{name.upper()}_FILE")
        for name in ("endpoint", "public_endpoint"):
            address = values.get(name)
            if isinstance(address, str) and address and "://" not in address:
                secure = str(values.get("secure", "true")).lower() not in {"false", "0", "no", "off"}
                values[name] = f"{'https' if secure else 'http'}://{address}"
        return values

    @field_validator("bucket")
    @classmethod
    def _is_bucket(cls, value: str) -> str:
        if not _BUCKET.fullmatch(value):
            raise ValueError("a bucket's name has 3 to 63 lower-case letters, digits, '-' and '.'")
        return value

    @field_validator("endpoint", "public_endpoint")
    @classmethod
    def _is_origin(cls, value: str) -> str:
        if value and (not value.startswith(("http://", "https://")) or value.rstrip("/").count("/") != 2):
            raise ValueError("must look like http://host:port or https://host, without a path")
        return value.rstrip("/")


class StoreSection(BaseModel, frozen=True, extra="forbid"):
    """`VTSSERVING_STORE__*`: the service itself."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(3001, ge=0, le=65535)
    """Port to listen on; 0 picks a free one."""
    dir: Path | None = None
    """Keep everything in this directory instead of a bucket."""
    concurrent_transfers: int = Field(8, ge=1, le=256)
    """Bodies received or sent at once; each holds at most one part in memory."""
    max_connections: int = Field(800, ge=1)
    """Connections open at once; more are answered 503."""
    header_timeout_s: float = Field(10.0, gt=0)
    """How long a client may take for the headers of a request."""
    stall_timeout_s: float = Field(30.0, gt=0)
    """A connection ends when a body makes no progress for this long, in either direction."""
    lease_s: int = Field(3600, ge=60)
    """How long a push may take between asking what is missing and committing; asking again renews it."""
    grace_s: int = Field(3600, ge=0)
    """Blobs that nothing refers to are kept for this long after they were written."""
    index_max_age_s: float = Field(2.0, ge=0.0)
    """Listings over all models may be this old; reads by name never are."""
    drain_s: int = Field(20, ge=1)
    """How long requests may take to finish after SIGTERM."""


class StoreSettings(BaseSettings):
    """All settings of the store service."""

    model_config = SettingsConfigDict(
        env_prefix="VTSSERVING_",
        env_nested_delimiter="__",
        frozen=True,
        extra="ignore",
        nested_model_default_partial_update=True,
    )

    store: StoreSection = Field(default_factory=lambda: StoreSection.model_validate({}))
    s3: S3Settings = Field(default_factory=lambda: S3Settings.model_validate({}))
    nats_url: str = ""
    """Where changes are announced; empty: nowhere."""
    auth: Literal["", "off", "required"] = ""
    """Whether callers must present a token: required or off; unset: off on loopback, required elsewhere."""
    log_level: str = "info"
    """debug, info, warning, error or critical."""

    @property
    def needs_token(self) -> bool:
        """Whether callers must present one: by default on every address but loopback."""
        if self.auth:
            return self.auth == "required"
        return self.store.host not in {"127.0.0.1", "::1", "localhost"}


def read_settings(**overrides: Any) -> StoreSettings:
    """Read the environment.

    Args:
        overrides: sections given by the caller, for example `store={"dir": path}`; they win over the environment.

    Raises:
        ConfigurationError: names the variable and what is wrong with it.
    """
    try:
        return StoreSettings(**overrides)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        variable = "VTSSERVING_" + "__".join(str(part).upper() for part in first["loc"])
        raise ConfigurationError(f"{variable}: {first['msg']}") from None
