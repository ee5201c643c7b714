"""What `models get` prints of a model, which is the same for the local store and for a store service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtsserving._model.info import ModelInfo


def as_yaml(info: ModelInfo, aliases: Iterable[str], *, contract: bool = False) -> str:
    """model.yaml, with description and aliases where there are any, and the contracts of its methods if wanted."""
    from vtsserving._model.contract_record import CONTRACT
    from vtsserving._model.yaml_file import section

    recorded = info.extra.get(CONTRACT)
    more = {"description": info.description, "aliases": sorted(aliases), CONTRACT: contract and recorded}
    text = info.to_yaml() + "".join(section(key, value) for key, value in more.items() if value)
    if contract and recorded is None:
        from vtsserving._model.contract_text import RULE_OF_0_1

        text += f"# {RULE_OF_0_1}\n"
    return text.rstrip("\n")


def as_json(info: ModelInfo, aliases: Iterable[str], *, size_bytes: int, digest: str) -> dict[str, Any]:
    """Everything that is recorded, empty values of the manifest's own left out."""
    recorded = {key: value for key, value in info.extra.items() if value not in (None, "", {})}
    sizes = {"size_bytes": size_bytes, "digest": digest}
    return {**info.to_json_dict(), **sizes, "aliases": sorted(aliases), **recorded}
