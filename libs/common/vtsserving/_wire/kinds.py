"""The kinds of frames, as the code sees them; frames.py writes and reads them.

Per-entry fields are columns: they all have one item per entry, in the same order. `_us` is microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from vtsserving._wire.model_reports import ModelReport
from vtsserving._wire.vocabulary import BeatState, ControlOp, EventName, PrepareOp, Role

Buffer = bytes | bytearray | memoryview


class Request(NamedTuple):
    """Gateway -> batcher: entries of one model, one method and one head, which may share a batch.

    Attributes:
        model: name of the model.
        version: exact version.
        digest: of the model's manifest, `sha256:` and 64 hex digits.
        method: name of the signature.
        max_rows: most rows in one batch; 0 means that the method's calls are never merged.
        max_bytes: most bytes of bodies in one batch.
        max_wait_us: how long an entry may wait for company.
        hang_us: how long one call may take before the model process counts as hung.
        sizes: numbers of rows that a batch is filled up to, ascending; empty for a batch of any number.
        ids: the gateway's number of each entry, from 1.
        rows: rows of each entry; 0 without a batch axis.
        remaining_us: time until each entry must be answered.
        attempts: how often each entry was sent before.
        request_ids: the X-Request-ID of each entry's client, empty for an entry without; empty if no entry has one.
        traces: the W3C trace context of each entry: trace id, span id, flags; empty as `request_ids`.
        body_kinds: of each body: 0 the bytes themselves, 1 a descriptor of shared memory; empty if all are 0.
        head: what the entries have in common; empty without a batch axis.
        bodies: the rest of each entry.
    """

    model: str
    version: str
    digest: str
    method: str
    max_rows: int
    max_bytes: int
    max_wait_us: int
    hang_us: int
    sizes: tuple[int, ...]
    ids: tuple[int, ...]
    rows: tuple[int, ...]
    remaining_us: tuple[int, ...]
    attempts: bytes
    request_ids: tuple[str, ...]
    traces: tuple[bytes, ...]
    body_kinds: bytes
    head: bytes
    bodies: Sequence[Buffer]


class Batch(NamedTuple):
    """Batcher -> runner -> model process: one call of a method.

    Attributes:
        batch_id: the batcher's number of the batch.
        batcher: its id; events about the batch go there.
        epoch: of the credit; changes when the model process is replaced or taken over.
        credit: number of the credit that the batch uses.
        model: as in Request.
        version: as in Request.
        digest: as in Request.
        method: as in Request.
        hang_us: as in Request.
        max_rows: as in Request; a larger entry is computed in parts.
        sizes: as in Request.
        gateways: reply subjects that answers go to.
        gateway_index: for each entry, which of `gateways`.
        ids: as in Request.
        rows: as in Request.
        remaining_us: as in Request, now.
        queued_us: how long each entry waited in the batcher.
        attempts: how often each entry was dispatched before.
        request_ids: as in Request.
        traces: as in Request.
        body_kinds: as in Request.
        head: as in Request.
        bodies: as in Request.
    """

    batch_id: int
    batcher: str
    epoch: int
    credit: int
    model: str
    version: str
    digest: str
    method: str
    hang_us: int
    max_rows: int
    sizes: tuple[int, ...]
    gateways: Sequence[str]
    gateway_index: bytes
    ids: tuple[int, ...]
    rows: tuple[int, ...]
    remaining_us: tuple[int, ...]
    queued_us: tuple[int, ...]
    attempts: bytes
    request_ids: tuple[str, ...]
    traces: tuple[bytes, ...]
    body_kinds: bytes
    head: bytes
    bodies: Sequence[Buffer]


class Reply(NamedTuple):
    """Runner -> gateway: results of some entries of one batch.

    Attributes:
        runner: its id.
        batch_rows: rows of the whole batch.
        compute_us: how long the model took for it.
        ids: the gateway's numbers of the entries.
        rows: rows of each result; those of its entry.
        queued_us: how long each entry waited before the model was called.
        body_kinds: as in Request.
        head: what the results have in common; empty if they have no batch axis.
        bodies: the rest of each result.
    """

    runner: str
    batch_rows: int
    compute_us: int
    ids: tuple[int, ...]
    rows: tuple[int, ...]
    queued_us: tuple[int, ...]
    body_kinds: bytes
    head: bytes
    bodies: Sequence[Buffer]


class Failure(NamedTuple):
    """Runner or batcher -> gateway: these entries ended with this error.

    Attributes:
        code: stable code of the error; docs/errors.md lists them.
        message: for the caller.
        retry_after_ms: when a retry makes sense; 0 if unknown.
        ids: the gateway's numbers of the entries. 0 alone stands for all entries of the frame whose reply subject
            this was sent to, which the sender could not read.
    """

    code: str
    message: str
    retry_after_ms: int
    ids: tuple[int, ...]


WHOLE_FRAME: Final = 0
"""The id in a Failure that stands for all entries of a frame."""


class Cancel(NamedTuple):
    """Gateway -> batcher: nobody waits for these entries any more.

    Attributes:
        gateway: its id.
        ids: its numbers of the entries.
    """

    gateway: str
    ids: tuple[int, ...]


class Event(NamedTuple):
    """Runner -> batcher, about one model process or one batch.

    Attributes:
        event: `credit` (`credits` are free), `done` (`batch_id` is answered, its credit free again), `nack`
            (`batch_id` was refused unread), `gone` (the process and all credits of the epoch are void), `failed`
            (the model cannot be loaded), `unloaded` (as it was told to: its processes have ended), `reconnected` (the
            runner was off the bus; what was sent to it or by it since may be lost).
        runner: its id.
        model: as in Request.
        version: as in Request.
        digest: as in Request.
        epoch: of the credits. Its low 8 bits number the process among its model's; the bits above only grow.
        credits: numbers of credits.
        batch_id: of `done` and `nack`, else 0.
        compute_us: how long the model took; of `done`.
        code: why, of `nack` and `failed`, else empty.
        message: the same for people.
        ask: of `credit`, the `ask` of the Control that it answers; 0 if it answers none.
    """

    event: EventName
    runner: str
    model: str
    version: str
    digest: str
    epoch: int
    credits: Sequence[int]
    batch_id: int
    compute_us: int
    code: str
    message: str
    ask: int


class Control(NamedTuple):
    """Batcher -> runner, gateway -> batcher: what to do with a model.

    Attributes:
        op: `load` or `unload`. To a runner: load it if need be, and grant its credits to `sender`; or finish what was
            taken, end the processes, and say so (`unloaded`). To a batcher: see to it, and answer with a Report. Or, to
            a runner only, `release`: another version took its place, so that it may leave when nobody has called it for
            a while, preloaded or not.
        sender: id of the batcher or gateway.
        model: as in Request.
        version: as in Request.
        digest: as in Request.
        ask: of a batcher's `load`: its number among those of the sender, from 1. Batches that left before it reach the
            runner first, or are lost. Else 0.
    """

    op: ControlOp
    sender: str
    model: str
    version: str
    digest: str
    ask: int


class Report(NamedTuple):
    """Batcher -> gateway, on the reply subject of its order: how the order ended.

    Attributes:
        code: empty if the model is loaded, or unloaded, as it was ordered; else why it is not.
        message: the same for people.
        retry_after_ms: as in Failure.
    """

    code: str
    message: str
    retry_after_ms: int


class Heartbeat(NamedTuple):
    """A process is alive; sent every half second.

    Attributes:
        role: `gateway`, `batcher` or `runner`.
        id: of the process.
        state: `ready`; `reconnected`, which is ready too, after it was off the bus: what was sent to it or by it since
            may be lost; `draining`: it takes nothing new.
        free_bytes: memory for further models; of runners, else 0.
        models: how each model is: tag, state, reason, replicas, counters; see ModelReport. Of runners, those that are
            loaded or being loaded; of batchers, those with something to say.
        counters: of the process since its start, by name; unsigned 64-bit integers.
    """

    role: Role
    id: str
    state: BeatState
    free_bytes: int
    models: Sequence[ModelReport]
    counters: Mapping[str, int]


class Result(NamedTuple):
    """Model process -> runner: results of some entries of a batch.

    Attributes:
        batch_id: of the batch.
        compute_us: since the batch was begun.
        last: whether all entries of the batch are answered now.
        index: positions of the entries in the batch.
        rows: as in Reply.
        body_kinds: as in Request.
        head: as in Reply.
        bodies: as in Reply.
    """

    batch_id: int
    compute_us: int
    last: bool
    index: tuple[int, ...]  # type: ignore[assignment]  # shadows a method that nobody calls
    rows: tuple[int, ...]
    body_kinds: bytes
    head: bytes
    bodies: Sequence[Buffer]


class Fault(NamedTuple):
    """Model process -> runner: some entries of a batch ended with this error.

    Attributes:
        batch_id: of the batch.
        compute_us: since the batch was begun.
        last: whether all entries of the batch are answered now.
        code: as in Failure.
        message: as in Failure.
        index: positions of the entries in the batch.
    """

    batch_id: int
    compute_us: int
    last: bool
    code: str
    message: str
    index: tuple[int, ...]  # type: ignore[assignment]  # shadows a method that nobody calls


class Loaded(NamedTuple):
    """Model process -> runner: the model is loaded and warm, or cannot be.

    Attributes:
        code: empty, or why it cannot be loaded.
        message: the same for people.
        rss_bytes: memory of the process.
    """

    code: str
    message: str
    rss_bytes: int


class Prepare(NamedTuple):
    """Gateway -> batcher, about a model that is, will be or will not be called.

    Attributes:
        op: `know` (what it needs, should a request follow), `succeed` (it is about to take the place of other versions:
            load it wherever these are) or `release` (another version took its place: it may leave when nobody has
            called it for a while).
        gateway: its id.
        model: as in Request.
        version: as in Request.
        digest: as in Request.
        needs: what a runner must have to load it: `python=3.11`, `scikit-learn=1` (a distribution and its major
            version), `gpu` or `gpu=N`.
    """

    op: PrepareOp
    gateway: str
    model: str
    version: str
    digest: str
    needs: Sequence[str]


class Traits(NamedTuple):
    """What a runner has, said before each of its heartbeats, on the same subject.

    Attributes:
        id: of the runner.
        traits: as in Prepare; a model may go to a runner that has all that it needs.
    """

    id: str
    traits: Sequence[str]


Frame = (
    Request
    | Batch
    | Reply
    | Failure
    | Cancel
    | Event
    | Control
    | Heartbeat
    | Result
    | Fault
    | Loaded
    | Report
    | Prepare
    | Traits
)

KINDS: Final[dict[int, tuple[type[Any], str]]] = {
    1: (Request, "ssssiiiiNQUQBRTKHV"),
    2: (Batch, "isiissssiiNlBQUQUBRTKHV"),
    3: (Reply, "siiQUUKHV"),
    4: (Failure, "smiQ"),
    5: (Cancel, "sQ"),
    6: (Event, "sssssiIiismi"),
    7: (Control, "sssssi"),
    8: (Heartbeat, "sssiMC"),
    9: (Result, "iibUUKHV"),
    10: (Fault, "iibsmU"),
    11: (Loaded, "smi"),
    12: (Report, "smi"),
    13: (Prepare, "ssssst"),
    14: (Traits, "st"),
}
"""Number of each kind on the wire, its class, and one letter per field; fields.py says what the letters mean."""
