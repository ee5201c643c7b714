"""What the local store knows of a name beside its versions: last ordinal, aliases and settings with history."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from vtsserving._local_store.files import replace_durably
from vtsserving._model.manifest import canonical_json
from vtsserving._record_format import check_format
from vtsserving.exceptions import IntegrityError

MAX_HISTORY: Final = 1_000
"""Moves of one alias that are kept."""

MAX_SETTINGS: Final = 100
"""Records of settings that are kept."""


_KEYS: Final = frozenset(("ordinal", "aliases", "settings"))


class AliasMove(NamedTuple):
    """One entry of an alias's history.

    Attributes:
        version: where it pointed from then on; None: it was removed.
        at: when, ISO 8601 in UTC.
    """

    version: str | None
    at: str


class SettingsRecord(NamedTuple):
    """One entry of the history of a name's settings.

    Attributes:
        number: from 1.
        at: when, ISO 8601 in UTC.
        value: see model_settings.
    """

    number: int
    at: str
    value: dict[str, Any]


@dataclass
class NameState:
    """The state of one name.

    Attributes:
        ordinal: the last number that a version got; never given twice, so it survives deletions.
        aliases: alias to its history, oldest first.
        settings: records of options that were changed, oldest first; the last one counts.
        more: what a later release of the same format wrote beside these; kept as it is.
    """

    ordinal: int = 0
    aliases: dict[str, list[AliasMove]] = field(default_factory=dict)
    settings: list[SettingsRecord] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def current(self) -> dict[str, str]:
        """Alias to version, for the aliases that point somewhere."""
        pointing = {alias: moves[-1].version for alias, moves in self.aliases.items() if moves}
        return {alias: version for alias, version in sorted(pointing.items()) if version is not None}

    def aliases_of(self, version: str) -> list[str]:
        """The aliases that point to one version."""
        return [alias for alias, target in self.current.items() if target == version]

    def move(self, alias: str, version: str | None, at: str) -> None:
        """Point an alias to a version, or to nothing."""
        moves = self.aliases.setdefault(alias, [])
        if not moves or moves[-1].version != version:
            moves.append(AliasMove(version, at))
            del moves[:-MAX_HISTORY]

    def configure(self, value: dict[str, Any], at: str) -> None:
        """Add a record of settings, unless it says what the last one says."""
        last = self.settings[-1] if self.settings else SettingsRecord(0, "", {})
        if last.value != value:
            self.settings.append(SettingsRecord(last.number + 1, at, value))
            del self.settings[:-MAX_SETTINGS]


def read_state(path: Path) -> NameState | None:
    """Read the state of a name.

    Returns:
        The state; None if nothing was ever recorded.

    Raises:
        IntegrityError: the file is damaged.
        NewerFormat: a later release wrote it.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        parsed = json.loads(raw)
        check_format(parsed, f"the file {path}")
        aliases = {name: [_move(item) for item in moves] for name, moves in parsed["aliases"].items()}
        records = [_settings(item) for item in parsed.get("settings", ())]
        more = {key: value for key, value in parsed.items() if key not in _KEYS}
        return NameState(int(parsed["ordinal"]), aliases, records, more)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"the file {path} is damaged; remove it to go on without its aliases and settings"
        ) from error


def write_state(path: Path, state: NameState, beside: Path) -> None:
    """Replace the state of a name.

    Args:
        path: its file.
        state: the new state.
        beside: a private path on the same file system.
    """
    aliases = {name: [move._asdict() for move in moves] for name, moves in state.aliases.items()}
    content: dict[str, Any] = {**state.more, "ordinal": state.ordinal, "aliases": aliases}
    if state.settings:
        content["settings"] = [record._asdict() for record in state.settings]
    replace_durably(path, canonical_json(content), beside)


def _move(raw: dict[str, Any]) -> AliasMove:
    version = raw["version"]
    return AliasMove(None if version is None else str(version), str(raw["at"]))


def _settings(raw: dict[str, Any]) -> SettingsRecord:
    return SettingsRecord(int(raw["number"]), str(raw["at"]), dict(raw["value"]))
