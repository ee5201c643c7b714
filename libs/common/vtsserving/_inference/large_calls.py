"""Calls with more rows than one batch may have: which are cut, and which go whole.

A contract says whether the results of a method follow its rows. Where it does not, the first rows go ahead alone: the
model process, which sees a full batch, computes it in halves, too, and answers with a head only if results follow rows.
"""

from __future__ import annotations

from typing import Final

from vtsserving._contract.seen_results import described_form
from vtsserving._inference.request import Ticket
from vtsserving._recent import RecentDict
from vtsserving._wire.layout import layout, short_name, table_dtypes
from vtsserving._wire.rows import Packed, first_rows, pieces

MODEL_ERRORS: Final = frozenset(("bad_model_output", "model_failed"))
"""Codes of errors that the first rows of a call may have though the whole call has none."""

MIN_TRIAL_ROWS: Final = 2
"""Fewest rows that go ahead, whatever the limit."""

MAX_KNOWN: Final = 1_024
"""Most kinds of calls that are remembered."""


class LargeCalls:
    """Knows which kinds of calls can be cut."""

    def __init__(self) -> None:
        """Know nothing beside contracts."""
        self._known: RecentDict[tuple[str, str, bytes], bool] = RecentDict(MAX_KNOWN)

    def first(self, ticket: Ticket, packed: Packed) -> list[Packed]:
        """Take the parts of a call that are sent first; the ticket keeps what may follow.

        Args:
            ticket: of a call that has more rows than one batch may have.
            packed: the call.

        Raises:
            BadFrame, BadTensor: its body does not have the size that its rows and its head say.
        """
        can_be_cut = self._known.get(_kind(ticket, packed))
        if can_be_cut is None:
            form = described_form(ticket.method.contract, packed.head)
            can_be_cut = None if form is None else form.follows_rows
        if can_be_cut is False:
            return [packed]
        ticket.whole = packed
        max_rows = ticket.method.max_rows
        if can_be_cut:
            return pieces(packed, max_rows)
        # A single row would show nothing.
        first, ticket.rest = first_rows(packed, max(max_rows, MIN_TRIAL_ROWS), max_rows)
        return [first]

    def refused(self, ticket: Ticket) -> list[Packed]:
        """Take the whole call where its first rows failed in the model: together they may be right nevertheless."""
        whole, ticket.whole = ticket.whole, None
        if whole is None or not ticket.rest:
            return []
        ticket.rest = []
        ticket.parts.clear()
        return [whole]

    def after(self, ticket: Ticket) -> list[Packed]:
        """Take what follows when all that was sent is answered: the rest, the whole call at once, or nothing more."""
        whole, rest, ticket.rest = ticket.whole, ticket.rest, []
        if whole is None:
            return []
        answers = [part.answer for part in ticket.parts if part.answer is not None]
        is_cut = len(answers) == len(ticket.parts) and all(map(_follows_rows, answers))
        # Tables of other dtypes cannot be joined as the call of the whole would give them.
        is_cut = is_cut and len({table_dtypes(answer.head) for answer in answers}) <= 1
        if rest or not is_cut:
            self._known[_kind(ticket, whole)] = is_cut
        if is_cut:
            return rest
        ticket.whole = None
        ticket.parts.clear()
        return [whole]


def _follows_rows(answer: Packed) -> bool:
    return bool(answer.head) and layout(answer.head).follows_rows


def _kind(ticket: Ticket, packed: Packed) -> tuple[str, str, bytes]:
    """Calls of one kind have results of one form."""
    return ticket.entry.digest, ticket.method.name, short_name(packed.head)
