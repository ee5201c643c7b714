"""DataFrames and Series as JSON, CSV or Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final, Literal

from vtsserving._codecs.json_strict import read
from vtsserving.exceptions import (
    BadDtype,
    BadInput,
    BadModelOutput,
    BadShape,
    InvalidArgument,
    MissingDependency,
)
from vtsserving.io.base import Body, Content, IODescriptor, preferred, require
from vtsserving.io.table_json import (
    frame_from_json,
    frame_schema,
    frame_to_json,
    series_from_json,
    series_schema,
    series_to_json,
)

Orient = Literal["records", "columns", "index", "split", "values"]
ORIENTS: Final = ("records", "columns", "index", "split", "values")
PARQUET: Final = "application/vnd.apache.parquet"
_FORMATS: Final = {"json": "application/json", "csv": "text/csv", "parquet": PARQUET}
_PARQUET_MAGIC: Final = b"PAR1"
_NEEDS_ARROW: Final = "Parquet needs a package: pip install 'vtsserving[arrow]'"


class PandasDataFrame(IODescriptor):
    """A DataFrame.

    Args:
        orient: of JSON, as pandas names it.
        columns: names that the columns must have.
        apply_column_names: name the columns so, instead of checking them.
        dtype: one for all columns, or column name to dtype.
        enforce_dtype: refuse what cannot be cast to `dtype`.
        shape: (rows, columns), -1 for any.
        enforce_shape: refuse other shapes.
        default_format: json, csv or parquet: what is written, and read where the client says nothing.
    """

    def __init__(
        self,
        orient: Orient = "records",
        columns: Sequence[str] | None = None,
        apply_column_names: bool = False,
        dtype: Any = None,
        enforce_dtype: bool = False,
        shape: Sequence[int] | None = None,
        enforce_shape: bool = False,
        default_format: Literal["json", "csv", "parquet"] = "json",
    ) -> None:
        if orient not in ORIENTS:
            raise InvalidArgument(f"orient is one of {', '.join(ORIENTS)}, not {orient!r}")
        if default_format not in _FORMATS:
            raise InvalidArgument(f"default_format is one of {', '.join(_FORMATS)}, not {default_format!r}")
        if apply_column_names and columns is None:
            raise InvalidArgument("apply_column_names needs columns")
        first = _FORMATS[default_format]
        self.media_types = (first, *(other for other in _FORMATS.values() if other != first))
        self._orient = orient
        self._columns = None if columns is None else list(columns)
        self._apply_names = apply_column_names
        self._dtype = dtype
        self._enforce_dtype = enforce_dtype
        self._shape = None if shape is None else tuple(shape)
        self._enforce_shape = enforce_shape
        self._example: Any = None

    @classmethod
    def from_sample(cls, sample: Any, orient: Orient = "records", **options: Any) -> PandasDataFrame:
        """A descriptor of frames with the sample's columns."""
        made = cls(orient, columns=[str(name) for name in sample.columns], **options)
        made._example = read(frame_to_json(sample.head(2), orient))
        return made

    def check_packages(self) -> None:
        """See IODescriptor.check_packages."""
        _pandas()

    def read(self, body: Body) -> Any:
        """See IODescriptor.read."""
        pd = _pandas()
        require(body.data, f"a table ({', '.join(self.media_types)})")
        media_type = body.media_type if body.media_type in self.media_types else self._guessed(body.data)
        try:
            if media_type == PARQUET:
                frame = pd.read_parquet(io.BytesIO(body.data))
            elif media_type == "text/csv":
                frame = pd.read_csv(io.BytesIO(body.data))
            else:
                frame = frame_from_json(pd, read(body.data), self._orient)
        except BadInput:
            raise
        except ImportError as error:
            raise MissingDependency(_NEEDS_ARROW) from error
        except Exception as error:  # pandas and its parsers raise whatever they like
            raise BadInput(f"the body is no table that can be read: {str(error)[:200]}") from None
        return self._checked(frame)

    def _guessed(self, data: bytes) -> str:
        return PARQUET if data.startswith(_PARQUET_MAGIC) else self.media_types[0]

    def _checked(self, frame: Any) -> Any:
        if self._columns is not None:
            if self._apply_names and len(frame.columns) == len(self._columns):
                frame.columns = self._columns
            elif list(map(str, frame.columns)) != self._columns:
                raise BadShape(
                    f"expected the columns {self._columns}, got {list(map(str, frame.columns))[:64]}"
                )
        _check_shape(frame.shape, self._shape, self._enforce_shape)
        return _cast(frame, self._dtype, self._enforce_dtype)

    def write(self, value: Any) -> Content:
        """See IODescriptor.write; in the default format."""
        return self._written(value, self.media_types[0])

    def write_as(self, value: Any, accept: str) -> Content:
        """See IODescriptor.write_as."""
        return self._written(value, preferred(accept, self.media_types))

    def _written(self, value: Any, media_type: str) -> Content:
        if not isinstance(value, _pandas().DataFrame):
            raise BadModelOutput(f"expected a DataFrame, got {type(value).__name__}")
        try:
            if media_type == PARQUET:
                return Content(value.to_parquet(), media_type)
            if media_type == "text/csv":
                return Content(value.to_csv(index=False).encode(), f"{media_type}; charset=utf-8")
            return Content(frame_to_json(value, self._orient), media_type)
        except ImportError as error:
            raise MissingDependency(_NEEDS_ARROW) from error
        except (ValueError, TypeError, OverflowError) as error:
            raise BadModelOutput(f"the table cannot be written as {media_type}: {error}") from error

    def to_spec(self) -> dict[str, Any]:
        """See IODescriptor.to_spec."""
        formats = {media_type: name for name, media_type in _FORMATS.items()}
        return {
            **super().to_spec(),
            "orient": self._orient,
            "default_format": formats[self.media_types[0]],
        }

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        schema = frame_schema(self._orient, self._columns)
        return {**schema, "examples": [self._example]} if self._example is not None else schema

    def result_schema(self) -> dict[str, Any]:
        """See IODescriptor.result_schema; the columns are what the function returns."""
        return frame_schema(self._orient, None)

    def content_schema(self, *, result: bool = False) -> dict[str, Any]:
        """See IODescriptor.content_schema."""
        # No `type`: the body is text in any case, as OpenAPI 3.1 has it.
        text: dict[str, Any] = {
            "contentMediaType": "text/csv",
            "description": "The first line names the columns.",
        }
        forms = {
            "application/json": self.result_schema() if result else self.schema(),
            "text/csv": text
            if self._columns is None
            else {**text, "examples": [f"{','.join(self._columns)}\n"]},
            PARQUET: {"type": "string", "format": "binary"},
        }
        return {media_type: {"schema": forms[media_type]} for media_type in self.media_types}


class PandasSeries(IODescriptor):
    """A Series.

    Args:
        orient: of JSON: `records` is a list, `index` an object, `split` as pandas has it.
        dtype: what the values are cast to.
        enforce_dtype: refuse what cannot be cast.
        shape: (length,), -1 for any.
        enforce_shape: refuse other lengths.
    """

    def __init__(
        self,
        orient: Literal["records", "index", "split"] = "records",
        dtype: Any = None,
        enforce_dtype: bool = False,
        shape: Sequence[int] | None = None,
        enforce_shape: bool = False,
    ) -> None:
        if orient not in ("records", "index", "split"):
            raise InvalidArgument(f"orient is records, index or split, not {orient!r}")
        self._orient = orient
        self._dtype = dtype
        self._enforce_dtype = enforce_dtype
        self._shape = None if shape is None else tuple(shape)
        self._enforce_shape = enforce_shape

    @classmethod
    def from_sample(cls, sample: Any, **options: Any) -> PandasSeries:
        """A descriptor of series with the sample's dtype."""
        options.setdefault("dtype", sample.dtype)
        return cls(**options)

    def check_packages(self) -> None:
        """See IODescriptor.check_packages."""
        _pandas()

    def read(self, body: Body) -> Any:
        """See IODescriptor.read."""
        pd = _pandas()
        value = read(require(body.data, "a list of values"))
        try:
            series = series_from_json(pd, value, self._orient)
        except BadInput:
            raise
        except (ValueError, TypeError) as error:
            raise BadInput(f"the body is no Series: {str(error)[:200]}") from None
        _check_shape(series.shape, self._shape, self._enforce_shape)
        return _cast(series, self._dtype, self._enforce_dtype)

    def write(self, value: Any) -> Content:
        """See IODescriptor.write."""
        pd = _pandas()
        if not isinstance(value, pd.Series):
            raise BadModelOutput(f"expected a Series, got {type(value).__name__}")
        return Content(series_to_json(value, self._orient), "application/json")

    def to_spec(self) -> dict[str, Any]:
        """See IODescriptor.to_spec."""
        return {**super().to_spec(), "orient": self._orient}

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        return series_schema(self._orient)


def _check_shape(shape: tuple[int, ...], wanted: tuple[int, ...] | None, enforced: bool) -> None:
    if not enforced or wanted is None:
        return
    if len(shape) != len(wanted) or any(b not in (-1, a) for a, b in zip(shape, wanted, strict=True)):
        raise BadShape(f"expected shape {list(wanted)}, got {list(shape)}")


def _cast(value: Any, dtype: Any, enforced: bool) -> Any:
    if dtype is None:
        return value
    try:
        return value.astype(dtype)
    except (ValueError, TypeError, KeyError) as error:
        if enforced:
            raise BadDtype(f"the values cannot be cast: {str(error)[:200]}") from None
        return value


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingDependency("tables need a package: pip install 'vtsserving[pandas]'") from error
    return pandas
