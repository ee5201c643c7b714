"""`vtsserving login`, `logout` and `contexts`: which model store is used, and with which token."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from vtsserving.exceptions import InvalidArgument
from vtsserving_cli.app import examples
from vtsserving_cli.console import Console, table
from vtsserving_cli.models.arguments import ListFormat
from vtsserving_cli.render import put_json, put_yaml

LOGIN_EXAMPLES: Final = (
    "vtsserving login http://store.example.com:3001",
    "vtsserving login https://store.example.com --token-stdin < token.txt",
    "vtsserving login https://staging.example.com --token TOKEN --name staging",
)
LOGOUT_EXAMPLES: Final = ("vtsserving logout", "vtsserving logout staging")
CONTEXTS_EXAMPLES: Final = ("vtsserving contexts", "vtsserving contexts --use staging")


def add_login(app: typer.Typer) -> None:
    """Add the three commands."""
    app.command("login", epilog=examples(*LOGIN_EXAMPLES))(login)
    app.command("logout", epilog=examples(*LOGOUT_EXAMPLES))(logout)
    app.command("contexts", epilog=examples(*CONTEXTS_EXAMPLES))(contexts)


def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="The model store.", show_default=False)],
    token: Annotated[
        str, typer.Option("--token", help="Its token; other users may see it in the list of processes.")
    ] = "",
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from stdin.")] = False,
    name: Annotated[str, typer.Option("--name", help="To tell several stores apart.")] = "default",
) -> None:
    """Use a model store from now on.

    It is asked whether it is one and takes the token. VTSSERVING_STORE_URL and --store win over it.
    """
    from vtsserving._store_client import contexts as store_contexts

    if token and token_stdin:
        raise InvalidArgument("give the token once: with --token or with --token-stdin")
    if token_stdin:
        token = sys.stdin.readline().strip()
        if not token:
            raise InvalidArgument("there is no token on stdin")
    context = store_contexts.login(url, token, name=name)
    Console.log(f"Logged in to {context.url} as {context.name!r}")


def logout(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="By default the one in use.")] = None,
) -> None:
    """Forget a model store and its token."""
    from vtsserving._store_client import contexts as store_contexts

    if name is None:
        current = store_contexts.current()
        if current is None:
            raise InvalidArgument("there is no login in use; name one of `vtsserving contexts`")
        name = current.name
    store_contexts.logout(name)
    Console.log(f"Logged out of {name!r}")
    if store_contexts.contexts() and store_contexts.current() is None:
        Console.log("No login is in use now; `vtsserving contexts --use NAME` chooses another one")


def contexts(
    use: Annotated[
        str | None, typer.Option("--use", metavar="NAME", help="Use this one from now on.")
    ] = None,
    output: Annotated[ListFormat, typer.Option("--output", "-o", help="How to print.")] = ListFormat.table,
) -> None:
    """List the model stores that you are logged in to."""
    from vtsserving._store_client import contexts as store_contexts

    if use is not None:
        store_contexts.use(use)
        Console.log(f"Using {use!r}")
        return
    known = store_contexts.contexts()
    records = [{"name": c.name, "url": c.url, "token": bool(c.token), "current": c.current} for c in known]
    if output is ListFormat.table:
        rows = [(c.name, c.url, "yes" if c.token else "no", "*" if c.current else "") for c in known]
        Console.out(table(("Name", "URL", "Token", "Current"), rows))
    else:
        put_json(records) if output is ListFormat.json else put_yaml(records)
