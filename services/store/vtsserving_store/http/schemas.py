"""Bodies of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MAX_BLOBS_PER_PUSH = 60_000
DigestText = Annotated[str, Field(max_length=100, examples=["sha256:" + "0" * 64])]
LabelKey = Annotated[str, Field(max_length=63)]


class StoreSchema(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PushBody(StoreSchema):
    """Begin a push."""

    digests: list[DigestText] = Field(max_length=MAX_BLOBS_PER_PUSH, description="Of all files of the model.")


class PushAnswer(BaseModel):
    """A push has begun."""

    id: str
    missing: list[str] = Field(description="Digests that must be uploaded.")
    expires_s: int = Field(description="The push must be committed or renewed within this many seconds.")
    part_bytes: int = Field(description="Larger blobs are uploaded in parts.")


class UploadBody(StoreSchema):
    """Begin or resume an upload."""

    digest: DigestText
    size: int = Field(ge=0)
    resume_key: str = Field("", max_length=200, description="The same key later finds the same upload again.")


class UploadAnswer(BaseModel):
    """An upload."""

    id: str
    digest: str
    size: int
    part_bytes: int = Field(description="Bytes of every part but the last.")
    parts: int = Field(description="How many parts there are, from 1.")
    received: list[int] = Field(description="Numbers of the parts that are there.")
    direct: bool = Field(description="Whether parts can go straight to the storage, see `url`.")


class UrlAnswer(BaseModel):
    """A URL of the storage itself."""

    url: str
    expires_s: int


class SummaryAnswer(BaseModel):
    """A version in a list."""

    tag: str
    name: str
    version: str
    digest: str
    creation_time: str
    pushed_at: str
    module: str
    size_bytes: int
    labels: dict[str, str]
    description: str
    ordinal: int
    runs_code: bool


class ModelAnswer(BaseModel):
    """A name in a list."""

    name: str
    versions: int
    latest: SummaryAnswer


class ModelsAnswer(BaseModel):
    """Names, sorted."""

    models: list[ModelAnswer]
    next: str | None = Field(description="Pass it as `cursor` for more; null at the end.")


class VersionsAnswer(BaseModel):
    """Versions, newest first within a name."""

    versions: list[SummaryAnswer]
    next: str | None = Field(description="Pass it as `cursor` for more; null at the end.")


class RecordAnswer(BaseModel):
    """What serving needs of one version."""

    name: str
    version: str
    digest: str
    info: dict[str, Any] = Field(description="The values of model.yaml.")
    extra: dict[str, Any] = Field(description="What the manifest says beside its files.")
    settings: dict[str, Any] = Field(description="Options that were changed since it was saved.")


class RecordsAnswer(BaseModel):
    """Versions, by name, newest first within a name."""

    records: list[RecordAnswer]
    next: str | None = Field(description="Pass it as `cursor` for more; null at the end.")


class NameAnswer(BaseModel):
    """One name."""

    name: str
    versions: list[SummaryAnswer]
    aliases: dict[str, str]


class VersionAnswer(BaseModel):
    """One version."""

    name: str
    version: str
    digest: str
    manifest: dict[str, Any]
    info: dict[str, Any]
    labels: dict[str, str] = Field(description="As last edited; `info.labels` stays as saved.")
    aliases: list[str]
    settings: dict[str, Any] = Field(description="Options that were changed since it was saved.")
    pushed_at: str
    pushed_by: str


class AliasBody(StoreSchema):
    """Move an alias."""

    version: str = Field(
        max_length=63, description="An exact version, `latest`, another alias or a unique prefix."
    )
    expected: str | None = Field(
        None, max_length=63, description="Only if it points here now; empty: nowhere."
    )


class AliasAnswer(BaseModel):
    """An alias."""

    name: str
    alias: str
    version: str


class AliasMoveAnswer(BaseModel):
    """One move of an alias."""

    number: int
    version: str | None = Field(description="null: it was removed.")
    at: str
    by: str


class LabelsBody(StoreSchema):
    """Edit labels."""

    labels: dict[LabelKey, Annotated[str, Field(max_length=1024)] | None] = Field(
        max_length=64, description="What to set; null removes."
    )


class LabelsAnswer(BaseModel):
    """The labels that count now."""

    labels: dict[str, str]


class SettingsBody(StoreSchema):
    """Change options of a model."""

    version: str | None = Field(
        None, max_length=63, description="As for an alias; null: what counts for all versions."
    )
    set: dict[LabelKey, Any] = Field(
        {},
        max_length=64,
        description="Option to value, such as `max_batch_size`; `method.option` for one method.",
    )
    reset: list[LabelKey] = Field(
        [], max_length=64, description="Options that are to be the model's own again; `all` for every one."
    )


class SettingsAnswer(BaseModel):
    """The changed options that count now."""

    options: dict[str, Any] = Field(description="Of all versions.")
    versions: dict[str, dict[str, Any]] = Field(description="Of single versions, over these.")


class SettingsRecordAnswer(BaseModel):
    """One change of options."""

    number: int
    settings: SettingsAnswer
    at: str
    by: str


class TokenBody(StoreSchema):
    """Make a token."""

    name: str = Field(min_length=1, max_length=63)
    scope: str = Field(pattern="^(infer|pull|push|admin)$")
    expires_in_s: int | None = Field(None, gt=0, le=10 * 365 * 24 * 3600)


class TokenAnswer(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    scope: str
    created_at: str
    expires_s: float | None


class NewTokenAnswer(TokenAnswer):
    """A token, with its text, which is shown only here."""

    token: str


class CollectBody(StoreSchema):
    """Collect garbage."""

    dry_run: bool = False
    grace_s: int | None = Field(None, ge=0, description="Instead of the configured one.")


class CollectAnswer(BaseModel):
    """What was collected, or would be."""

    dry_run: bool
    blobs: int
    bytes: int
    uploads: int
    leases: int
    spared: int
    examples: list[str]


class MissingBody(StoreSchema):
    """Ask which blobs are missing."""

    digests: list[DigestText] = Field(max_length=MAX_BLOBS_PER_PUSH)


class MissingAnswer(BaseModel):
    """Blobs that are missing."""

    missing: list[str]


class ServiceAnswer(BaseModel):
    """What answers here."""

    service: str
    api: str
    version: str
    auth: bool = Field(description="Whether a token is needed.")
    direct: bool = Field(description="Whether blobs can travel straight to and from the storage.")
