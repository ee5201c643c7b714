"""Labels that were edited after the push; they lie beside the manifest, which never changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vtsserving.exceptions import InvalidMetadata
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.registry.records import Each, Record, RecordSeries

MAX_LABELS: Final = 64
MAX_KEY_CHARS: Final = 63
MAX_VALUE_CHARS: Final = 1024


class Labels:
    """The edited labels of all versions."""

    def __init__(self, objects: ObjectStore) -> None:
        self._series = RecordSeries(objects)

    def get(self, name: str, version: str) -> dict[str, str] | None:
        """The labels as last edited; None if they never were."""
        return _value(self._series.last(keys.labels(name, version)))

    def edited(self, name: str = "", *, each: Each = map) -> dict[tuple[str, str], dict[str, str]]:
        """(Name, version) to labels, for versions whose labels were edited.

        Args:
            name: only the versions of this name.
            each: reads the records; that of a thread pool reads many at once.
        """
        found = self._series.last_of_each(keys.LABELS, within=f"{name}/" if name else "", each=each)
        parted = ((series.split("/"), record) for series, record in found.items())
        return {(parts[0], parts[1]): _value(record) or {} for parts, record in parted}

    def history(self, name: str, version: str) -> list[dict[str, Any]]:
        """All edits, newest first."""
        return [
            {"number": r.number, "labels": _value(r), "at": r.at, "by": r.by}
            for r in self._series.history(keys.labels(name, version))
        ]

    def edit(
        self, name: str, version: str, base: Mapping[str, str], changes: Mapping[str, str | None], *, by: str
    ) -> dict[str, str]:
        """Set and remove labels.

        Args:
            name: of the model.
            version: exact.
            base: the labels that the model was saved with.
            changes: key to value; None removes the key.
            by: who edits.

        Returns:
            The labels that count now.

        Raises:
            InvalidMetadata: a key or value is too long, or there are too many.
        """

        def decide(last: Record | None) -> dict[str, Any] | None:
            current = _value(last)
            before = dict(base) if current is None else current
            after = {**before, **changes}
            kept = {key: value for key, value in after.items() if value is not None}
            return None if kept == before else {"labels": check_labels(kept)}

        record = self._series.append(keys.labels(name, version), decide, by=by)
        edited = _value(record)
        return dict(base) if edited is None else edited

    def forget(self, name: str, version: str) -> None:
        """Remove all edits of a version that is gone."""
        self._series.remove(keys.labels(name, version))


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Check labels from outside.

    Returns:
        The labels, sorted.

    Raises:
        InvalidMetadata: they are too many or too long, or hold characters that no terminal should see.
    """
    if len(labels) > MAX_LABELS:
        raise InvalidMetadata(f"a model has at most {MAX_LABELS} labels, not {len(labels)}")
    for key, value in labels.items():
        if not 0 < len(key) <= MAX_KEY_CHARS or not key.isprintable():
            raise InvalidMetadata(
                f"the label {key!a:.80} needs a printable key of 1 to {MAX_KEY_CHARS} characters"
            )
        if len(value) > MAX_VALUE_CHARS or not value.isprintable():
            raise InvalidMetadata(
                f"the label {key!a} needs a printable value of at most {MAX_VALUE_CHARS} characters"
            )
    return dict(sorted(labels.items()))


def _value(record: Record | None) -> dict[str, str] | None:
    return None if record is None else {str(k): str(v) for k, v in record.value.get("labels", {}).items()}
