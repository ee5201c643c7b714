"""Settings of the batcher, from VTSSERVING_BATCHER__* and the variables shared by all services."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class BatcherSettings(BaseSettings):
    """How the batcher runs and what it refuses."""

    model_config = SettingsConfigDict(env_prefix="VTSSERVING_BATCHER__", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address of the health and metrics port.")
    port: int = Field(3002, ge=0, le=65535, description="Port for health and metrics; 0 picks a free one.")
    max_waiting_requests: int = Field(8192, ge=1, description="Most requests that wait for one model.")
    max_waiting_bytes: int = Field(
        256 * 1024 * 1024, ge=1, description="Most bytes of inputs that wait for one model."
    )
    max_groups: int = Field(
        256, ge=1, description="Most groups (kinds of input that cannot share a batch) per model."
    )
    load_wait_s: float = Field(30.0, gt=0, description="Longest wait for a model to be loaded, seconds.")
    runner_wait_s: float = Field(
        5.0, gt=0, description="Longest wait for a runner when none is alive, seconds."
    )
    scale_out_s: float = Field(
        2.0,
        ge=0,
        description="A model whose processes were all busy for so long, while requests waited, is loaded on one more "
        "runner, seconds; 0 never does.",
    )
    drain_s: float = Field(
        30.0, gt=0, description="Longest time to finish what waits after SIGTERM, seconds."
    )
