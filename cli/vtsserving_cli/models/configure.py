"""`vtsserving models configure`: options of a saved model, changed while it is served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vtsserving_cli.console import Console, table
from vtsserving_cli.models.arguments import ListFormat, complete_tag
from vtsserving_cli.models.remote import RemoteOption, RemoteUrlOption
from vtsserving_cli.parsing import parse_pairs
from vtsserving_cli.render import put_json, put_yaml

if TYPE_CHECKING:
    from vtsserving._model.info import ModelInfo

EXAMPLES: Final = (
    "vtsserving models configure iris_clf",
    "vtsserving models configure iris_clf max_batch_size=64 max_wait_ms=2",
    "vtsserving models configure iris_clf:production max_latency_ms=100 --remote",
    "vtsserving models configure iris_clf predict.max_batch_size=8",
    "vtsserving models configure iris_clf --reset max_batch_size",
    "vtsserving models configure iris_clf --history",
)


def configure_model(
    tag: Annotated[
        str,
        typer.Argument(
            metavar="TAG", help="A name, for all its versions, or one version.", autocompletion=complete_tag
        ),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="OPTION=VALUE...", help="What to change; `none` is no limit."),
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option("--reset", help="Let an option be the model's own again; `all` for every one."),
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Show who changed what, and when.")] = False,
    output: Annotated[ListFormat, typer.Option("--output", "-o", help="How to print.")] = ListFormat.table,
    remote: RemoteOption = False,
    store_url: RemoteUrlOption = None,
) -> None:
    """Change how a saved model is served, or show how it is.

    Limits (max_batch_size, max_wait_ms, max_latency_ms, timeout_s) hold from the next requests on, without a restart;
    threads, replicas and device when the model is loaded next. Without OPTION=VALUE, the options and where they come
    from are shown.
    """
    wanted, place = read_changes(changes or []), _place(remote, store_url)
    with place:
        if wanted or reset:
            place.configure(tag, wanted, reset or [])
            what = ", ".join([*changes_text(wanted), *(f"{name} reset" for name in reset or [])])
            Console.log(f"{tag}: {what}")
        elif history:
            rows = [(str(r["number"]), r["at"], r["by"], _short(r["settings"])) for r in place.history(tag)]
            _print(("Number", "Time", "By", "Settings"), rows, output)
        else:
            info, record = place.describe(tag)
            _print(("Option", "Value", "Origin"), origins(info, record), output)


def read_changes(pairs: Sequence[str]) -> dict[str, Any]:
    """Options and values from `option=value` and `method.option=value`.

    Raises:
        InvalidArgument: there is no such option, or no such value of it.
    """
    from vtsserving._model.settings import read_value

    texts = parse_pairs(list(pairs), "configure")
    return {name: read_value(name.rpartition(".")[2], text) for name, text in texts.items()}


def changes_text(changes: Mapping[str, Any]) -> list[str]:
    """Changes as people write them."""
    flat = {name: value for name, value in changes.items() if name != "method_configs"}
    for method, own in changes.get("method_configs", {}).items():
        flat.update({f"{method}.{option}": value for option, value in own.items()})
    return [f"{name}={_text(value)}" for name, value in flat.items()]


def origins(info: ModelInfo, record: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """Every option of one version, its value, and where that comes from; the strongest origin counts."""
    from vtsserving._model.settings import SETTABLE, Configured, layered, of_version

    version = info.version
    saved, configured = info.options, Configured().of(info.name)
    now = layered(saved, of_version(record, version), configured)
    layers = (
        ("configuration", configured),
        (f"record of {version}", of_version({"versions": (record or {}).get("versions", {})}, version)),
        (f"record of {info.name}", (record or {}).get("options", {})),
        ("model", saved.to_dict()),
    )
    rows = []
    for option in (name for name in SETTABLE if name != "method_configs"):
        origin = next((name for name, layer in layers if option in layer), "default")
        rows.append((option, _text(getattr(now, option)), origin))
    for method, own in (now.method_configs or {}).items():
        for option, value in own.items():
            has = (
                name
                for name, layer in layers
                if option in (layer.get("method_configs") or {}).get(method, {})
            )
            rows.append((f"{method}.{option}", _text(value), next(has, "default")))
    return rows


class _Local:
    """Configures models of the local store."""

    def __init__(self) -> None:
        from vtsserving._local_store.store import LocalStore

        self._store = LocalStore()

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def configure(self, tag: str, changes: dict[str, Any], reset: list[str]) -> None:
        self._store.configure(tag, changes, reset)

    def history(self, tag: str) -> list[dict[str, Any]]:
        name = self._store.resolve(tag).name
        records = reversed(self._store.settings_history(name))
        return [{"number": r.number, "at": r.at, "by": "", "settings": r.value} for r in records]

    def describe(self, tag: str) -> tuple[ModelInfo, dict[str, Any] | None]:
        model = self._store.get(tag)
        history = self._store.settings_history(model.tag.name)
        return model.info, history[-1].value if history else None


class _Remote:
    """Configures models of a store service."""

    def __init__(self, url: str | None) -> None:
        from vtsserving._store_client.remote_store import Store

        self._store = Store(url)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def configure(self, tag: str, changes: dict[str, Any], reset: list[str]) -> None:
        self._store.configure(tag, reset=reset, **changes)

    def history(self, tag: str) -> list[dict[str, Any]]:
        from vtsserving._model.tag import Tag

        return self._store.settings_history(Tag.parse(tag).name)

    def describe(self, tag: str) -> tuple[ModelInfo, dict[str, Any] | None]:
        found = self._store.get(tag)
        history = self._store.settings_history(found.tag.name)
        return found.info, history[0]["settings"] if history else None


def _place(remote: bool, url: str | None) -> _Local | _Remote:
    return _Remote(url) if remote or url else _Local()


def _print(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], output: ListFormat) -> None:
    if output is ListFormat.table:
        Console.out(table(header, rows))
        return
    records = [dict(zip((title.lower() for title in header), row, strict=True)) for row in rows]
    put_json(records) if output is ListFormat.json else put_yaml(records)


def _short(record: Mapping[str, Any]) -> str:
    """A record in one line."""
    parts = [" ".join(changes_text(record["options"]))] if record["options"] else []
    parts += [
        f"{version}: {' '.join(changes_text(own))}" for version, own in record["versions"].items() if own
    ]
    return "; ".join(parts) or "-"


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
