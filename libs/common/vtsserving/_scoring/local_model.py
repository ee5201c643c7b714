"""A model of the local store that is called in this process: the one that scores, or a model process of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vtsserving._contract.arguments import Arguments
from vtsserving._local_store.model import Model
from vtsserving._model.contract import MethodContract
from vtsserving._model.signature import CALL
from vtsserving._scoring.answering import Answerer, Call
from vtsserving._scoring.calls import CallPlan
from vtsserving._scoring.formats import Format
from vtsserving.exceptions import InvalidArgument, MethodNotFound


@dataclass(frozen=True)
class Known:
    """A method before it is called.

    Attributes:
        tag: exact, of the model.
        digest: of the model.
        method: its name.
        contract: of the method.
        recorded: specs of its arguments.
    """

    tag: str
    digest: str
    method: str
    contract: MethodContract
    recorded: Mapping[str, Any]

    def arguments(self) -> Arguments:
        """Checks arguments as online."""
        return Arguments(self.contract, self.recorded)


@dataclass(frozen=True)
class Answering:
    """A way to answer chunks; the same for every process of a run.

    Attributes:
        plan: how rows become arguments.
        output: format of the output.
        kept: columns that are copied to it.
        name: of the result's column.
    """

    plan: CallPlan
    output: Format
    kept: tuple[str, ...]
    name: str

    def answerer(self, known: Known, call: Call) -> Answerer:
        """Answers chunks by a call."""
        return Answerer(
            call,
            known.contract,
            known.arguments(),
            self.plan,
            output=self.output,
            kept=self.kept,
            name=self.name,
        )

    def to_dict(self) -> dict[str, Any]:
        """As it travels to a model process."""
        return {
            "plan": {**asdict(self.plan), "dtypes": dict(self.plan.dtypes)},
            "output": self.output,
            "kept": list(self.kept),
            "name": self.name,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Answering:
        """The reverse of `to_dict`."""
        plan = dict(raw["plan"])
        columns = plan.pop("columns")
        made = CallPlan(**plan, columns=None if columns is None else tuple(columns))
        return cls(made, raw["output"], tuple(raw["kept"]), raw["name"])


def known_of(
    tag: str, digest: str, contracts: Mapping[str, MethodContract], specs: Mapping[str, Any], method: str
) -> Known:
    """Choose a method.

    Args:
        tag: exact, of the model.
        digest: of the model.
        contracts: method to contract.
        specs: method to what is recorded of its arguments.
        method: its name; empty for `__call__`, the only one, or `predict`.

    Raises:
        MethodNotFound: the model has no such method, or several and none of these.
        InvalidArgument: nobody could tell which row a result belongs to.
    """
    only = next(iter(contracts)) if len(contracts) == 1 else ""
    chosen = method or only or next((name for name in (CALL, "predict") if name in contracts), "")
    if chosen not in contracts:
        raise MethodNotFound(
            f"{tag} has no method {chosen!r:.80}; it has {', '.join(contracts)}"
            if chosen
            else f"{tag} has several methods; say which: {', '.join(contracts)}"
        )
    contract = contracts[chosen]
    form = contract.result
    if form is not None and not form.follows_rows:
        raise InvalidArgument(
            f"the results of {chosen!r} do not follow the rows of its arguments, as its contract says: nobody could "
            "tell which row a result belongs to"
        )
    return Known(tag, digest, chosen, contract, specs.get(chosen) or {})


def known_locally(model: Model, method: str) -> Known:
    """Choose a method of a model in the local store; raises as `known_of`."""
    info = model.info
    return known_of(str(model.tag), model.digest, info.contracts, info.input_specs, method)


def loaded_call(model: Model, method: str) -> Call:
    """Load a model into this process.

    Args:
        model: of the local store.
        method: of it.

    Returns:
        A call of the method that checks its arguments against the contract, as every local runner does.

    Raises:
        VtsServingException: the model cannot be loaded here.
    """
    runner = model.to_runner()
    runner.init_local()

    def call(args: list[Any], kwargs: dict[str, Any]) -> Any:
        return runner.handle.call(method, tuple(args), kwargs)

    return call
