"""The forms of a native body: JSON, .npy, msgpack values, CSV, and Arrow streams and Parquet with pyarrow."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from vtsserving._codecs.arrow_tables import read_arrow, read_parquet
from vtsserving._codecs.csv_text import read_csv
from vtsserving._codecs.json_write import to_json
from vtsserving._codecs.npy import read_npy, write_npy
from vtsserving._wire import arrow_data, pandas_values, tables
from vtsserving._wire.values import decode_held, encode_value
from vtsserving.exceptions import (
    BadFrame,
    BadInput,
    BadShape,
    BadTensor,
    EmptyBody,
    MissingDependency,
    NotAcceptable,
    UnsupportedMediaType,
)

Body = bytes | bytearray


class Form(NamedTuple):
    """One way to write values.

    Attributes:
        media_type: as in Content-Type and Accept.
        read: body to value; None for JSON, which is read against the method's spec.
        write: value to body; None where answers do not have this form.
    """

    media_type: bytes
    read: Callable[[Body], Any] | None
    write: Callable[[Any], bytes] | None


def _read_msgpack(body: Body) -> Any:
    try:
        return decode_held(bytes(body))
    except BadTensor as error:
        raise BadShape(error.message) from error
    except MissingDependency as error:
        raise UnsupportedMediaType(f"this gateway cannot read the value: {error.message}") from error
    except BadFrame as error:
        raise BadInput(f"the body is no msgpack value: {error.message}") from error


def _write_msgpack(value: Any) -> bytes:
    return encode_value(value, "the result")


def _write_npy(value: Any) -> bytes:
    if isinstance(value, list):
        try:
            value = np.array(value)
        except ValueError as error:
            raise NotAcceptable(
                "the result is a ragged list, which has no .npy form; accept JSON or msgpack"
            ) from error
    elif tables.is_table(value) or pandas_values.is_list(value):
        value = _exact_numbers(value)
    is_array = isinstance(value, np.ndarray | np.generic) and not isinstance(value, np.ma.MaskedArray)
    if is_array and value.dtype.kind == "T" and not hasattr(value.dtype, "na_object"):
        value = np.array(value.tolist(), np.str_)
    elif is_array and value.dtype.name == "bfloat16":
        value = value.astype(np.float32)
    if not is_array or value.dtype.hasobject or value.dtype.kind == "T":
        raise NotAcceptable(
            f"the result is a {type(value).__name__}, which has no .npy form; accept JSON or msgpack"
        )
    return write_npy(np.asarray(value))


def _exact_numbers(table: Any) -> Any:
    """The array of a table; of objects where whole numbers stand beside a missing one, which would cost them digits."""
    dtypes = list(table.dtypes) if hasattr(table, "columns") else [table.dtype]
    is_whole = any(getattr(dtype, "numpy_dtype", np.dtype("f8")).kind in "iub" for dtype in dtypes)
    return table.to_numpy(object) if is_whole and bool(np.any(table.isna())) else table.to_numpy()


def _write_arrow(value: Any) -> bytes:
    import pandas as pd
    import pyarrow as pa

    if pandas_values.is_list(value):
        value = pd.Series(value)
    if isinstance(value, pd.Series):
        value = value.to_frame("0" if value.name is None else str(value.name))
    if isinstance(value, np.ndarray) and value.ndim in (1, 2) and not isinstance(value, np.ma.MaskedArray):
        value = pd.DataFrame(value)
    try:
        table = _arrow_table(value)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        raise NotAcceptable(f"the result has no Arrow form: {error}; accept JSON or msgpack") from error
    return arrow_data.stream_of(table)


def _arrow_table(value: Any) -> Any:
    """A table of pyarrow with the labels of a table of pandas, which pandas puts back where they were."""
    import pandas as pd
    import pyarrow as pa

    if name := arrow_data.class_of(value):
        if name.startswith("polars"):
            return (value.to_frame() if name == "polars.Series" else value).to_arrow()
        if name in ("pyarrow.Table", "pyarrow.RecordBatch"):
            return value if name == "pyarrow.Table" else pa.Table.from_batches([value])
        return pa.table({"0": value})
    if not isinstance(value, pd.DataFrame):
        raise NotAcceptable(
            f"the result is a {type(value).__name__}, which is no table; accept JSON or msgpack"
        )
    dense = {i for i in range(value.shape[1]) if isinstance(value.dtypes.iloc[i], pd.SparseDtype)}
    table = value.rename(columns=str)
    if dense:
        parts = [table.iloc[:, i] for i in range(table.shape[1])]
        table = pd.concat(
            [part.sparse.to_dense() if i in dense else part for i, part in enumerate(parts)], axis=1
        )
    return pa.Table.from_pandas(table, preserve_index=None)


JSON: Final = Form(b"application/json", None, to_json)
NPY: Final = Form(b"application/x-npy", read_npy, _write_npy)
MSGPACK: Final = Form(b"application/msgpack", _read_msgpack, _write_msgpack)
CSV: Final = Form(b"text/csv", read_csv, None)
ARROW: Final = Form(b"application/vnd.apache.arrow.stream", read_arrow, _write_arrow)
PARQUET: Final = Form(b"application/vnd.apache.parquet", read_parquet, None)

_ALIASES: Final = {
    b"application/x-www-form-urlencoded": JSON,
    b"application/x-msgpack": MSGPACK,
    b"application/vnd.msgpack": MSGPACK,
}
_PARQUET_ALIASES: Final = (b"application/x-parquet", b"application/parquet")
_ANY: Final = frozenset((b"*/*", b"application/*"))
_UTF8: Final = frozenset((b"utf-8", b"utf8", b"us-ascii"))


@cache
def known_forms() -> dict[bytes, Form]:
    """Media type to form, as far as the installed packages go."""
    forms = [JSON, NPY, MSGPACK]
    if importlib.util.find_spec("pandas"):
        forms.append(CSV)
        if importlib.util.find_spec("pyarrow"):
            forms += [ARROW, PARQUET]
    parquet = dict.fromkeys(_PARQUET_ALIASES, PARQUET) if PARQUET in forms else {}
    return {form.media_type: form for form in forms} | _ALIASES | parquet


def form_of_body(headers: Mapping[bytes, bytes]) -> Form:
    """How a request's body is written; saying nothing, and what `curl -d` says, count as JSON.

    Args:
        headers: lower-case names.

    Raises:
        UnsupportedMediaType: names what is supported.
    """
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() not in (b"", b"identity"):
        raise UnsupportedMediaType("compressed bodies are not supported here; send the body as it is")
    kind = headers.get(b"content-type")
    if kind is None or kind == JSON.media_type:
        return JSON
    name, _, parameters = kind.partition(b";")
    form = known_forms().get(name.strip().lower())
    if form is None:
        raise UnsupportedMediaType(f"send {_list_forms()}{_how_to_have_more(kind)}")
    if not parameters:
        return form
    _, has_charset, charset = parameters.lower().partition(b"charset=")
    if form in (JSON, CSV) and has_charset and charset.strip(b' "').split(b";")[0] not in _UTF8:
        raise UnsupportedMediaType(f"send {form.media_type.decode()} in UTF-8")
    return form


def form_of_answer(headers: Mapping[bytes, bytes]) -> Form:
    """How the client wants its answer: the first form in Accept that is known; JSON for any.

    Raises:
        NotAcceptable: none of them is known.
    """
    accept = headers.get(b"accept")
    if accept is None or accept == b"*/*" or not accept.strip():
        return JSON
    wants_any = False
    for item in accept.lower().split(b","):
        name, _, parameters = item.partition(b";")
        name = name.strip()
        if parameters.replace(b" ", b"") in (b"q=0", b"q=0.0"):
            continue
        form = known_forms().get(name)
        if form is not None and form.write is not None:
            return form
        wants_any = wants_any or name in _ANY
    if wants_any:
        return JSON
    raise NotAcceptable(f"the answer is {_list_forms(written=True)}{_how_to_have_more(accept)}")


def read_body(form: Form, body: Body) -> Any:
    """The value of a body that is not JSON; its errors are the client's."""
    if not body:
        raise EmptyBody("the body is empty")
    assert form.read is not None
    return form.read(body)


def _list_forms(*, written: bool = False) -> str:
    forms = [form for form in known_forms().values() if form.write is not None or not written]
    return " or ".join(dict.fromkeys(form.media_type.decode() for form in forms))


def _how_to_have_more(asked: bytes) -> str:
    """What the gateway needs for a form that a client asks for in vain."""
    for form, name in ((ARROW, "Arrow"), (PARQUET, "Parquet"), (CSV, "CSV")):
        if form.media_type in asked.lower() and form.media_type not in known_forms():
            extras = "pandas" if form is CSV else "arrow,pandas"
            return f"; for {name}, the gateway needs packages: pip install 'vtsserving[{extras}]'"
    return ""
