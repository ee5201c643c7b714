"""Options of models that are changed after they were saved: in a store, or in the configuration of a process.

What counts, the stronger first: the configuration of the process (`[models.iris_clf]` in vtsserving.toml, or
VTSSERVING_MODELS__IRIS_CLF__MAX_BATCH_SIZE), the store's record of the version, its record of the name, what a Runner
was given in code, what the model was saved with, the defaults. What one method has of its own wins over all of these.

A record is `{"options": {...}, "versions": {version: {...}}}`: options for all versions of a name, and for single ones.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from vtsserving._model.options import PER_METHOD, ModelOptions
from vtsserving._model.signature import check_method_name
from vtsserving._record_format import newer
from vtsserving.exceptions import ConfigurationError, InvalidArgument

PREFIX: Final = "VTSSERVING_MODELS__"

SETTABLE: Final = (*PER_METHOD, "threads", "replicas", "device", "method_configs")
"""What can be changed; the first four hold from the next request on, the others when the model is loaded next."""

MAX_RECORD_CHARS: Final = 64 * 1024
"""Longest record, as JSON."""

_INTEGERS: Final = frozenset(("max_batch_size", "threads", "replicas"))
_NAME_SIGNS: Final = re.compile(r"[-.]")

Record = Mapping[str, Any]


def layered(base: ModelOptions, *layers: Mapping[str, Any]) -> ModelOptions:
    """Options with others laid over them, the later ones on top; method by method in `method_configs`.

    Raises:
        InvalidArgument: a value is impossible.
    """
    if not any(layers):
        return base
    merged = base.to_dict()
    for layer in layers:
        merged = merge(merged, layer)
    return ModelOptions.from_dict(merged, strict=False)


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One dict of options over another."""
    merged = {**below, **above}
    if below.get("method_configs") and above.get("method_configs"):
        lower, upper = below["method_configs"], above["method_configs"]
        merged["method_configs"] = {
            name: {**lower.get(name, {}), **upper.get(name, {})} for name in (*lower, *upper)
        }
    return merged


# --- records -----------------------------------------------------------------------------------------------------


def of_version(record: Record | None, version: str) -> dict[str, Any]:
    """The options that a record has for one version."""
    if not record:
        return {}
    return merge(_options(record.get("options")), _options(_options(record.get("versions")).get(version)))


def edited(
    record: Record | None, version: str | None, changes: Mapping[str, Any], reset: Iterable[str] = ()
) -> dict[str, Any]:
    """The record after a change.

    Args:
        record: as it is now; None if there is none.
        version: exact; None changes what counts for all versions.
        changes: option to value; an option of one method is `method.option`.
        reset: options, written in the same way, that are to be the model's own again; `all` resets every one.

    Returns:
        A new record.

    Raises:
        InvalidArgument: an option is unknown, or its value impossible.
        NewerFormat: the record has options that only a later release knows.
    """
    _check_known(record)
    names = {"options": _options((record or {}).get("options"))}
    versions = dict(_options((record or {}).get("versions")))
    before = names["options"] if version is None else _options(versions.get(version))
    after = _changed(before, changes, list(reset))
    ModelOptions.from_dict(after)
    if version is None:
        names["options"] = after
    else:
        versions[version] = after
    more = {key: value for key, value in (record or {}).items() if key not in ("options", "versions")}
    record = {**more, **names, "versions": {key: value for key, value in versions.items() if value}}
    if len(json.dumps(record)) > MAX_RECORD_CHARS:
        raise InvalidArgument("there are too many changed options; reset some")
    return record


def _check_known(record: Record | None) -> None:
    """Refuse to change a record with an option that this release does not know: it could not check the result."""
    if not record:
        return
    for options in (_options(record.get("options")), *_options(record.get("versions")).values()):
        unknown = sorted(_options(options).keys() - set(ModelOptions.__dataclass_fields__))
        if unknown:
            raise newer(
                f"the record of changed options has {unknown[0]!a:.80}", release=record.get("release")
            )


def _changed(before: Mapping[str, Any], changes: Mapping[str, Any], reset: list[str]) -> dict[str, Any]:
    after = {} if "all" in reset else {k: dict(v) if isinstance(v, dict) else v for k, v in before.items()}
    methods = {name: dict(own) for name, own in after.pop("method_configs", {}).items()}
    for name in reset:
        method, dot, option = name.rpartition(".")
        (methods.get(method, {}) if dot else after).pop(option, None)
    for name, value in changes.items():
        method, dot, option = name.rpartition(".")
        if option not in (PER_METHOD if dot else SETTABLE):
            known = ", ".join(PER_METHOD if dot else SETTABLE)
            raise InvalidArgument(f"there is no option {option!r:.80} to change; there are {known}")
        if option == "method_configs":
            for one, own in (ModelOptions(method_configs=value).method_configs or {}).items():
                methods[check_method_name(one)] = {**methods.get(one, {}), **own}
        elif dot:
            methods.setdefault(check_method_name(method), {})[option] = value
        else:
            after[option] = list(value) if isinstance(value, tuple) else value
    methods = {name: own for name, own in methods.items() if own}
    return {**after, "method_configs": methods} if methods else after


def _options(raw: object) -> dict[str, Any]:
    return dict(raw) if isinstance(raw, Mapping) else {}


# --- text --------------------------------------------------------------------------------------------------------


def read_value(option: str, text: str) -> Any:
    """An option's value as people write it: `64`, `2.5`, `none`, `cuda:0,cuda:1`.

    Raises:
        InvalidArgument: there is no such option, or it is no number where one is needed.
    """
    if option not in SETTABLE or option == "method_configs":
        known = ", ".join(name for name in SETTABLE if name != "method_configs")
        raise InvalidArgument(f"there is no option {option!r:.80}; there are {known}")
    text = text.strip()
    if text.lower() == "none":
        return None
    if option == "device":
        return tuple(part.strip() for part in text.split(",")) if "," in text else text
    try:
        return int(text) if option in _INTEGERS else float(text)
    except ValueError:
        raise InvalidArgument(f"{option} is a number, not {text!a:.80}") from None


# --- configuration -----------------------------------------------------------------------------------------------


def variable_part(name: str) -> str:
    """A model's name as variables of the environment have it."""
    return _NAME_SIGNS.sub("_", name).upper()


class Configured:
    """The options of models that the configuration of this process has."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """Read them.

        Args:
            environ: the environment; the process's own if None.

        Raises:
            ConfigurationError: one is unknown, or its value impossible; names the variable.
        """
        self._options: dict[str, dict[str, Any]] = {}
        for variable, text in (os.environ if environ is None else environ).items():
            if variable.startswith(PREFIX):
                name, _, option = variable[len(PREFIX) :].rpartition("__")
                if not name:
                    raise ConfigurationError(f"{variable}: write {PREFIX}NAME__OPTION")
                try:
                    value = read_value(option.lower(), text)
                    ModelOptions.from_dict({option.lower(): value})
                except InvalidArgument as error:
                    raise ConfigurationError(f"{variable}: {error.message}") from error
                self._options.setdefault(name, {})[option.lower()] = value

    def of(self, name: str) -> Mapping[str, Any]:
        """The options of one model."""
        return self._options.get(variable_part(name), {}) if self._options else {}
