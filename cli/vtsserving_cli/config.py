"""`vtsserving config show`: every setting, its value, and where that comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from vtsserving_cli.app import examples, new_group
from vtsserving_cli.console import Console, table
from vtsserving_cli.models.arguments import ListFormat
from vtsserving_cli.render import put_json, put_yaml, short_path

if TYPE_CHECKING:
    from pydantic import BaseModel

EXAMPLES: Final = (
    "vtsserving config show",
    "vtsserving config show gateway",
    "VTSSERVING_GATEWAY__PORT=8080 vtsserving config show gateway -o json",
)
SECRET: Final = "**********"


class Shown(NamedTuple):
    """One setting as it is shown: the variable, its value as text, and where that comes from."""

    variable: str
    value: str
    origin: str


def build_config() -> typer.Typer:
    """The group with its commands."""
    group = new_group("See the settings in force.", *EXAMPLES)
    group.callback()(_config)
    group.command("show", epilog=examples(*EXAMPLES))(show)
    return group


def _config() -> None:
    """See the settings in force."""


def show(
    section: Annotated[
        str | None,
        typer.Argument(metavar="SECTION", help="gateway, batcher, runner, store, shared or models."),
    ] = None,
    output: Annotated[ListFormat, typer.Option("--output", "-o", help="How to print.")] = ListFormat.table,
) -> None:
    """Show every setting, its value and its origin.

    A flag wins over the environment, that over vtsserving.toml of the current folder, that over the user's
    ~/.config/vtsserving/config.toml. Secrets are not shown.
    """
    from vtsserving.exceptions import InvalidArgument
    from vtsserving_cli.main import settings_from_files as origins

    sections = _sections(origins)
    if section is not None and section not in sections:
        raise InvalidArgument(f"there is no section {section!r}; there are {', '.join(sections)}")
    shown: dict[str, Shown] = {}
    for name in [section] if section is not None else sections:
        for row in sections[name]:
            shown.setdefault(row.variable, row)
    unknown = sorted(set(origins) - {row.variable for rows in sections.values() for row in rows})
    for variable in unknown:
        Console.warn(f"{origins[variable]} sets {variable}, which is no setting")
    if output is ListFormat.table:
        Console.out(table(("Setting", "Value", "Origin"), list(shown.values())))
    else:
        records = [row._asdict() for row in shown.values()]
        put_json(records) if output is ListFormat.json else put_yaml(records)


def _sections(origins: Mapping[str, Path]) -> dict[str, list[Shown]]:
    from vtsserving._runtime.settings import SharedSettings
    from vtsserving_batcher.settings import BatcherSettings
    from vtsserving_gateway.settings import GatewaySettings
    from vtsserving_runner.settings import RunnerSettings
    from vtsserving_store.settings import StoreSettings

    classes: Mapping[str, Any] = {
        "shared": SharedSettings,
        "gateway": GatewaySettings,
        "batcher": BatcherSettings,
        "runner": RunnerSettings,
        "store": StoreSettings,
    }
    shown = {
        name: list(_rows(cls, str(cls.model_config["env_prefix"]), origins)) for name, cls in classes.items()
    }
    return {**shown, "models": list(_model_rows(origins))}


def _model_rows(origins: Mapping[str, Path]) -> Iterator[Shown]:
    """Options of single models; `vtsserving models configure NAME` shows all of one model."""
    from vtsserving._model.settings import PREFIX, Configured

    Configured()  # refuses what no service would start with
    for variable in sorted(name for name in os.environ if name.startswith(PREFIX)):
        yield Shown(variable, os.environ[variable], _origin(variable, origins))


def _origin(variable: str, origins: Mapping[str, Path]) -> str:
    return short_path(origins[variable].absolute()) if variable in origins else "environment"


def _rows(cls: type[BaseModel], prefix: str, origins: Mapping[str, Path]) -> Iterator[Shown]:
    from pydantic import BaseModel

    for name, field in cls.model_fields.items():
        variable = _own_variable(field.validation_alias) or prefix + name.upper()
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _rows(kind, variable + "__", origins)
        elif variable in os.environ:
            value = os.environ[variable]
            yield Shown(variable, SECRET if _is_secret(kind) and value else value, _origin(variable, origins))
        else:
            yield Shown(variable, _default(field.default), "default")


def _own_variable(alias: Any) -> str | None:
    """The variable that a setting shares with other services, if it names one itself."""
    names = getattr(alias, "choices", [alias])
    return next((n for n in names if isinstance(n, str) and n.startswith("VTSSERVING_")), None)


def _is_secret(kind: Any) -> bool:
    from pydantic import SecretStr

    return kind is SecretStr


def _default(value: Any) -> str:
    from pydantic import SecretStr
    from pydantic_core import PydanticUndefined

    if value is None or value is PydanticUndefined or isinstance(value, SecretStr):
        return ""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
