"""Names of models: `name:version`, and how versions are generated."""

from __future__ import annotations

import re
import secrets
import warnings
from dataclasses import dataclass
from typing import Final

from vtsserving._aliases import stable
from vtsserving.exceptions import InvalidTag

LATEST: Final = "latest"
"""The reference to the newest version; never a version itself."""

MAX_PART_CHARS: Final = 63
"""Longest name or version, in characters."""

VERSION_ALPHABET: Final = "234567abcdefghijklmnopqrstuvwxyz"
"""Base 32 in ASCII order, so that comparing versions as text compares the numbers."""

VERSION_CHARS: Final = 16
RANDOM_BITS: Final = 32
TIME_BITS: Final = 48

RESERVED_NAMES: Final = frozenset({"stats"})

HIDDEN_PREFIX: Final = "packed."
"""Names of packed runners begin so; they are served like models, and listed only when asked for."""

_PART: Final = re.compile(r"[a-z0-9](?:[-._a-z0-9]*[a-z0-9])?")
_ALIAS: Final = re.compile(r"[a-z](?:[-a-z0-9]*[a-z0-9])?")
_GENERATED: Final = re.compile(r"[2-7a-z]{16}")
# Device names of Windows: a directory of that name cannot exist there, so a model could not be shared.
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?")
_GRAMMAR: Final = "lower-case letters, digits, '-', '.' and '_', beginning and ending with a letter or digit"


def is_hidden(name: str) -> bool:
    """Whether a name is that of a packed runner, which lists leave out."""
    return name.startswith(HIDDEN_PREFIX)


@stable
@dataclass(frozen=True, slots=True)
class Tag:
    """A model's name and, if it says so, version.

    The version may be exact or any reference that a store resolves: `latest`, an alias or a unique prefix.

    Attributes:
        name: the model's name.
        version: the version or reference; None means the newest version.
    """

    name: str
    version: str | None = None

    def __post_init__(self) -> None:
        """Check both parts; upper case is lowered with a warning.

        Raises:
            InvalidTag: a part breaks the grammar.
        """
        if not _is_part(self.name):
            object.__setattr__(self, "name", _canonical(self.name, "name"))
        if self.name in RESERVED_NAMES:
            raise InvalidTag(f"the name {self.name!r} is reserved; choose another one")
        if self.version is not None and not _is_part(self.version):
            object.__setattr__(self, "version", _canonical(self.version, "version"))

    def __str__(self) -> str:
        """`name:version`, or `name` alone."""
        return self.name if self.version is None else f"{self.name}:{self.version}"

    @classmethod
    def parse(cls, text: str | Tag) -> Tag:
        """Read a tag.

        Args:
            text: `name` or `name:version`; a Tag is returned as it is.

        Returns:
            The tag; its version is None where the text has none.

        Raises:
            InvalidTag: the text breaks the grammar.
        """
        if isinstance(text, Tag):
            return text
        if not isinstance(text, str):
            raise InvalidTag(f"a tag is text like 'name:version', not {type(text).__name__}")
        name, colon, version = text.partition(":")
        return cls(name, version if colon else None)

    @property
    def is_exact_form(self) -> bool:
        """Whether the version may name a version itself: it is given and is not `latest`."""
        return self.version is not None and self.version != LATEST


def check_not_hidden(tag: Tag) -> None:
    """Refuse a name that is kept for packed classes.

    Raises:
        InvalidTag: it is one.
    """
    if is_hidden(tag.name):
        raise InvalidTag(
            f"names that begin with {HIDDEN_PREFIX!r} are kept for packed runners; choose another one"
        )


def check_new_version(version: str) -> str:
    """Check a version that a model is to be saved under.

    Raises:
        InvalidTag: it is reserved or breaks the grammar.
    """
    if version == LATEST:
        raise InvalidTag("'latest' always means the newest version; it cannot be the name of one")
    return version if _is_part(version) else _canonical(version, "version")


def check_alias(alias: str) -> str:
    """Check the name of an alias.

    Returns:
        The alias.

    Raises:
        InvalidTag: it is reserved, breaks the grammar or looks like a generated version.
    """
    if alias == LATEST:
        raise InvalidTag("'latest' always means the newest version; it cannot be an alias")
    if len(alias) > MAX_PART_CHARS or not _ALIAS.fullmatch(alias):
        raise InvalidTag(
            f"{_shown(alias)} is not a valid alias: use lower-case letters, digits and '-', beginning with a "
            f"letter, at most {MAX_PART_CHARS} characters"
        )
    if _DEVICE.fullmatch(alias):
        raise InvalidTag(f"the alias {alias!r} is the name of a device on Windows; choose another one")
    if _GENERATED.fullmatch(alias):
        raise InvalidTag(f"{alias!r} looks like a generated version; an alias must not")
    return alias


def new_version(t_ms: int, random_bits: int | None = None) -> str:
    """Generate a version that sorts, as text, by the time it was made.

    Args:
        t_ms: milliseconds since 1970, below 2**48.
        random_bits: the lower 32 bits; random if None.

    Returns:
        16 characters of VERSION_ALPHABET: 48 bits of time, then 32 random ones.
    """
    low = secrets.randbits(RANDOM_BITS) if random_bits is None else random_bits & (2**RANDOM_BITS - 1)
    value = (t_ms & (2**TIME_BITS - 1)) << RANDOM_BITS | low
    return "".join(VERSION_ALPHABET[value >> shift & 31] for shift in range(5 * (VERSION_CHARS - 1), -1, -5))


def is_valid_part(text: str) -> bool:
    """Whether the text is a canonical name or version; such a text is also a safe file name."""
    return _is_part(text)


def _is_part(text: object) -> bool:
    return (
        isinstance(text, str)
        and len(text) <= MAX_PART_CHARS
        and _PART.fullmatch(text) is not None
        and _DEVICE.fullmatch(text) is None
    )


def _canonical(text: object, what: str) -> str:
    if not isinstance(text, str):
        raise InvalidTag(f"a {what} is text, not {type(text).__name__}")
    # Only ASCII is lowered: str.lower() maps other letters onto ASCII ones, which would let two names be one.
    lowered = text.lower() if text.isascii() else text
    if lowered != text and _is_part(lowered):
        warnings.warn(f"the {what} {text!r} is used in lower case: {lowered!r}", UserWarning, stacklevel=4)
        return lowered
    if not text:
        raise InvalidTag(f"the {what} is empty")
    if len(text) > MAX_PART_CHARS:
        raise InvalidTag(f"the {what} has {len(text)} characters; at most {MAX_PART_CHARS} are allowed")
    if _DEVICE.fullmatch(lowered):
        raise InvalidTag(f"the {what} {text!r} is a device name on Windows; choose another one")
    raise InvalidTag(f"{_shown(text)} is not a valid {what}: use {_GRAMMAR}")


def _shown(text: str) -> str:
    return ascii(text[:MAX_PART_CHARS])
