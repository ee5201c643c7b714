"""Which arguments of `serve` are tags, and which one is a service."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import InvalidArgument, InvalidTag, NotFound
from vtsserving.service.importing import is_importable

_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Targets(NamedTuple):
    """What is to be served.

    Attributes:
        tags: of models.
        service: `module:attribute` or `file.py:attribute`; None: no service.
    """

    tags: tuple[str, ...]
    service: str | None


def sort_targets(arguments: Sequence[str], models: Sequence[str], service: str | None) -> Targets:
    """Tell tags from services.

    A service has a left part that ends in `.py`, contains `/` or is a dotted module path. A bare `x:y` is first a tag;
    if no model `x` exists, it is module `x`, attribute `y`.

    Args:
        arguments: as the user wrote them.
        models: of `--model`: tags without doubt.
        service: of `--service`: a service without doubt.

    Raises:
        InvalidArgument: there is nothing to serve, several services, or an argument that may be both.
    """
    services = [service] if service else []
    tags = list(models)
    store = LocalStore()
    for argument in arguments:
        (services if _is_service(argument, store) else tags).append(argument)
    if len(services) > 1:
        raise InvalidArgument(f"one service at a time: {' and '.join(services)}")
    if not tags and not services:
        raise InvalidArgument("name a model (iris_clf:latest) or a service (service.py:svc)")
    return Targets(tuple(tags), services[0] if services else None)


def exact_tags(store: LocalStore, tags: Iterable[str]) -> tuple[str, ...]:
    """The exact versions that tags mean, each once.

    Args:
        store: has the models.
        tags: as the user wrote them.

    Raises:
        ModelNotFound, VersionNotFound, InvalidTag: a tag names no model of the store.
        NewerFormat: a later release wrote the contract of one, so that it cannot be served.
    """
    models = [store.get(tag) for tag in tags]
    for model in models:
        _ = model.info.contracts
    return tuple(dict.fromkeys(str(model.tag) for model in models))


def _is_service(argument: str, store: LocalStore) -> bool:
    left, colon, right = argument.partition(":")
    if left.endswith(".py") or "/" in left:
        return True
    if not colon or not _MODULE.fullmatch(left) or not _ATTRIBUTE.fullmatch(right):
        return False
    known = _has_model(left, store)
    importable = is_importable(left)
    if known and importable and "." not in left:
        # A module of that name is common (a model `iris` trained by iris.py); only an attribute of it is a conflict.
        if _defines_service(left, right):
            raise InvalidArgument(
                f"{argument} is a model's tag and a service; say --model {argument} or --service {argument}"
            )
        return False
    return importable and not known


def _has_model(name: str, store: LocalStore) -> bool:
    try:
        store.get(name)
    except (NotFound, InvalidTag):
        return False
    return True


def _defines_service(module: str, attribute: str) -> bool:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return False
    return (
        re.search(rf"^{attribute}\b", Path(spec.origin).read_text(encoding="utf-8"), re.MULTILINE) is not None
    )
