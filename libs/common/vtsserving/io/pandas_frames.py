"""DataFrames and Series as JSON, CSV or Parquet."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Final, Literal

from vtsserving._codecs.arrow_tables import read_parquet
from vtsserving._codecs.column_objects import kind_of
from vtsserving._codecs.csv_text import read_csv
from vtsserving._codecs.foreign_tables import as_pandas
from vtsserving._codecs.json_strict import read
from vtsserving._codecs.table import Table
from vtsserving.exceptions import (
    BadInput,
    BadModelOutput,
    BadShape,
    InvalidArgument,
    MissingDependency,
    VtsServingException,
)
from vtsserving.io.base import Body, Content, IODescriptor, is_read, preferred, require
from vtsserving.io.cast_column import CastColumn, column_maker
from vtsserving.io.table_json import (
    WHERE,
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
        columns: names that the columns must have, in any order; the function gets this one.
        apply_column_names: name the columns so, instead of checking them.
        dtype: one for all columns, or column name to dtype; it holds before anything is parsed, so that `01067` stays
            a text where it is one.
        enforce_dtype: refuse what cannot be cast to `dtype` without a loss; else the column stays as it came. Each
            column is cast by itself.
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
        self._renames = apply_column_names
        column = column_maker(dtype, is_enforced=enforce_dtype)
        self._table = Table([column(name) for name in self._columns or ()], other=column)
        self._shape = None if shape is None else tuple(shape)
        self._enforce_shape = enforce_shape
        self._example: Any = None
        self._csv = ""

    @classmethod
    def from_sample(cls, sample: Any, orient: Orient = "records", **options: Any) -> PandasDataFrame:
        """A descriptor of frames with the sample's columns and their dtypes; their categories are enforced."""
        names = [str(name) for name in sample.columns]
        if "dtype" not in options and len(set(names)) == len(names):
            options["dtype"] = {name: _said(sample.iloc[:, at]) for at, name in enumerate(names)}
        made = cls(orient, columns=names, **options)
        made._example, made._csv = made._shown(sample)
        return made

    def _shown(self, sample: Any) -> tuple[Any, str]:
        """The first rows of a sample as JSON and as CSV, for the documentation; None and empty if they are not read."""
        for few in (sample.head(2), sample) if len(sample) else ():
            found: list[Any] = []
            for made in (frame_to_json(few, self._orient), few.to_csv(index=False).encode()):
                media_type = _FORMATS["csv" if found else "json"]
                found.append(made if is_read(self, Body(made, media_type)) else None)
            if found[0]:
                return read(found[0]), (found[1] or b"").decode()
        return None, ""

    def check_packages(self) -> None:
        """See IODescriptor.check_packages."""
        _pandas()

    def read(self, body: Body) -> Any:
        """See IODescriptor.read."""
        _pandas()
        require(body.data, f"a table ({', '.join(self.media_types)})")
        media_type = body.media_type if body.media_type in self.media_types else self._guessed(body.data)
        if media_type == "text/csv":
            found = read_csv(body.data)
            if self._renames and len(found.names) == len(self._columns or ()):
                found = found._replace(names=list(self._columns or ()))
            return self._checked(self._table.of_texts(found, WHERE))
        if media_type == PARQUET:
            try:
                frame = read_parquet(body.data)
            except ImportError as error:
                raise MissingDependency(_NEEDS_ARROW) from error
            return self._checked(self._cast(frame))
        value = read(body.data, unsigned=self._table.wants_unsigned)
        try:
            if self._renames:
                return self._checked(self._cast(frame_from_json(value, self._orient, Table(()))))
            return self._checked(frame_from_json(value, self._orient, self._table))
        except (ValueError, TypeError) as error:
            if isinstance(error, VtsServingException):
                raise
            raise BadInput(f"the body is no table that can be read: {str(error)[:200]}") from None

    def _cast(self, frame: Any) -> Any:
        """A frame that came with dtypes of its own, with the columns that are wanted."""
        if self._renames and len(frame.columns) == len(self._columns or ()):
            frame.columns = self._columns
        return self._table.of_frame(frame, WHERE)

    def _guessed(self, data: bytes) -> str:
        return PARQUET if data.startswith(_PARQUET_MAGIC) else self.media_types[0]

    def _checked(self, frame: Any) -> Any:
        _check_shape(frame.shape, self._shape, self._enforce_shape)
        return frame

    def write(self, value: Any) -> Content:
        """See IODescriptor.write; in the default format."""
        return self._written(value, self.media_types[0])

    def write_as(self, value: Any, accept: str) -> Content:
        """See IODescriptor.write_as; JSON, where a table has no form in Parquet and the client takes any."""
        media_type = preferred(accept, self.media_types)
        try:
            return self._written(value, media_type)
        except BadModelOutput:
            is_table = isinstance(as_pandas(value), _pandas().DataFrame)
            if media_type == PARQUET and is_table and "*/*" in accept:
                return self._written(value, _FORMATS["json"])
            raise

    def _written(self, value: Any, media_type: str) -> Content:
        value = as_pandas(value)
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
        except (ValueError, TypeError, OverflowError, RuntimeError) as error:
            raise BadModelOutput(f"the table cannot be written as {media_type}: {error}") from error

    def to_spec(self) -> dict[str, Any]:
        """See IODescriptor.to_spec."""
        formats = {media_type: name for name, media_type in _FORMATS.items()}
        return {
            **super().to_spec(),
            "orient": self._orient,
            "default_format": formats[self.media_types[0]],
            "parquet": has_arrow(),
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
            "description": f"The first line names the columns{self._named()}.",
        }
        forms = {
            "application/json": self.result_schema() if result else self.schema(),
            "text/csv": {**text, "examples": [self._csv]} if self._csv and not result else text,
            PARQUET: {"type": "string", "format": "binary"},
        }
        return {media_type: {"schema": forms[media_type]} for media_type in self.media_types}

    def _named(self) -> str:
        return "" if self._columns is None else f": {', '.join(self._columns)}"


class PandasSeries(IODescriptor):
    """A Series.

    Args:
        orient: of JSON: `records` is a list, `index` an object, `split` as pandas has it.
        dtype: what the values are cast to, before anything is lost.
        enforce_dtype: refuse what cannot be cast without a loss; else the values stay as they came.
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
        self._column = CastColumn("values", dtype, is_enforced=enforce_dtype)
        self._shape = None if shape is None else tuple(shape)
        self._enforce_shape = enforce_shape
        self._example: Any = None

    @classmethod
    def from_sample(cls, sample: Any, **options: Any) -> PandasSeries:
        """A descriptor of series with the sample's dtype, and its first values as an example."""
        options.setdefault("dtype", _said(sample))
        made = cls(**options)
        for few in (sample.head(2), sample) if len(sample) else ():
            text = series_to_json(few, made._orient)
            if is_read(made, Body(text, "application/json")):
                made._example = read(text)
                break
        return made

    def check_packages(self) -> None:
        """See IODescriptor.check_packages."""
        _pandas()

    def read(self, body: Body) -> Any:
        """See IODescriptor.read."""
        pd = _pandas()
        value = read(require(body.data, "a list of values"), unsigned=self._column.dtype.lower() == "uint64")
        try:
            series = series_from_json(pd, value, self._orient, self._column)
        except VtsServingException:
            raise
        except (ValueError, TypeError) as error:
            raise BadInput(f"the body is no Series: {str(error)[:200]}") from None
        _check_shape(series.shape, self._shape, self._enforce_shape)
        return series

    def write(self, value: Any) -> Content:
        """See IODescriptor.write."""
        pd = _pandas()
        value = as_pandas(value)
        if not isinstance(value, pd.Series):
            raise BadModelOutput(f"expected a Series, got {type(value).__name__}")
        return Content(series_to_json(value, self._orient), "application/json")

    def to_spec(self) -> dict[str, Any]:
        """See IODescriptor.to_spec."""
        return {**super().to_spec(), "orient": self._orient}

    def schema(self) -> dict[str, Any]:
        """See IODescriptor.schema."""
        schema = self.result_schema()
        return {**schema, "examples": [self._example]} if self._example is not None else schema

    def result_schema(self) -> dict[str, Any]:
        """See IODescriptor.result_schema."""
        return series_schema(self._orient)


def _said(series: Any) -> Any:
    """The dtype of a column, or the name of the objects that it holds."""
    return (kind_of(series) if str(series.dtype) == "object" else "") or series.dtype


def has_arrow() -> bool:
    """Whether Parquet can be read and written here."""
    return importlib.util.find_spec("pyarrow") is not None


def _check_shape(shape: tuple[int, ...], wanted: tuple[int, ...] | None, enforced: bool) -> None:
    if not enforced or wanted is None:
        return
    if len(shape) != len(wanted) or any(b not in (-1, a) for a, b in zip(shape, wanted, strict=True)):
        raise BadShape(f"expected shape {list(wanted)}, got {list(shape)}")


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingDependency("tables need a package: pip install 'vtsserving[pandas]'") from error
    return pandas
