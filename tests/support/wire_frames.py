"""hypothesis strategies for frames of every kind, made from the letters of their fields."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vtsserving._wire.kinds import KINDS, Batch

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(0, 2**64 - 1)
SINGLE = {
    "s": texts,
    "m": texts,
    "i": numbers,
    "b": st.booleans(),
    "l": st.lists(texts, min_size=1, max_size=64),
    "t": st.lists(st.text("abc:.-", min_size=1, max_size=20), max_size=8),
    "I": st.lists(numbers, max_size=64),
    "H": st.binary(max_size=40),
}


def _column(letter: str, entries: int) -> st.SearchStrategy[Any]:
    if letter == "B":
        return st.binary(min_size=entries, max_size=entries)
    if letter == "V":
        return st.lists(st.binary(max_size=20), min_size=entries, max_size=entries)
    width = 64 if letter == "Q" else 32
    return st.lists(st.integers(0, 2**width - 1), min_size=entries, max_size=entries).map(tuple)


@st.composite
def frames(draw: Any, kinds: Any = st.sampled_from(sorted(KINDS))) -> Any:  # noqa: B008
    """Frames of all kinds with all that their fields may hold."""
    cls, letters = KINDS[draw(kinds)]
    entries = draw(st.integers(1, 5))
    fields = [
        draw(_column(letter, entries)) if letter in "QUBV" else draw(SINGLE[letter]) for letter in letters
    ]
    frame = cls(*fields)
    if cls is Batch:
        index = draw(st.lists(st.integers(0, len(frame.gateways) - 1), min_size=entries, max_size=entries))
        frame = frame._replace(gateway_index=bytes(index))
    return frame
