"""Settings of the runner, from VTSSERVING_RUNNER__* and the variables shared by all services."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from vtsserving._runtime.child_process import is_secret

Names = Annotated[tuple[str, ...], NoDecode]


class RunnerSettings(BaseSettings):
    """How the runner runs; how a model is computed stands in the model's own options."""

    model_config = SettingsConfigDict(env_prefix="VTSSERVING_RUNNER__", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address of the health and metrics port.")
    port: int = Field(3003, ge=0, le=65535, description="Port for health and metrics; 0 picks a free one.")
    preload: Names = Field((), description="Tags of models to load at start, joined by commas.")
    load_timeout_s: float = Field(
        300.0, gt=0, description="Longest time for loading and warming up a model, seconds."
    )
    drain_s: float = Field(30.0, gt=0, description="Longest time to finish batches after SIGTERM, seconds.")
    max_replicas: int = Field(
        16, ge=1, le=256, description="Most processes of one model, whatever it asks for."
    )
    idle_unload_s: float = Field(
        0.0, ge=0, description="Unload a model that was not used for so long, seconds; 0 keeps it."
    )
    superseded_unload_s: float = Field(
        60.0,
        ge=0,
        description="Unload a version that another one took the place of when it was not used for so long, seconds; "
        "0 keeps it.",
    )
    memory_limit_bytes: int = Field(
        0,
        ge=0,
        description="When models take more, the least recently used leave; 0 sets no limit. Preloaded ones stay.",
    )
    recycle_growth_bytes: int = Field(
        2 * 1024**3,
        ge=0,
        description="Replace a model process whose memory grew by so much since it was warm; 0 never does.",
    )
    recycle_batches: int = Field(
        0, ge=0, description="Replace a model process after so many batches; 0 never does."
    )
    poll_us: int = Field(
        500,
        ge=0,
        le=100_000,
        description="How long runner and model process stay awake for each other's next message, microseconds, "
        "while messages come that fast; 0 saves the processor time.",
    )
    model_environment: Names = Field(
        (), description="Names of further environment variables that model processes get, joined by commas."
    )

    @field_validator("preload", "model_environment", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in (part.strip() for part in value.split(",")) if part)
        return value

    @field_validator("model_environment")
    @classmethod
    def _no_secrets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if is_secret(name):
                raise ValueError(
                    f"{name} looks like a credential; model processes run foreign code and get none"
                )
        return names
