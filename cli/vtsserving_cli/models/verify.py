"""`vtsserving models verify`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from vtsserving.exceptions import IntegrityError, StorageError, VtsServingException
from vtsserving_cli.console import Console
from vtsserving_cli.models.arguments import complete_tag

EXAMPLES: Final = (
    "vtsserving models verify",
    "vtsserving models verify iris_clf:latest",
)


def verify_models(
    tags: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TAG...", help="Models to check; all by default.", autocompletion=complete_tag
        ),
    ] = None,
) -> None:
    """Look for damaged models.

    Every file is compared with the digest that was recorded when the model was saved.
    """
    from vtsserving._local_store.store import LocalStore

    store = LocalStore()
    models = [store.get(tag) for tag in tags] if tags else store.list()
    failures: list[VtsServingException] = []
    for model in models:
        try:
            model.verify()
            _ = model.info
        except (IntegrityError, StorageError) as e:
            failures.append(e)
            Console.out(f"{model!r} damaged")
            Console.error(f"{e.message}; pull or import it again")
        else:
            Console.out(f"{model!r} ok")
    if failures:
        raise typer.Exit(failures[0].exit_code)
