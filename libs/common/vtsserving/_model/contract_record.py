"""The contracts of a model's methods in the manifest's `extra`, under a number of their own.

A release raises the number when an earlier one could misread them. Such a model can be listed, moved and kept by an
earlier release, but not loaded or served.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vtsserving._model.contract import MethodContract
from vtsserving._model.signature import ModelSignature
from vtsserving._record_format import newer
from vtsserving.exceptions import IntegrityError, InvalidSignature

CONTRACT: Final = "contract"
"""The key in `extra`."""

NUMBER: Final = 1
"""Of the contracts that this release writes, and the last that it reads."""


def write_contracts(contracts: Mapping[str, MethodContract]) -> dict[str, Any]:
    """Contracts as `extra` holds them."""
    methods = {name: contract.to_dict() for name, contract in contracts.items()}
    return {CONTRACT: {"number": NUMBER, "methods": methods}}


def read_contracts(
    record: object, signatures: Mapping[str, ModelSignature], what: str
) -> Mapping[str, MethodContract]:
    """Contracts by method name.

    Args:
        record: of `extra`; None: the model was saved by 0.1.
        signatures: the model's.
        what: names the model in errors.

    Raises:
        NewerFormat: a later release wrote it.
        IntegrityError: it is damaged.
    """
    if record is None:
        return {name: MethodContract.of_0_1(signature) for name, signature in signatures.items()}
    number = record.get("number") if isinstance(record, Mapping) else None
    if type(number) is int and number > NUMBER:
        raise newer(f"{what} has contracts of number {number}", known=str(NUMBER))
    methods = record.get("methods") if isinstance(record, Mapping) else None
    if number != NUMBER or not isinstance(methods, Mapping) or set(methods) != set(signatures):
        raise IntegrityError(f"{what} has contracts that cannot be read")
    try:
        return {name: MethodContract.from_dict(methods[name]) for name in signatures}
    except (InvalidSignature, AttributeError, TypeError) as error:
        raise IntegrityError(f"{what} has contracts that cannot be read: {error}") from error
