"""The arguments of a method, as its contract describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from vtsserving._model.described import check_rows, one_of, read_axis, read_value
from vtsserving.exceptions import InvalidSignature

Kind = Literal["rows", "parameter"]

KINDS: Final = ("rows", "parameter")
EXTRA_COLUMNS: Final = ("error", "ignore")
ARGUMENT: Final = ("kind", "axis", "type", "dtype", "shape", "columns", "extra_columns")
"""The keys of an argument."""


@dataclass(frozen=True, slots=True)
class Argument:
    """What one argument of a method is; None and empty: not said.

    Attributes:
        kind: rows, which are joined with those of other callers, or a parameter, equal for all who share a batch.
        axis: along which its rows lie; the method's batch_dim where it is not said.
        type: `tensor`, `table`, `series`, `texts`, `bytes` or `any`.
        dtype: of a tensor.
        shape: of a tensor; -1 varies.
        columns: of a table, in order: name, dtype, nullable, categories; of a series: its only one.
        extra_columns: what happens to columns that a table has beside these: `error` or `ignore`.
    """

    kind: Kind | None = None
    axis: int | None = None
    type: str = ""
    dtype: str = ""
    shape: tuple[int, ...] | None = None
    columns: tuple[Mapping[str, Any], ...] = ()
    extra_columns: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As it is recorded: what is said of it."""
        shown = {name: getattr(self, name) for name in ARGUMENT}
        shown["shape"] = None if self.shape is None else list(self.shape)
        shown["columns"] = [dict(column) for column in self.columns] or None
        return {name: value for name, value in shown.items() if value not in (None, "")}


NOT_DESCRIBED: Final = Argument()


def read_arguments(
    raw: Mapping[str, Any], path: str, batch_axis: int, *, recorded: bool = False
) -> dict[str, Argument]:
    """The arguments that a signature describes, by name.

    Args:
        raw: the signature as users write it, with `arguments` and `parameters`.
        path: of the signature, for errors.
        batch_axis: where rows lie if an argument does not say.
        recorded: whether this is a record; its tables may have a name twice, which an author may not say.

    Raises:
        InvalidSignature: a key is unknown, a value impossible, or two contradict each other.
    """
    described = raw.get("arguments")
    if described is not None and not isinstance(described, Mapping):
        raise InvalidSignature(
            f"{path}.arguments is a dict from argument name to what it is, not {described!r:.60}"
        )
    found = {
        _name(name, f"{path}.arguments"): _argument(
            one, f"{path}.arguments[{name!r}]", path, batch_axis, recorded
        )
        for name, one in (described or {}).items()
    }
    parameters = raw.get("parameters")
    if parameters is not None and (
        isinstance(parameters, str | bytes) or not isinstance(parameters, Sequence)
    ):
        raise InvalidSignature(f"{path}.parameters is a list of argument names, not {parameters!r:.60}")
    for name in parameters or ():
        known = found.get(_name(name, f"{path}.parameters"), NOT_DESCRIBED)
        if known.kind == "rows":
            raise InvalidSignature(
                f"{path}.parameters names {name!r}, which {path}.arguments declares to be rows"
            )
        found[name] = replace(known, kind="parameter")
    return found


def _name(name: Any, path: str) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidSignature(f"{path} has {name!r:.60}, which is not the name of an argument")
    return name


def _argument(raw: Any, path: str, method_path: str, batch_axis: int, recorded: bool) -> Argument:
    if not isinstance(raw, Mapping):
        raise InvalidSignature(f"{path} is a dict like {{'kind': 'rows'}}, not {raw!r:.60}")
    for key in raw:
        if key not in ARGUMENT:
            raise InvalidSignature(
                f"{path} has the unknown key {key!r:.60}{nearest(key, ARGUMENT)}; known are {', '.join(ARGUMENT)}"
            )
    kind, axis = one_of(raw, "kind", KINDS, path), read_axis(raw, path)
    if axis is not None and kind == "parameter":
        raise InvalidSignature(f"{path}.axis does not fit a parameter, which has no rows")
    kind = "rows" if axis is not None else kind
    value = read_value(raw, path, repeats=recorded)
    if kind == "rows":
        place = f"{path}.axis" if axis is not None else f"{method_path}.batch_dim"
        check_rows(value, batch_axis if axis is None else axis, path, place)
    return Argument(
        kind or None,  # type: ignore[arg-type]  # one_of returns one of KINDS
        axis,
        value.get("type", ""),
        value.get("dtype", ""),
        tuple(value["shape"]) if "shape" in value else None,
        tuple(value.get("columns", ())),
        one_of(raw, "extra_columns", EXTRA_COLUMNS, path),
    )


def nearest(key: Any, known: Sequence[str]) -> str:
    """A question for an error: whether a name that is like an unknown one was meant; else empty."""
    import difflib  # only errors need it

    found = difflib.get_close_matches(str(key), known, n=1)
    return f", did you mean {found[0]!r}?" if found else ""
