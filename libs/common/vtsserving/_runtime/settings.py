"""Settings that all services share: the message bus, the store, the local home."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from vtsserving._runtime.secret_files import read_secret
from vtsserving.exceptions import ConfigurationError


class SharedSettings(BaseSettings):
    """How a service reaches the others."""

    model_config = SettingsConfigDict(env_prefix="VTSSERVING_", frozen=True, extra="ignore")

    nats_url: str = Field(
        "nats://127.0.0.1:4222",
        description="The message bus; several servers joined by commas are one cluster.",
    )
    nats_user: str = Field("", description="User at the message bus.")
    nats_password: SecretStr = Field(SecretStr(""), description="Password at the message bus.")
    nats_password_file: Path | None = Field(None, description="File that holds the password instead.")
    store_url: str = Field("", description="The store service; empty: the local store of VTSSERVING_HOME.")
    store_token: SecretStr = Field(SecretStr(""), description="Token for the store service.")
    store_token_file: Path | None = Field(None, description="File that holds the token instead.")
    auth: Literal["", "required", "off"] = Field(
        "",
        description="Whether callers of gateway and store must present a token; unset: off on loopback, required "
        "elsewhere.",
    )
    tokens_file: Path | None = Field(
        None,
        description="File of tokens that gateways accept, instead of those of the store service; "
        "`vtsserving store token create --file` writes it.",
    )
    service: str = Field("", description="A Service to serve, `module:attribute`; gateways import it.")
    home: Path | None = Field(None, description="Home of the local store; default ~/vtsserving.")

    @property
    def bus_password(self) -> str:
        """The bus password, from the variable or the file."""
        return _secret(self.nats_password, self.nats_password_file, "VTSSERVING_NATS_PASSWORD_FILE")

    @property
    def token(self) -> str:
        """The store token, from the variable or the file."""
        return _secret(self.store_token, self.store_token_file, "VTSSERVING_STORE_TOKEN_FILE")


def _secret(value: SecretStr, file: Path | None, variable: str) -> str:
    return value.get_secret_value() if file is None else read_secret(file, variable)


def read(cls: type[Any], **overrides: Any) -> Any:
    """Settings from the environment.

    Args:
        cls: a settings class.
        overrides: values that win over the environment.

    Returns:
        An instance of `cls`.

    Raises:
        ConfigurationError: names the first bad variable and why it is bad.
    """
    try:
        return cls(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = "__".join(str(part) for part in first["loc"])
        prefix = "" if name.upper().startswith("VTSSERVING_") else cls.model_config.get("env_prefix", "")
        raise ConfigurationError(f"{(prefix + name).upper()}: {first['msg']}") from error
