"""The command tree. Only the group that the arguments name is built, so that no command pays for another's imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

import typer

from vtsserving.version import __version__
from vtsserving_cli.console import Console

CONTEXT: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def new_group(help_text: str, *lines: str) -> typer.Typer:
    """A command group with the manners that all groups share.

    Args:
        help_text: what the group is for.
        lines: example command lines.

    Returns:
        The group, without commands.
    """
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings=CONTEXT,
        epilog=examples(*lines),
    )


def examples(*lines: str) -> str:
    """The end of a command's help: example command lines, one a line, as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _add_models(app: typer.Typer) -> None:
    from vtsserving_cli.models.group import build_models

    app.add_typer(build_models(), name="models")


def _add_serve(app: typer.Typer) -> None:
    from vtsserving_cli.serve import add_serve

    add_serve(app)


def _add_predict(app: typer.Typer) -> None:
    from vtsserving_cli.predict import add_predict

    add_predict(app)


def _add_services(app: typer.Typer) -> None:
    from vtsserving_cli.services import build_services

    app.add_typer(build_services(), name="services")


def _add_store(app: typer.Typer) -> None:
    from vtsserving_cli.store import build_store

    app.add_typer(build_store(), name="store")


def _add_login(app: typer.Typer) -> None:
    from vtsserving_cli.login import add_login

    add_login(app)


def _add_config(app: typer.Typer) -> None:
    from vtsserving_cli.config import build_config

    app.add_typer(build_config(), name="config")


GROUPS: Final[dict[str, Callable[[typer.Typer], None]]] = {
    "models": _add_models,
    "serve": _add_serve,
    "predict": _add_predict,
    "login": _add_login,
    "logout": _add_login,
    "contexts": _add_login,
    "config": _add_config,
    "services": _add_services,
    "store": _add_store,
}
"""Command or group -> what adds it."""


def build(argv: list[str]) -> typer.Typer:
    """Build the part of the command tree that the arguments can reach.

    Args:
        argv: the arguments after the program's name.

    Returns:
        The app: with one group if the first argument names it, else with all.
    """
    app = typer.Typer(
        help="Save trained models in a versioned store and serve them over HTTP.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
        epilog=examples(
            "vtsserving models list",
            "vtsserving models get iris_clf:latest",
            "vtsserving serve iris_clf:latest",
            "vtsserving predict iris_clf:latest in.parquet out.parquet",
            "vtsserving models export iris_clf:latest .",
            "vtsserving store serve --dir ./store",
        ),
    )
    app.callback()(_root)
    adders = [GROUPS[argv[0]]] if argv and argv[0] in GROUPS else dict.fromkeys(GROUPS.values())
    for add in adders:
        add(app)
    return app


def _root(
    version: Annotated[
        bool, typer.Option("--version", "-V", help="Print the version and exit.", is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="No colours; NO_COLOR=1 does the same.")
    ] = False,
) -> None:
    """Save trained models in a versioned store and serve them over HTTP."""
    # --debug and --no-color may stand anywhere, so `main` has taken them; here they are for the help.
    if version:
        Console.out(f"vtsserving {__version__}")
        raise typer.Exit
