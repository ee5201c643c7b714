"""Several inputs or outputs in one body, each with a descriptor of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

from vtsserving.exceptions import (
    BadInput,
    BadModelOutput,
    InvalidArgument,
    UnknownField,
    VtsServingException,
)
from vtsserving.io.base import Body, Content, IODescriptor
from vtsserving.io.form_parts import FORM, read_part, split
from vtsserving.io.part_rules import OptionalPart, Repeated, check_part
from vtsserving.io.text import Text

REPEATED: Final = "x-vts-repeated"
"""Key of a schema whose items are parts of their own."""

_BRACKETS: Final = "[]"
"""The mark that some clients write after the name of a part that comes several times."""


class Multipart(IODescriptor):
    """Named parts, multipart/form-data; the function takes and returns one value per name.

    Args:
        inputs: part name to its descriptor; `Repeated` and `OptionalPart` say how often the part comes.
    """

    media_types = (FORM,)

    def __init__(self, **inputs: IODescriptor | Repeated | OptionalPart) -> None:
        if not inputs:
            raise InvalidArgument(
                "Multipart takes descriptors by name: Multipart(image=Image(), note=Text())"
            )
        self._rules = {name: one for name, one in inputs.items() if isinstance(one, Repeated | OptionalPart)}
        self.inputs: Mapping[str, IODescriptor] = {
            name: one.part if isinstance(one, Repeated | OptionalPart) else check_part(one)
            for name, one in inputs.items()
        }

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the parts that may not be left out."""
        return tuple(name for name in self.inputs if not self._may_be_left_out(name))

    def _may_be_left_out(self, name: str) -> bool:
        rule = self._rules.get(name)
        return isinstance(rule, OptionalPart) or (isinstance(rule, Repeated) and not rule.at_least)

    def check_packages(self) -> None:
        """See IODescriptor.check_packages."""
        for part in self.inputs.values():
            part.check_packages()

    def read(self, body: Body) -> dict[str, Any]:
        """See IODescriptor.read; a dict with a value for each name."""
        if body.media_type != self.media_types[0] or not body.boundary:
            raise BadInput(f"send multipart/form-data with the parts {', '.join(self.inputs)}")
        parts = self._collected(split(body))
        missing = [name for name in self.required if not parts[name]]
        if missing:
            raise BadInput(f"the part {missing[0]!r} is missing")
        values = {}
        for name in self.inputs:
            try:
                values[name] = self._value(name, parts[name])
            except VtsServingException as error:
                error.args = (f"the part {name!r}: {error.message}",)
                raise
        return values

    def _collected(self, parts: Iterable[tuple[str, Body]]) -> dict[str, list[Body]]:
        """The parts by name, without those that a browser sends of a field that is empty."""
        found: dict[str, list[Body]] = {name: [] for name in self.inputs}
        for given, part in parts:
            name = given.removesuffix(_BRACKETS) if given not in found else given
            if name not in found or (name != given and not isinstance(self._rules.get(name), Repeated)):
                known = ", ".join(self.inputs)
                raise UnknownField(f"unknown part {given[:80]!a}; the parts are {known}")
            if found[name] and not isinstance(self._rules.get(name), Repeated):
                raise BadInput(f"the part {name[:80]!a} is there twice")
            if not (name in self._rules and self._is_empty(name, part)):
                found[name].append(part)
        return found

    def _is_empty(self, name: str, part: Body) -> bool:
        return not part.data and not part.filename and not isinstance(self.inputs[name], Text)

    def _value(self, name: str, parts: list[Body]) -> Any:
        rule, descriptor = self._rules.get(name), self.inputs[name]
        if isinstance(rule, Repeated):
            if not rule.at_least <= len(parts) <= rule.at_most:
                raise BadInput(
                    f"it comes {len(parts)} times; it may come {rule.at_least} to {rule.at_most} times"
                )
            return [read_part(descriptor, part) for part in parts]
        if isinstance(rule, OptionalPart) and not parts:
            return rule.default
        return read_part(descriptor, parts[0])

    def write(self, value: Any) -> Content:
        """See IODescriptor.write."""
        return self.write_as(value, "")

    def write_as(self, value: Any, accept: str) -> Content:
        """See IODescriptor.write_as; what is accepted goes for the parts, too."""
        if not isinstance(value, Mapping) or not set(self.required) <= set(value) <= set(self.inputs):
            raise BadModelOutput(f"the function must return a dict with {', '.join(self.inputs)}")
        boundary = secrets.token_hex(16)
        pieces = []
        for name, descriptor in self.inputs.items():
            for one in self._written(name, value.get(name)):
                content = _write_part(name, descriptor, one, accept)
                pieces.append(
                    f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n'
                    f"content-type: {content.media_type}\r\n\r\n".encode()
                    + content.data
                    + b"\r\n"
                )
        pieces.append(f"--{boundary}--\r\n".encode())
        return Content(b"".join(pieces), f"multipart/form-data; boundary={boundary}")

    def _written(self, name: str, value: Any) -> list[Any]:
        """The values of the parts of one name."""
        rule = self._rules.get(name)
        if isinstance(rule, Repeated):
            values = [] if value is None else value
            if not isinstance(values, list | tuple) or not rule.at_least <= len(values) <= rule.at_most:
                raise BadModelOutput(
                    f"the part {name!r}: expected a list of {rule.at_least} to {rule.at_most} values"
                )
            return list(values)
        return [] if isinstance(rule, OptionalPart) and value is None else [value]

    def to_spec(self) -> dict[str, Any]:
        """See IODescriptor.to_spec."""
        inputs = {name: {**part.to_spec(), **self._rule_spec(name)} for name, part in self.inputs.items()}
        return {**super().to_spec(), "inputs": inputs}

    def _rule_spec(self, name: str) -> dict[str, Any]:
        rule = self._rules.get(name)
        if isinstance(rule, Repeated):
            return {"repeated": {"at_least": rule.at_least, "at_most": rule.at_most}}
        return {} if rule is None else {"optional": True}

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        return self._object_of({name: part.schema() for name, part in self.inputs.items()})

    def result_schema(self) -> dict[str, Any]:
        """See IODescriptor.result_schema."""
        return self._object_of({name: part.result_schema() for name, part in self.inputs.items()})

    def _object_of(self, properties: dict[str, Any]) -> dict[str, Any]:
        for name, rule in self._rules.items():
            if isinstance(rule, Repeated):
                properties[name] = {
                    "type": "array",
                    REPEATED: True,  # else an array in one part looks the same
                    "items": properties[name],
                    "minItems": rule.at_least,
                    "maxItems": rule.at_most,
                }
        return {"type": "object", "properties": properties, "required": list(self.required)}

    def content_schema(self, *, result: bool = False) -> dict[str, Any]:
        """See IODescriptor.content_schema."""
        schema = self.result_schema() if result else self.schema()
        encoding = {name: {"contentType": ", ".join(part.media_types)} for name, part in self.inputs.items()}
        return {self.media_types[0]: {"schema": schema, "encoding": encoding}}


def _write_part(name: str, descriptor: IODescriptor, value: Any, accept: str) -> Content:
    try:
        return descriptor.write_as(value, accept)
    except BadModelOutput as error:
        raise BadModelOutput(f"the part {name!r}: {error.message}") from error
