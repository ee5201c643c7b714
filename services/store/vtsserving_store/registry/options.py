"""Options of models that were changed after the push: a record for each change, the newest counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vtsserving._model import settings
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.registry.records import Record, RecordSeries


class ModelOptionRecords:
    """The changed options of all models; see vtsserving._model.settings for what a record holds."""

    def __init__(self, objects: ObjectStore) -> None:
        self._series = RecordSeries(objects)

    def of_version(self, name: str, version: str) -> dict[str, Any]:
        """What counts for one version."""
        record = self._series.last(keys.settings(name))
        return settings.of_version(record.value, version) if record else {}

    def of_all(self, name: str = "") -> dict[str, dict[str, Any]]:
        """The options that count for each name that has changed ones, or for one name."""
        found = self._series.last_of_each(keys.SETTINGS, within=f"{name}/" if name else "")
        return {series: record.value for series, record in found.items()}

    def history(self, name: str) -> list[dict[str, Any]]:
        """All changes, newest first."""
        return [
            {"number": r.number, "settings": r.value, "at": r.at, "by": r.by}
            for r in self._series.history(keys.settings(name))
        ]

    def forget(self, name: str, version: str) -> None:
        """Let a version that is gone have no options of its own."""
        self.edit(name, version, {}, ["all"], by="")

    def edit(
        self, name: str, version: str | None, changes: Mapping[str, Any], reset: Iterable[str], *, by: str
    ) -> dict[str, Any]:
        """Change options.

        Args:
            name: of the model.
            version: exact; None for all versions.
            changes: option to value.
            reset: options that are to be the model's own again.
            by: who changes them.

        Returns:
            The record that counts now.

        Raises:
            InvalidArgument: an option is unknown, or its value impossible.
        """
        reset = list(reset)

        def decide(last: Record | None) -> dict[str, Any] | None:
            before = last.value if last else {"options": {}, "versions": {}}
            after = settings.edited(before, version, changes, reset)
            return None if after == before else after

        record = self._series.append(keys.settings(name), decide, by=by)
        return record.value if record else {"options": {}, "versions": {}}
