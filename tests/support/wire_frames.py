"""hypothesis strategies for frames of every kind, made from the letters of their fields."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vtsserving._wire.fields import EACH_ENTRY, SOME_ENTRIES
from vtsserving._wire.kinds import KINDS, Batch, Heartbeat
from vtsserving._wire.limits import MAX_REQUEST_ID_BYTES
from vtsserving._wire.model_reports import ModelReport, one_line

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(0, 2**64 - 1)
counters = st.dictionaries(st.text("abc_", min_size=1, max_size=64), numbers, max_size=4)
reports = st.builds(
    ModelReport,
    st.text("abc:.-", min_size=1, max_size=127),
    st.sampled_from(["ready", "loading", "unloading", "failed", "a word of a later release"]),
    texts.map(one_line),
    st.integers(0, 256),
    counters,
)
SINGLE = {
    "s": texts,
    "m": texts,
    "i": numbers,
    "b": st.booleans(),
    "l": st.lists(texts, min_size=1, max_size=64),
    "t": st.lists(st.text("abc:.-", min_size=1, max_size=20), max_size=8),
    "I": st.lists(numbers, max_size=64),
    "N": st.sets(st.integers(1, 2**32 - 1), max_size=64).map(sorted).map(tuple),
    "M": st.lists(reports, max_size=4),
    "C": counters,
    "H": st.binary(max_size=40),
}
traces = st.one_of(
    st.just(b""),
    st.builds(lambda a, b: b"\1" + a + b"\1" + b, *(st.binary(min_size=n, max_size=n) for n in (15, 8))),
)
request_ids = st.text("abcdef.-_\u20ac", max_size=MAX_REQUEST_ID_BYTES // 3)


def _column(draw: Any, letter: str, entries: int) -> st.SearchStrategy[Any]:
    if letter in SOME_ENTRIES and draw(st.booleans()):
        return st.just(b"" if letter == "K" else ())
    if letter in "BK":
        return st.binary(min_size=entries, max_size=entries)
    if letter == "V":
        return st.lists(st.binary(max_size=20), min_size=entries, max_size=entries)
    if letter in "RT":
        each = request_ids if letter == "R" else traces
        return st.lists(each, min_size=entries, max_size=entries).map(tuple)
    width = 64 if letter == "Q" else 32
    return st.lists(st.integers(0, 2**width - 1), min_size=entries, max_size=entries).map(tuple)


@st.composite
def frames(draw: Any, kinds: Any = st.sampled_from(sorted(KINDS))) -> Any:  # noqa: B008
    """Frames of all kinds with all that their fields may hold."""
    cls, letters = KINDS[draw(kinds)]
    entries = draw(st.integers(1, 5))
    fields = [
        draw(_column(draw, letter, entries)) if letter in EACH_ENTRY | SOME_ENTRIES else draw(SINGLE[letter])
        for letter in letters
    ]
    frame = cls(*fields)
    if cls is Batch:
        index = draw(st.lists(st.integers(0, len(frame.gateways) - 1), min_size=entries, max_size=entries))
        frame = frame._replace(gateway_index=bytes(index))
    return frame


def loaded(beat: Heartbeat) -> list[str]:
    """`name:version` of the models that compute, as a runner's heartbeat says."""
    return [report.tag for report in beat.models if report.state == "ready"]
