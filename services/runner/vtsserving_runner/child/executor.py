"""One batch on one model object: join, call, cut; a call that raises, or whose result is bad, is bisected.

What goes wrong with one request never fails its neighbours: the halves of such a batch are called again, and their
halves, until the bad one stands alone. What a request gets is what it would get alone: how results follow rows is known
from the contract, or is seen in the first batch of its kind, which is computed both merged and request by request.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from vtsserving._contract.owned import owned
from vtsserving._contract.refused_texts import called
from vtsserving._contract.result_rows import Undecided, copied, observe
from vtsserving._contract.seen_results import form_in_parts, holds_for_one_row
from vtsserving._model.contract import MethodContract
from vtsserving._model.result_form import ResultForm
from vtsserving._model.signature import method_of
from vtsserving._wire import rows
from vtsserving._wire.bodies import refusal, unreadable
from vtsserving._wire.frames import Batch, Buffer, Fault, Result
from vtsserving._wire.iterators import is_iterator, listed
from vtsserving._wire.joined_labels import JoinedLabels, SharedLabels
from vtsserving._wire.layout import layout, table_dtypes
from vtsserving._wire.rows import Packed
from vtsserving.exceptions import (
    BadModelOutput,
    DeadlineExceeded,
    MethodNotFound,
    ResultTooLarge,
    VtsServingException,
)
from vtsserving_runner.child.answers import (
    complete_entries,
    empty_columns,
    in_order,
    packed_result,
    refuse_dropped_rows,
    single_result,
)
from vtsserving_runner.child.entries import MAX_TRIED, are_equal, first_unlike
from vtsserving_runner.child.failures import as_failure, reason, tell
from vtsserving_runner.child.learned_forms import ALONE, Known, LearnedForms
from vtsserving_runner.child.padding import filled_up, surplus_rows, without_surplus
from vtsserving_runner.process.framing import now_us

MAX_BODY_BYTES: Final = (1 << 32) - 1
"""Sizes of bodies are 32 bits on the wire."""

Answer = Result | Fault


class BatchExecutor:
    """Runs batches on the methods of one model."""

    def __init__(
        self,
        model: object,
        contracts: Mapping[str, MethodContract],
        alive: Callable[[], None] = lambda: None,
        pad_to: Sequence[int] = (),
    ) -> None:
        """Serve `model`.

        Args:
            model: has a method for each contract; `__call__` is the model itself.
            contracts: method name to contract.
            alive: called after each call but the last of a batch, so that whoever watches for hangs counts afresh.
            pad_to: numbers of rows that batches are filled up to, ascending; see padding.
        """
        self._model = model
        self._contracts = contracts
        self._alive = alive
        self._pad_to = pad_to
        self._forms = LearnedForms(contracts)

    def run(self, batch: Batch, arrived_us: int) -> Iterator[Answer]:
        """Compute a batch.

        Args:
            batch: its entries' bodies may be overwritten by the model.
            arrived_us: when its entries had `remaining_us` left, on the clock of `now_us`.

        Yields:
            Results and faults that together answer each entry once; the last one has `last` set.
        """
        held: Answer | None = None
        for answer in self._answers(_Work(batch, arrived_us), list(range(len(batch.ids)))):
            if held is not None:
                yield held
            held = answer
        if held is not None:
            yield held._replace(last=True)

    def _answers(self, work: _Work, index: list[int]) -> Iterator[Answer]:
        batch = work.batch
        contract = self._contracts.get(batch.method)
        if contract is None:
            yield work.fault(index, MethodNotFound(f"the model has no method {batch.method!r}"))
            return
        if unread := unreadable(batch.body_kinds):
            yield work.fault(unread, refusal(batch.body_kinds))
            index = [i for i in index if i not in unread]
        if len(index) < 2:
            for i in index:
                yield from self._alone(work, i)
            return
        # Requests without a batch axis are never merged; each is its own call.
        form = self._forms.of(batch.method, batch.head) if batch.head and contract.batchable else ALONE
        if form is None:
            is_equal = are_equal(batch, index)
            known = self._forms.of_equal if is_equal else self._forms.of
            form = known(batch.method, batch.head)
            if form is None:
                index = yield from self._first_ones(work, index, equal=is_equal)
                form = known(batch.method, batch.head)
        if isinstance(form, ResultForm):
            if index:
                yield from self._merged(work, index, form)
        else:
            for i in index:
                yield from self._alone(work, i)

    def _merged(self, work: _Work, index: list[int], form: ResultForm) -> Iterator[Answer]:
        """Entries in one call; in halves, if it raises or its result is not what they all could share."""
        index = yield from work.in_time(index)
        if len(index) < 2:
            for i in index:
                yield from self._alone(work, i)
            return
        try:
            result = self._call(work, index, form)
            head, bodies = packed_result(result, work.counts(index), form)
            self._check_dtypes(work, index, result, head, form)
            answer = work.result(index, head, bodies)
        except BaseException:  # what a model raises, SystemExit included, must not end its process
            self._alive()
            middle = len(index) // 2
            yield from self._merged(work, index[:middle], form)
            yield from self._merged(work, index[middle:], form)
            return
        yield answer

    def _check_dtypes(
        self, work: _Work, index: Sequence[int], result: Any, head: bytes, form: ResultForm
    ) -> None:
        """See to it that the tables of a merged result have the dtypes that a request's own result has.

        A missing value in one caller's rows changes the dtype of a whole column, and so do strangers' categories.

        Raises:
            BadModelOutput: they have others, so that these calls cannot share a result.
        """
        found = table_dtypes(head)
        if found is None:
            return
        batch = work.batch
        known = self._forms.dtypes(batch.method, batch.head)
        if not known:
            whole = complete_entries(result, form, work.counts(index))
            if whole:
                known = self._own_dtypes(work, index[whole[0]], form)
                self._forms.saw_dtypes(batch.method, batch.head, known, complete=True)
        if known and known != found:
            raise BadModelOutput("the merged result has other dtypes than a request's own")
        for at, columns in empty_columns(result, form, work.counts(index)).items():
            if self._forms.are_steady(batch.method, batch.head, columns):
                continue
            if self._own_dtypes(work, index[at], form) != found:
                self._forms.learn(batch.method, batch.head, None)
                raise BadModelOutput("a request's own result has other dtypes, since it misses all values")
            self._forms.saw_steady(batch.method, batch.head, columns)

    def _own_dtypes(self, work: _Work, i: int, form: ResultForm) -> bytes:
        """The dtypes of the tables in one entry's own result."""
        own = packed_result(self._call(work, [i], form), (work.batch.rows[i],), form)[0]
        self._alive()
        return table_dtypes(own) or b""

    def _alone(self, work: _Work, i: int) -> Iterator[Answer]:
        """One entry in a call of its own."""
        if (yield from work.in_time([i])):
            yield self._one(work, i)[0]

    def _one(self, work: _Work, i: int) -> tuple[Answer, Any]:
        """The answer to one entry, and a copy of what the model returned if there is a result."""
        batch, contract = work.batch, self._contracts[work.batch.method]
        form = self._forms.of(batch.method, batch.head) if batch.head and contract.batchable else ALONE
        try:
            result = self._call(work, [i], form)
        except BaseException as error:
            self._alive()
            return work.fault([i], as_failure(error, batch, i)), None
        count, axis = batch.rows[i], contract.batch_dim[1]
        is_full = bool(batch.head) and contract.batchable and count == max(2, batch.max_rows)
        try:
            if is_full and form is None:
                result = copied(result)
                self._learn_from_halves(work, i, result)
                form = self._forms.of(batch.method, batch.head)
            known = form if isinstance(form, ResultForm) else None
            if is_full and (known is None or not known.follows_rows):
                # Whoever sent the first rows of a large call learns by this that its results do not follow rows.
                refuse_dropped_rows(result, batch.head, count, axis)
                head, body = b"", rows.pack_whole(result).body
            else:
                rows_head = batch.head if contract.batchable else b""
                head, body = single_result(result, rows_head, count, known, axis)
            if known is not None and head:
                dtypes = table_dtypes(head)
                complete = dtypes is not None and bool(complete_entries(result, known, (count,)))
                self._forms.saw_dtypes(batch.method, batch.head, dtypes, complete=complete)
            return work.result([i], head, [body]), result
        except (BadModelOutput, ResultTooLarge) as error:
            tell("bad_model_output", batch, [i], error)
            return work.fault([i], error), None
        except Exception as error:  # nothing that a model returns may end its process
            tell("bad_model_output", batch, [i], error)
            return work.fault([i], BadModelOutput(reason(error))), None

    def _first_ones(
        self, work: _Work, index: list[int], *, equal: bool
    ) -> Generator[Answer, None, list[int]]:
        """See how results follow rows, in the first entries of a batch; each of these is answered by its own call.

        Args:
            work: the batch.
            index: its entries.
            equal: whether all of them are equal, so that what is seen holds for such batches only.

        Returns:
            The entries that are left.
        """
        batch = work.batch
        index = yield from work.in_time(index)
        tried = index[:MAX_TRIED] if equal else first_unlike(batch, index)
        if len(tried) < 2:
            return index
        try:
            merged = copied(self._call(work, tried, None))
        except BaseException:
            merged = None
            self._alive()
        separate = []
        for i in tried:
            answer, result = self._one(work, i)
            if isinstance(answer, Result):
                separate.append(copied(result))
            yield answer
            self._alive()
        if len(separate) == len(tried) and merged is not None:
            self._observe(work, tried, merged, separate, equal=equal)
        elif merged is not None or len(separate) == len(tried):
            self._forms.undecided(batch.method, batch.head, equal=equal)
        return [i for i in index if i not in tried]

    def _observe(
        self, work: _Work, tried: list[int], merged: Any, separate: list[Any], *, equal: bool
    ) -> None:
        batch, counts = work.batch, work.counts(tried)
        try:
            form = observe(merged, separate, counts)
            if form is not None and 1 not in counts:
                form = self._if_one_row_agrees(work, tried[0], form, separate[0])
        except Undecided:
            self._forms.undecided(batch.method, batch.head, equal=equal)
            return
        self._forms.learn(batch.method, batch.head, form, equal=equal)

    def _learn_from_halves(self, work: _Work, i: int, whole: Any) -> None:
        """See how results follow rows in one entry that is as large as a batch may be."""
        batch = work.batch
        try:
            form = form_in_parts(work.packed(i), whole, self._caller_of_some(batch))
        except Undecided:
            return
        except BaseException:  # a model that refuses a part cannot be given parts
            form = None
        self._forms.learn(batch.method, batch.head, form)

    def _if_one_row_agrees(self, work: _Work, i: int, form: ResultForm, whole: Any) -> ResultForm | None:
        try:
            agrees = holds_for_one_row(work.packed(i), form, whole, self._caller_of_some(work.batch))
        except BaseException:  # a model that refuses a single row cannot be given other parts either
            agrees = False
        return form if agrees else None

    def _caller_of_some(self, batch: Batch) -> Callable[[Packed], Any]:
        """Calls the batch's method with some rows of an entry."""

        def call(some: Packed) -> Any:
            try:
                return self._invoke(batch.method, batch.head, [some.body], (some.rows,))
            finally:
                self._alive()

        return call

    def _call(self, work: _Work, index: Sequence[int], form: Known) -> Any:
        """What the method returns for some entries, without the rows that they were filled up with."""
        batch = work.batch
        if len(index) == len(batch.ids):
            bodies, counts = batch.bodies, batch.rows
        else:
            bodies, counts = [batch.bodies[i] for i in index], tuple(batch.rows[i] for i in index)
        if self._pad_to and batch.head and form != ALONE:
            return self._call_padded(batch, bodies, counts, form)
        return self._invoke(batch.method, batch.head, bodies, counts)

    def _call_padded(
        self, batch: Batch, bodies: Sequence[Buffer], counts: tuple[int, ...], form: ResultForm | None
    ) -> Any:
        total = sum(counts)
        surplus = surplus_rows(total, self._pad_to)
        if surplus and form is None:
            # Nobody has seen yet that rows beside its own leave no trace in a result.
            try:
                return self._invoke(batch.method, batch.head, bodies, counts)
            except Exception:  # a model that was compiled for some sizes refuses others
                self._alive()
        if surplus:
            try:
                result = self._invoke(batch.method, batch.head, bodies, counts, surplus)
                axis = self._contracts[batch.method].batch_dim[1]
                return without_surplus(result, form, axis, total, surplus)
            except (BadModelOutput, SharedLabels):
                self._alive()  # its result follows no rows, or the surplus would have the labels of others
        return self._invoke(batch.method, batch.head, bodies, counts)

    def _invoke(
        self, method: str, head: bytes, bodies: Sequence[Buffer], counts: Sequence[int], surplus: int = 0
    ) -> Any:
        if surplus:
            bodies, counts = filled_up(head, bodies, counts, surplus)  # type: ignore[arg-type]
        if len(bodies) == 1 and not (head and layout(head).owns_memory):
            # Several are joined in memory of the model's own; one is copied there, since it may keep what it gets.
            bodies = [memoryview(bytearray(bodies[0]))]
        contract = self._contracts[method]
        # Whoever takes data first and parameters after it does not look at the labels of the data.
        labels = JoinedLabels(renumbers=contract.undescribed == "parameter") if len(bodies) > 1 else None
        args, kwargs = rows.join_calls(head, bodies, counts, labels)  # type: ignore[arg-type]
        args = [owned(value) for value in args]
        kwargs = {key: owned(value) for key, value in kwargs.items()}
        result = called(method_of(self._model, method), args, kwargs)
        if type(result) is not np.ndarray and is_iterator(result):
            result = listed(result)
        form = contract.result
        if head and (form is None or form.ordered):
            result = in_order(result, args)
        return result if labels is None else labels.restored(result)


class _Work:
    """A batch while it is computed."""

    def __init__(self, batch: Batch, arrived_us: int) -> None:
        self.batch = batch
        self._arrived_us = arrived_us
        self._started_us = now_us()

    def elapsed_us(self) -> int:
        return now_us() - self._started_us

    def in_time(self, index: list[int]) -> Generator[Answer, None, list[int]]:
        """Answer those whose deadline has passed, and return the others; asked before each call."""
        waited_us = now_us() - self._arrived_us
        remaining_us = self.batch.remaining_us
        late = [i for i in index if remaining_us[i] <= waited_us]
        if not late:
            return index
        yield self.fault(late, DeadlineExceeded("the deadline passed before the model could start"))
        return [i for i in index if i not in late]

    def packed(self, i: int) -> Packed:
        """An entry as the call that it is, in memory of its own."""
        return Packed(self.batch.head, self.batch.rows[i], bytes(self.batch.bodies[i]))

    def counts(self, index: Sequence[int]) -> tuple[int, ...]:
        """The rows of some entries."""
        rows = self.batch.rows
        return rows if len(index) == len(rows) else tuple(rows[i] for i in index)

    def result(self, index: Sequence[int], head: bytes, bodies: Sequence[Buffer]) -> Result:
        """The answer to some entries; ResultTooLarge if a body is larger than the wire can say."""
        if max(map(len, bodies)) > MAX_BODY_BYTES:
            raise ResultTooLarge("a result has more than 4 GiB")
        if len(index) < len(self.batch.ids):
            # Another call follows, in which the model may use the memory of this result again.
            bodies = [bytes(body) for body in bodies]
        return Result(
            self.batch.batch_id, self.elapsed_us(), False, tuple(index), self.counts(index), b"", head, bodies
        )

    def fault(self, index: Sequence[int], error: VtsServingException) -> Fault:
        return Fault(
            self.batch.batch_id, self.elapsed_us(), False, error.wire_code, error.message, tuple(index)
        )
