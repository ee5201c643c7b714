"""Numbers of formats: what a later release wrote is refused, before anything is changed because of it.

A manifest and a model.yaml say `api_version`; every other record may say `format`, which is 1 where nothing is said. A
release raises the number when an earlier one could misread the record, or do harm by overlooking what it says. It may
say `release`, too: the first one that can read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from vtsserving.exceptions import NewerFormat
from vtsserving.version import __version__

API_VERSION: Final = "v1"
"""Of the manifests and model.yaml files that this release writes, and the last that it reads."""

FORMAT: Final = 1
"""Of all other records."""

_API_VERSION: Final = re.compile(r"v([1-9][0-9]{0,8})")
_RELEASE: Final = re.compile(r"[0-9A-Za-z.+-]{1,40}")


def check_api_version(value: object, what: str, *, release: object = None) -> None:
    """Refuse a later version of manifest.json or model.yaml; whatever is no version is the caller's to judge.

    Args:
        value: what the record says.
        what: names the record in the message.
        release: the release that wrote it, if that is known.

    Raises:
        NewerFormat: a later release wrote it.
    """
    if is_later(value):
        raise newer(f"{what} has version {value}", known=API_VERSION, release=release)


def is_later(value: object) -> bool:
    """Whether an `api_version` is that of a later release."""
    match = _API_VERSION.fullmatch(value) if isinstance(value, str) else None
    return match is not None and int(match[1]) > int(API_VERSION[1:])


def check_format(record: object, what: str) -> None:
    """Refuse a record of a later format.

    Args:
        record: as it was read; one that is not a mapping has no number, and is the caller's to judge.
        what: names the record in the message.

    Raises:
        NewerFormat: a later release wrote it.
        ValueError: its number is none.
    """
    number = record.get("format", FORMAT) if isinstance(record, Mapping) else FORMAT
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f"{what} has the format {number!r:.40}, which is not a number from 1")
    if number > FORMAT:
        assert isinstance(record, Mapping)
        raise newer(f"{what} has format {number}", known=str(FORMAT), release=record.get("release"))


def newer(found: str, *, known: str = "", release: object = None) -> NewerFormat:
    """The error for something that a later release wrote.

    Args:
        found: what was found, as the beginning of a sentence.
        known: what this release knows instead; empty where that is not a number.
        release: that can read it, if it is known.
    """
    named = release if isinstance(release, str) and _RELEASE.fullmatch(release) else ""
    named = "" if named == __version__ else named  # that is what a record says which was changed by hand
    limit = f"{__version__}, which knows {known}," if known else __version__
    advice = f"use vtsserving {named} or later" if named else "use a later release of vtsserving"
    return NewerFormat(f"{found}: release {limit} does not know that; {advice}. Nothing was changed")
