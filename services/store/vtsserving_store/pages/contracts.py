"""The contracts of a model's methods as its page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vtsserving._model.contract_record import CONTRACT, read_contracts
from vtsserving._model.contract_text import (
    RULE_OF_0_1,
    ArgumentText,
    ResultText,
    argument_texts,
    result_source,
    result_texts,
)
from vtsserving._model.signature import read_signatures
from vtsserving.exceptions import VtsServingException


class MethodShown(NamedTuple):
    """One method's contract in words.

    Attributes:
        method: its name.
        arguments: in order.
        more: whether it takes other named arguments.
        results: parts of its result; empty where nobody described it.
        source: where the description of the result comes from.
    """

    method: str
    arguments: list[ArgumentText]
    more: bool
    results: list[ResultText]
    source: str


class ContractsShown(NamedTuple):
    """What a model's page says of contracts.

    Attributes:
        note: a sentence in place of tables; empty where there are some.
        methods: the tables.
    """

    note: str
    methods: list[MethodShown]


def shown_contracts(tag: str, info: Mapping[str, Any], extra: Mapping[str, Any]) -> ContractsShown:
    """The contracts of a model; a sentence where it has none, or none that can be read here.

    Args:
        tag: of the model.
        info: the values of its model.yaml.
        extra: its manifest's.
    """
    record = extra.get(CONTRACT)
    if record is None:
        return ContractsShown(RULE_OF_0_1, [])
    try:
        contracts = read_contracts(record, read_signatures(info.get("signatures") or {}), tag)
    except VtsServingException as error:
        return ContractsShown(error.message, [])
    return ContractsShown(
        "",
        [
            MethodShown(name, argument_texts(one), one.takes_more, result_texts(one), result_source(one))
            for name, one in contracts.items()
        ],
    )
