"""Completion of tags in bash, which takes the colon in `iris_clf:v1` for the end of a word."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Final

_INSTRUCTION: Final = ("_VTSSERVING_COMPLETE", "complete_bash")
_BEFORE: Final = "_VTSSERVING_COMPLETE_BEFORE"


def typed_before() -> str:
    """What the user typed of a tag before the part that is completed, such as `iris_clf:`; often nothing."""
    return os.environ.get(_BEFORE, "")


def join_words(environ: MutableMapping[str, str]) -> None:
    """Put together again what bash broke at colons, if it is bash that asks; else do nothing.

    bash replaces only what follows the last colon, so what stands before it is kept apart, for `typed_before`.

    Args:
        environ: COMP_WORDS, the words with a newline between two, and COMP_CWORD, the number of the one at the cursor.
    """
    variable, asks = _INSTRUCTION
    if environ.get(variable) != asks:
        return
    text = environ.get("COMP_WORDS", "")
    words = text.split("\n") if "\n" in text else text.split(" ")
    given = words[: int(environ.get("COMP_CWORD", "0")) + 1]
    joined: list[str] = []
    for word in given:
        if joined and (word == ":" or joined[-1].endswith(":")):
            joined[-1] += word
        else:
            joined.append(word)
    name, colon, version = joined.pop().rpartition(":")
    environ[_BEFORE] = name + colon
    environ["COMP_WORDS"] = "\n".join([*joined, version])
    environ["COMP_CWORD"] = str(len(joined))
