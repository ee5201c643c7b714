"""How the results of each kind of call follow its rows, as far as this process knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from vtsserving._contract.seen_results import described_form
from vtsserving._model.contract import MethodContract
from vtsserving._model.result_form import ResultForm
from vtsserving._recent import RecentDict
from vtsserving._wire.layout import short_name

ALONE: Final = "alone"
"""In place of a form: such calls are computed request by request."""

MAX_FORMS: Final = 1_024
"""Most kinds of calls that are remembered."""

MAX_TRIALS: Final = 8
"""After so many batches that did not show the form, such calls are computed request by request."""

Known = ResultForm | Literal["alone"] | None


class LearnedForms:
    """Method and head to the form of results: from the contract, or from what was seen."""

    def __init__(self, contracts: Mapping[str, MethodContract]) -> None:
        """Know what the contracts say."""
        self._contracts = contracts
        self._known: RecentDict[tuple[str, bytes], Known] = RecentDict(MAX_FORMS)
        self._trials: RecentDict[tuple[str, bytes], int] = RecentDict(MAX_FORMS)
        self._of_equal: RecentDict[tuple[str, bytes], Known] = RecentDict(MAX_FORMS)
        self._dtypes: RecentDict[tuple[str, bytes], bytes] = RecentDict(MAX_FORMS)
        self._steady: RecentDict[tuple[str, bytes], frozenset[tuple[int, int]]] = RecentDict(MAX_FORMS)

    def of(self, method: str, head: bytes) -> Known:
        """The form; None: it is not known yet."""
        key = (method, short_name(head))
        known = self._known.get(key)
        if known is None and (contract := self._contracts.get(method)) is not None:
            form = described_form(contract, head)
            if form is not None:
                known = self._known[key] = form if form.follows_rows else ALONE
        return known

    def of_equal(self, method: str, head: bytes) -> Known:
        """The form in batches of equal requests, which shows nothing about others; None: it is not known yet."""
        return self._of_equal.get((method, short_name(head)))

    def learn(self, method: str, head: bytes, form: ResultForm | None, *, equal: bool = False) -> None:
        """Remember what was seen; None: such results follow no rows.

        Args:
            method: that was called.
            head: of the requests.
            form: of the results.
            equal: whether it was seen in equal requests only.
        """
        known = self._of_equal if equal else self._known
        known[(method, short_name(head))] = ALONE if form is None else form

    def dtypes(self, method: str, head: bytes) -> bytes:
        """The dtypes of tables in a request's own results; empty: they were not seen yet."""
        return self._dtypes.get((method, short_name(head))) or b""

    def saw_dtypes(self, method: str, head: bytes, found: bytes | None, *, complete: bool) -> None:
        """Remember those of one request's own result; requests whose results differ in them share no batch.

        Args:
            method: that was called.
            head: of the request.
            found: the dtypes; None: there is no table in the result.
            complete: whether nothing is missing in the result: its dtypes are then those of what it holds.
        """
        if found is None:
            return
        known = self.dtypes(method, head)
        if not known:
            if complete:
                self._dtypes[(method, short_name(head))] = found
        elif known != found:
            self.learn(method, head, None)

    def are_steady(self, method: str, head: bytes, columns: set[tuple[int, int]]) -> bool:
        """Whether columns of a result keep their dtypes without any value, as far as that was seen."""
        return columns <= self._steady.get((method, short_name(head)), frozenset())

    def saw_steady(self, method: str, head: bytes, columns: set[tuple[int, int]]) -> None:
        """Remember that columns kept their dtypes in a request's own result in which they had no value."""
        key = (method, short_name(head))
        self._steady[key] = self._steady.get(key, frozenset()) | columns

    def undecided(self, method: str, head: bytes, *, equal: bool = False) -> None:
        """Remember that a batch did not show it; arguments as of `learn`."""
        key = (method, short_name(head))
        if equal:
            self.learn(method, head, None, equal=True)
            return
        self._trials[key] = self._trials.get(key, 0) + 1
        if self._trials[key] >= MAX_TRIALS:
            self.learn(method, head, None)
