"""model.yaml: one text form, for the file and for what users are shown.

The first level below a key is indented by four blanks, deeper ones by two; PyYAML cannot do both, so the outer
mapping is written here and PyYAML writes the values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from vtsserving._record_format import check_api_version
from vtsserving.exceptions import IntegrityError

KEYS: Final = (
    "name",
    "version",
    "module",
    "labels",
    "options",
    "metadata",
    "context",
    "signatures",
    "api_version",
    "creation_time",
)
"""The keys of model.yaml, in their order."""

MAX_YAML_BYTES: Final = 2**20
"""Largest model.yaml."""


MAX_DEPTH: Final = 64
"""Deepest nesting in a model.yaml."""


def render(document: Mapping[str, Any]) -> str:
    """Write a model.yaml.

    Args:
        document: the values of KEYS, plain Python values; other keys are left out.

    Returns:
        The text, ending with a newline.
    """
    return "".join(section(key, document[key]) for key in KEYS)


def parse(raw: bytes) -> dict[str, Any]:
    """Read a model.yaml, from anywhere.

    Args:
        raw: the file's content.

    Returns:
        Its values; all of KEYS are there.

    Raises:
        IntegrityError: it is too large, no YAML, or lacks a key.
        NewerFormat: a later release wrote it.
    """
    if len(raw) > MAX_YAML_BYTES:
        raise IntegrityError(f"model.yaml has {len(raw)} bytes; at most {MAX_YAML_BYTES} are allowed")
    parsed = _load(raw)
    if isinstance(parsed, dict):
        check_version(parsed)
    missing = [key for key in KEYS if key not in parsed] if isinstance(parsed, dict) else list(KEYS)
    if missing:
        raise IntegrityError(f"model.yaml has no {missing[0]!r}")
    return dict(parsed)


def check_version(document: Mapping[str, Any]) -> None:
    """Refuse the values of a model.yaml that a later release wrote; raises NewerFormat."""
    context = document.get("context")
    release = context.get("vtsserving_version") if isinstance(context, Mapping) else None
    what = f"the model.yaml of {document.get('name')!s:.130}:{document.get('version')!s:.130}"
    check_api_version(document.get("api_version"), what, release=release)


def _load(raw: bytes) -> Any:
    import yaml  # kept out of `import vtsserving`

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(yaml.parse(raw, Loader=loader))
        return yaml.load(raw, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise IntegrityError("model.yaml is not valid YAML") from error


def _check_events(events: Iterable[Any]) -> None:
    """Refuse what loading must not see; no file of ours has any of it.

    An alias makes one small file stand for an enormous value, and loading recurses in C, where deep nesting ends the
    process.
    """
    depth = 0
    for event in events:
        kind = type(event).__name__
        if kind == "AliasEvent":
            raise IntegrityError("model.yaml has YAML aliases, which it must not")
        depth += kind.endswith(("MappingStartEvent", "SequenceStartEvent"))
        depth -= kind.endswith(("MappingEndEvent", "SequenceEndEvent"))
        if depth > MAX_DEPTH:
            raise IntegrityError(f"model.yaml is nested more than {MAX_DEPTH} deep")


def section(key: str, value: Any) -> str:
    """Write one key as model.yaml has it; the text ends with a newline."""
    if not isinstance(value, dict) or not value:
        return _dump({key: value})
    return f"{key}:\n" + "".join(f"    {line}\n" for line in _dump(value).split("\n")[:-1])


def _dump(value: Any) -> str:
    import yaml  # kept out of `import vtsserving`

    class PlainDumper(yaml.SafeDumper):
        """Repeats a value that occurs twice instead of writing an alias; writes each text on one line."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = None if text.isprintable() else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    PlainDumper.add_representer(str, represent_text)
    form: dict[str, Any] = {
        "Dumper": PlainDumper,
        "sort_keys": False,
        "width": 2**31,
        "default_flow_style": False,
    }
    text: str = yaml.dump(value, allow_unicode=True, **form)
    if not all(line.isprintable() for line in text.split("\n")):
        # Marks that reverse or hide text are for YAML characters like others; users shall see them escaped.
        text = yaml.dump(value, allow_unicode=False, **form)
    return text
