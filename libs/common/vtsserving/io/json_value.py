"""JSON values, checked by a pydantic model where one is given."""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from vtsserving._codecs.json_strict import read
from vtsserving._codecs.json_write import to_json
from vtsserving.exceptions import BadInput, BadModelOutput, InvalidArgument, WrongType
from vtsserving.io.base import Body, Content, IODescriptor, require

MAX_FAULTS: Final = 5
"""Most places of one body that an error names."""


class JSON(IODescriptor):
    """Any JSON value.

    Args:
        pydantic_model: what the function gets and what its results are checked against.
        validate_json: whether a body that does not fit the model is refused (422), and a result (500); else the plain
            value is passed on.
        json_encoder: a json.JSONEncoder class for values that JSON does not know.
    """

    def __init__(
        self,
        *,
        pydantic_model: type[Any] | None = None,
        validate_json: bool | None = None,
        json_encoder: type[json.JSONEncoder] | None = None,
    ) -> None:
        if pydantic_model is not None and not hasattr(pydantic_model, "model_validate"):
            raise InvalidArgument("pydantic_model is a class derived from pydantic.BaseModel")
        if validate_json and pydantic_model is None:
            raise InvalidArgument("validate_json needs a pydantic_model")
        self._model = pydantic_model
        self._validates = validate_json is not False
        self._encoder = json_encoder
        self._example: Any = None

    @classmethod
    def from_sample(cls, sample: Any, **options: Any) -> JSON:
        """A descriptor with an example for the documentation; a pydantic object gives its model, too."""
        if hasattr(sample, "model_dump"):
            options.setdefault("pydantic_model", type(sample))
            sample = sample.model_dump(mode="json")
        made = cls(**options)
        made._example = sample
        return made

    def read(self, body: Body) -> Any:
        """See IODescriptor.read."""
        value = read(require(body.data, "a JSON value"))
        if self._model is None or not self._validates:
            return value
        import pydantic

        try:
            # Of the text, not of `value`: dates, sets and the like are text and lists in JSON, for strict models, too.
            return self._model.model_validate_json(body.data)
        except pydantic.ValidationError as error:
            raise WrongType(_faults(error)) from None
        except RecursionError:
            raise BadInput("the body refers to itself") from None

    def write(self, value: Any) -> Content:
        """See IODescriptor.write."""
        data = self._encoded(value)
        if self._model is not None and self._validates and not isinstance(value, self._model):
            data = self._fitted(data)
        return Content(data, "application/json")

    def _encoded(self, value: Any) -> bytes:
        if self._encoder is None:
            return to_json(value)
        if hasattr(value, "model_dump"):
            value = value.model_dump(mode="json", by_alias=True)
        try:
            return json.dumps(value, cls=self._encoder, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise BadModelOutput(f"the result has no JSON form: {error}") from error

    def _fitted(self, data: bytes) -> bytes:
        """The value as the model has it: what the document says of the answer is then true."""
        import pydantic

        assert self._model is not None
        try:
            return to_json(self._model.model_validate_json(data))
        except pydantic.ValidationError as error:
            raise BadModelOutput(f"the result is no {self._model.__name__}: {_faults(error)}") from error

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        return self._schema("validation")

    def result_schema(self) -> dict[str, Any]:
        """See IODescriptor.result_schema."""
        return self._schema("serialization")

    def _schema(self, mode: Literal["validation", "serialization"]) -> dict[str, Any]:
        schema: dict[str, Any] = self._model.model_json_schema(mode=mode) if self._model is not None else {}
        return {**schema, "examples": [self._example]} if self._example is not None else schema


def _faults(error: Any) -> str:
    """Where a value does not fit its model, and why: the first few places of a pydantic.ValidationError."""
    found = error.errors(include_url=False, include_context=False)
    said = [
        f"{'.'.join(str(part) for part in one['loc']) or 'the body'}: {one['msg']}"
        for one in found[:MAX_FAULTS]
    ]
    more = len(found) - len(said)
    return "; ".join([*said, f"and {more} more"] if more else said)
