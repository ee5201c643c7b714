"""What a serving process knows of models: a tag resolved to an exact version, its digest, and how it may be called.

Requests look here first, so a hit costs one dict lookup and no I/O. An entry is fresh for 5 s; for a while after that
it is still served while it is renewed in the background, and for as long as the store is down.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from vtsserving import _clock
from vtsserving._catalog.placement import required_traits
from vtsserving._codecs.sent_table import SentTable
from vtsserving._contract.arguments import Arguments
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_record import CONTRACT, read_contracts
from vtsserving._model.options import ModelOptions
from vtsserving._model.settings import Configured, layered, merge
from vtsserving._model.signature import CALL, ModelSignature
from vtsserving._recent import RecentDict
from vtsserving._wire.call_rule import CallRule
from vtsserving._wire.limits import MAX_SIZES
from vtsserving._wire.rows import Packed, pack_call
from vtsserving.exceptions import InvalidArgument, MethodNotFound, NotFound, Unavailable

if TYPE_CHECKING:
    from vtsserving._local_store.model import Model
    from vtsserving._local_store.store import LocalStore
    from vtsserving._model.info import ModelInfo

_log = logging.getLogger(__name__)

TTL_S: Final = 5.0
"""How long an entry counts as fresh."""

STALE_S: Final = 5.0
"""How long after that it is still served while it is renewed; then a request waits for the renewal."""

MAX_ENTRIES: Final = 4_096
"""Most tags that are remembered."""

MAX_BATCH_BYTES: Final = 6 * 1024 * 1024
"""Most bytes of inputs in one batch; the cluster's bus carries 8 MB."""


class Method(NamedTuple):
    """How a method is called over the bus.

    Attributes:
        name: of the method.
        rule: which arguments are rows, and along which axis.
        max_rows: most rows in one batch; 0 when calls are never merged.
        max_bytes: most bytes of inputs in one batch.
        max_wait_us: how long a call may wait for company, microseconds.
        hang_us: how long a call may run before the model process counts as hung, microseconds; 0: for ever.
        max_latency_s: a call that is not answered within this time is refused as overload; infinite: never.
        sizes: numbers of rows that batches are filled up to, ascending; empty for any number.
        contract: of the method.
    """

    name: str
    rule: CallRule
    max_rows: int
    max_bytes: int
    max_wait_us: int
    hang_us: int
    max_latency_s: float = math.inf
    sizes: tuple[int, ...] = ()
    contract: MethodContract = MethodContract()

    @property
    def axis(self) -> int | None:
        """The axis of rows in arguments; None when calls are never merged."""
        return self.rule.axis


NEVER_US: Final = 0
"""A call may take as long as it likes."""

NO_ROW_LIMIT: Final = 1 << 30


@dataclass(frozen=True)
class CatalogEntry:
    """One version of a model, as far as serving needs it.

    Attributes:
        name: of the model.
        version: exact.
        digest: of its manifest, `sha256:` and 64 hex digits.
        signatures: method name to signature.
        options: how it is served now.
        input_specs: method name to `{"args": [{"name", "dtype", "shape"}]}`, where recorded.
        module: framework module that saved it.
        ordinal: its number among the versions of its name, from 1; 0 if unknown.
        input_example: the arguments of one call as JSON values, where recorded.
        settings: those of the options that are not the model's own; see model_settings.
        saved: the model's own options; None: `options` are.
        needs: what a runner must have to load it; see placement.
        contract_record: the contracts of its methods as they are recorded; None: 0.1 saved it.
    """

    name: str
    version: str
    digest: str
    signatures: Mapping[str, ModelSignature]
    options: ModelOptions = field(default_factory=ModelOptions)
    input_specs: Mapping[str, Any] = field(default_factory=dict)
    output_specs: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""
    ordinal: int = 0
    input_example: Sequence[Any] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    saved: ModelOptions | None = None
    needs: tuple[str, ...] = ()
    contract_record: Any = None

    @classmethod
    def of(cls, info: ModelInfo, digest: str, settings: Mapping[str, Any] | None = None) -> CatalogEntry:
        """The entry of a model's info and digest, with the options that were changed since it was saved."""
        return cls(
            info.name,
            info.version,
            digest,
            info.signatures,
            _layered(info.options, settings or {}),
            info.input_specs,
            info.output_specs,
            info.module,
            info.ordinal,
            info.input_example,
            settings or {},
            info.options,
            required_traits(info),
            info.extra.get(CONTRACT),
        )

    def with_overrides(self, overrides: Mapping[str, Any]) -> CatalogEntry:
        """The same model for a runner with options of its own: they win over the saved ones only."""
        saved = self.saved or self.options
        return dataclasses.replace(self, options=_layered(saved, overrides, self.settings))

    @cached_property
    def tag(self) -> str:
        """`name:version`."""
        return f"{self.name}:{self.version}"

    @cached_property
    def contracts(self) -> Mapping[str, MethodContract]:
        """Method name to contract; raises as `ModelInfo.contracts`."""
        return read_contracts(self.contract_record, self.signatures, self.tag)

    @cached_property
    def _methods(self) -> dict[str, Method]:
        methods = {}
        for name, contract in self.contracts.items():
            options = self.options.of_method(name)
            hang_us = NEVER_US if options.timeout_s is None else int(options.timeout_s * 1e6)
            latency_s = math.inf if options.max_latency_ms is None else options.max_latency_ms / 1000
            rule = contract.rule
            max_rows = (options.max_batch_size or NO_ROW_LIMIT) if rule.axis is not None else 0
            wait_us = int(options.max_wait_ms * 1000)
            sizes = (options.pad_to or ()) if rule.axis is not None else ()
            methods[name] = Method(
                name,
                rule,
                max_rows,
                MAX_BATCH_BYTES,
                wait_us,
                hang_us,
                latency_s,
                sizes[:MAX_SIZES],
                contract,
            )
        return methods

    def arguments(self, method: str) -> Arguments:
        """What is known of a method's arguments."""
        found = self._arguments.get(method)
        if found is None:
            specs = self.input_specs.get(method) or {}
            found = self._arguments[method] = Arguments(self.contracts[method], specs, SentTable)
        return found

    @cached_property
    def _arguments(self) -> dict[str, Arguments]:
        return {}

    def pack(self, method: Method, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Packed:
        """Check the arguments of a call against the contract, and pack them.

        Raises:
            BadInput: of its many kinds, as `Arguments.conform`.
            UnsupportedValue: an argument cannot be sent.
        """
        given, named = self.arguments(method.name).conform(args, kwargs)
        return pack_call(given, named, method.rule)

    def method(self, name: str = "") -> Method:
        """How to call a method.

        Args:
            name: of the method; empty for `__call__`, or for the only one.

        Raises:
            MethodNotFound: the model has no such signature; names those it has.
        """
        methods = self._methods
        if not name:
            name = CALL if CALL in methods or len(methods) != 1 else next(iter(methods))
        found = methods.get(name)
        if found is None:
            wanted = f"no method {name!r}" if name != CALL else "several methods; name one"
            raise MethodNotFound(f"{self.tag} has {wanted}; it has {', '.join(sorted(methods)) or 'none'}")
        return found


def _layered(base: ModelOptions, *layers: Mapping[str, Any]) -> ModelOptions:
    """As `layered`; a record that cannot be applied, of a newer version perhaps, must not stop the model."""
    try:
        return layered(base, *layers)
    except InvalidArgument as error:
        _log.warning("settings_not_applied", extra={"reason": error.message})
        return base


Settle = Callable[[str, CatalogEntry, CatalogEntry], CatalogEntry]
"""Says what a tag means for now; called with (tag, what it meant, what the store says), also if these are equal."""


class Catalog(Protocol):
    """Resolves tags for requests."""

    def peek(self, tag: str) -> CatalogEntry | None:
        """What is remembered for a tag as the user wrote it; no I/O. None: call `resolve`."""

    async def resolve(self, tag: str) -> CatalogEntry:
        """The model that a tag names now.

        Raises:
            ModelNotFound, VersionNotFound: there is none.
            InvalidTag: it is no tag.
            StoreUnavailable: the store cannot be reached and nothing is remembered.
        """

    def invalidate(self, name: str | None = None) -> None:
        """Forget what is remembered of one model, or of all: something changed in the store."""

    def on_move(self, settle: Settle) -> None:
        """Have `settle` decide what a tag means that was looked up again; without, what was found counts at once."""

    def move(self, tag: str, entry: CatalogEntry) -> None:
        """Let a tag mean a version from now on, as `resolve` would find."""

    async def models(self, name: str | None = None) -> list[CatalogEntry]:
        """All versions of one model, or of all models, newest first; looked up anew.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """


class _Remembered(NamedTuple):
    entry: CatalogEntry
    fetched_s: float


class CachedCatalog:
    """A Catalog over a function that looks a tag up and may block; it runs in a thread."""

    def __init__(
        self, fetch: Callable[[str], CatalogEntry], fetch_all: Callable[[str | None], list[CatalogEntry]]
    ) -> None:
        """Remember what `fetch(tag)` returns; it raises as `Catalog.resolve` does, `fetch_all(name)` as `models`."""
        self._fetch = fetch
        self._fetch_all = fetch_all
        self._remembered: RecentDict[str, _Remembered] = RecentDict(MAX_ENTRIES)
        self._running: dict[str, asyncio.Task[CatalogEntry]] = {}
        self._settle: Settle = lambda tag, old, new: new

    def peek(self, tag: str) -> CatalogEntry | None:
        """See Catalog.peek; an entry that is a little old is served once more and renewed meanwhile."""
        remembered = self._remembered.get(tag)
        if remembered is None:
            return None
        age_s = _clock.monotonic_s() - remembered.fetched_s
        if age_s < TTL_S:
            return remembered.entry
        if age_s >= TTL_S + STALE_S:
            return None
        self._renewal(tag)
        return remembered.entry

    async def resolve(self, tag: str) -> CatalogEntry:
        """See Catalog.resolve; callers that ask for one tag at the same time share one look-up."""
        remembered = self._remembered.get(tag)
        if remembered is not None and _clock.monotonic_s() - remembered.fetched_s < TTL_S:
            return remembered.entry
        try:
            return await asyncio.shield(self._renewal(tag))
        except Unavailable:
            if remembered is None:
                raise
            return remembered.entry

    def invalidate(self, name: str | None = None) -> None:
        """See Catalog.invalidate; what is forgotten is still served while the store is down."""
        for tag, remembered in list(self._remembered.items()):
            if name is None or remembered.entry.name == name:
                self._remembered[tag] = remembered._replace(fetched_s=-TTL_S - STALE_S)

    def on_move(self, settle: Settle) -> None:
        """See Catalog.on_move."""
        self._settle = settle

    def move(self, tag: str, entry: CatalogEntry) -> None:
        """See Catalog.move."""
        # Of its age: should it have moved on meanwhile, that is found as soon as it would have been.
        remembered = self._remembered.get(tag) or _Remembered(entry, _clock.monotonic_s())
        self._remembered[tag] = remembered._replace(entry=entry)

    async def models(self, name: str | None = None) -> list[CatalogEntry]:
        """See Catalog.models."""
        return await asyncio.to_thread(self._fetch_all, name)

    def _renewal(self, tag: str) -> asyncio.Task[CatalogEntry]:
        task = self._running.get(tag)
        if task is None:
            task = self._running[tag] = asyncio.get_running_loop().create_task(self._renew(tag))
            task.add_done_callback(lambda done: self._finished(tag, done))
        return task

    async def _renew(self, tag: str) -> CatalogEntry:
        try:
            entry = await asyncio.to_thread(self._fetch, tag)
        except NotFound:
            self._remembered.pop(tag, None)
            raise
        before = self._remembered.get(tag)
        if before is not None:
            entry = self._settle(tag, before.entry, entry)
        self._remembered[tag] = _Remembered(entry, _clock.monotonic_s())
        return entry

    def _finished(self, tag: str, done: asyncio.Task[CatalogEntry]) -> None:
        self._running.pop(tag, None)
        # Those who wait get the error; a renewal in the background has nobody, and the next request tries again.
        with contextlib.suppress(asyncio.CancelledError):
            done.exception()


class LocalCatalog(CachedCatalog):
    """The catalog of the local model store."""

    def __init__(self, store: LocalStore) -> None:
        """Resolve tags in `store`.

        Raises:
            ConfigurationError: the configuration has an impossible option of a model.
        """
        configured = Configured()

        def entry(model: Model) -> CatalogEntry:
            settings = merge(store.settings(model.tag), configured.of(model.tag.name))
            return CatalogEntry.of(model.info, model.digest, settings)

        def fetch(tag: str) -> CatalogEntry:
            return entry(store.get(tag))

        def fetch_all(name: str | None) -> list[CatalogEntry]:
            return [entry(model) for model in store.list(name)]

        super().__init__(fetch, fetch_all)
