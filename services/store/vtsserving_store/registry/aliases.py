"""Movable names of versions, with their history."""

from __future__ import annotations

from typing import Any, Final

from vtsserving.exceptions import Conflict
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.registry.records import Record, RecordSeries

ANY: Final = object()
"""The alias may point anywhere, or not exist."""


class Aliases:
    """The aliases of all models."""

    def __init__(self, objects: ObjectStore) -> None:
        self._series = RecordSeries(objects)

    def all(self, name: str) -> dict[str, str]:
        """Alias to exact version, sorted by alias; removed ones left out."""
        found = self._series.last_of_each(f"{keys.ALIASES}{name}/")
        return {alias: _target(record) for alias, record in sorted(found.items()) if _target(record)}

    def names(self, name: str) -> list[str]:
        """All aliases that a name ever had, sorted."""
        return sorted(self._series.last_of_each(f"{keys.ALIASES}{name}/"))

    def target(self, name: str, alias: str) -> str | None:
        """The exact version that an alias points to; None if there is no such alias."""
        return _target(self._series.last(keys.alias(name, alias))) or None

    def history(self, name: str, alias: str) -> list[dict[str, Any]]:
        """Where an alias pointed, newest first: `version` (None when it was removed), `at`, `by`, `number`."""
        records = self._series.history(keys.alias(name, alias))
        return [{"number": r.number, "version": _target(r) or None, "at": r.at, "by": r.by} for r in records]

    def move(
        self, name: str, alias: str, version: str | None, *, by: str, expected: object = ANY
    ) -> Record | None:
        """Point an alias to a version.

        Args:
            name: of the model.
            alias: its name, checked by the caller.
            version: exact; None removes the alias, its history stays.
            by: who moves it.
            expected: the version that it must point to now, or None for no such alias; by default anything goes.

        Raises:
            Conflict: it points elsewhere than expected.
        """

        def decide(last: Record | None) -> dict[str, Any] | None:
            current = _target(last) or None
            if expected is not ANY and current != expected:
                raise Conflict(
                    f"the alias {name}:{alias} points to {current or 'nothing'}, not to {expected or 'nothing'}"
                )
            return None if current == version else {"version": version}

        return self._series.append(keys.alias(name, alias), decide, by=by)


def _target(record: Record | None) -> str:
    return str(record.value.get("version") or "") if record is not None else ""
