"""`vtsserving store`: run the store service, and look after its storage."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vtsserving.exceptions import IntegrityError, InvalidArgument, NewerFormat
from vtsserving_cli.app import examples, new_group
from vtsserving_cli.console import Console, table
from vtsserving_cli.parsing import parse_age
from vtsserving_cli.render import count, human_size

if TYPE_CHECKING:
    from vtsserving._auth.tokens import TokenKeeper
    from vtsserving_store.settings import StoreSettings

DirOption = Annotated[
    Path | None,
    typer.Option(
        "--dir", "-d", metavar="DIR", help="The store's directory; VTSSERVING_STORE__DIR by default."
    ),
]
FileOption = Annotated[
    Path | None,
    typer.Option(
        "--file", metavar="FILE", help="Keep them in a file instead, for gateways without a store service."
    ),
]
SERVE: Final = (
    "vtsserving store serve --dir ./store",
    "VTSSERVING_S3__ENDPOINT=http://127.0.0.1:9000 vtsserving store serve",
)
FSCK: Final = ("vtsserving store fsck --dir ./store", "vtsserving store fsck --deep")
GC: Final = ("vtsserving store gc --dry-run", "vtsserving store gc --dir ./store --grace 2h")
BACKUP: Final = ("vtsserving store backup --dir ./store /mnt/backup",)
RESTORE: Final = ("vtsserving store restore --dir ./new-store /mnt/backup",)
TOKEN_CREATE: Final = (
    "vtsserving store token create ci --scope push --dir ./store",
    "vtsserving store token create bob --expires 30d",
    "vtsserving store token create app --scope infer --file tokens.jsonl",
)


def build_store() -> typer.Typer:
    """The group with its commands."""
    group = new_group(
        "Run a model store, and look after what it keeps.",
        SERVE[0],
        FSCK[0],
        TOKEN_CREATE[0],
    )
    for name, command, lines in (
        ("serve", serve, SERVE),
        ("fsck", fsck, FSCK),
        ("gc", gc, GC),
        ("backup", backup, BACKUP),
        ("restore", restore, RESTORE),
    ):
        group.command(name, epilog=examples(*lines))(command)
    tokens = new_group("Make, list and revoke access tokens.", *TOKEN_CREATE)
    tokens.command("create", epilog=examples(*TOKEN_CREATE))(create_token)
    tokens.command("list", epilog=examples("vtsserving store token list"))(list_tokens)
    tokens.command("revoke", epilog=examples("vtsserving store token revoke 0123456789abcdef"))(revoke_token)
    group.add_typer(tokens, name="token")
    return group


def serve(
    directory: DirOption = None,
    port: Annotated[int | None, typer.Option("--port", "-p", help="Port; 3001 by default.")] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address; by default only this machine can connect.")
    ] = None,
) -> None:
    """Serve a model store until Ctrl-C.

    Without --dir, it keeps everything in the bucket that VTSSERVING_S3__ENDPOINT and its neighbours name.
    """
    from vtsserving._runtime import process
    from vtsserving_store import app

    settings = _settings(directory, port=port, host=host)

    async def life(stop: process.Stop) -> None:
        await app.serve(settings, stop, on_ready=lambda at: Console.note(_welcome(at, settings)))

    code = process.run("store", life)
    if code:
        raise typer.Exit(code)


def fsck(
    directory: DirOption = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every file and compare its digest.")] = False,
) -> None:
    """Look for everything that is wrong in a store; changes nothing."""
    from vtsserving_store import maintenance

    counts = {"damage": 0, "newer": 0, "warning": 0, "leftover": 0}
    for finding in maintenance.check(_settings(directory), deep=deep):
        counts[finding.severity] += 1
        Console.out(f"{finding.severity}: {finding.key} {finding.text}")
    if counts["damage"]:
        found = count(counts["damage"], "damaged object")
        raise IntegrityError(f"{found}; models that need what is damaged cannot be pulled")
    if counts["newer"]:
        found = count(counts["newer"], "object")
        raise NewerFormat(f"{found} of a later release, which this one cannot check; nothing was changed")
    Console.log(f"no damage; {count(counts['warning'], 'warning')}, {count(counts['leftover'], 'leftover')}")


def gc(
    directory: DirOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and do nothing.")] = False,
    grace: Annotated[
        str | None, typer.Option("--grace", metavar="AGE", help="Keep what is younger; 1h by default.")
    ] = None,
) -> None:
    """Remove what no model needs; safe while the store runs and models are pushed."""
    from vtsserving_store import maintenance

    grace_s = parse_age(grace).total_seconds() if grace is not None else None
    with maintenance.opened(_settings(directory), existing=True) as parts:
        done = parts.collector.run(dry_run=dry_run, grace_s=grace_s)
    verb = "would be removed" if dry_run else "removed"
    files, uploads = count(done.blobs, "file"), count(done.uploads, "upload")
    Console.log(f"{files} ({human_size(done.bytes)}) {verb}; {uploads} given up")


def backup(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="Directory to copy to; added to.")],
    directory: DirOption = None,
) -> None:
    """Copy a store into a directory; tokens are left out."""
    from vtsserving_store import maintenance

    _copied(maintenance.backup(_settings(directory), target), f"to {target}")


def restore(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="What `backup` wrote.")],
    directory: DirOption = None,
) -> None:
    """Copy a backup into a store; what is there stays, and damaged files are repaired."""
    from vtsserving_store import maintenance

    _copied(maintenance.restore(_settings(directory), source), f"from {source}")


def create_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for.")],
    scope: Annotated[
        str, typer.Option("--scope", help="infer, pull, push or admin; each includes those before.")
    ] = "pull",
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="AGE", help="For example 30d; never by default.")
    ] = None,
    directory: DirOption = None,
    file: FileOption = None,
) -> None:
    """Make a token and print it; it cannot be shown again."""
    expires_in_s = parse_age(expires).total_seconds() if expires is not None else None
    with _tokens(directory, file) as tokens:
        token, text = tokens.create(name, scope, expires_in_s=expires_in_s)
    Console.out(text)
    Console.log(f"token {token.id} for {name!r} with scope {scope}; keep it, it is not shown again")


def list_tokens(directory: DirOption = None, file: FileOption = None) -> None:
    """List tokens, without their secrets."""
    with _tokens(directory, file) as tokens:
        rows = [(t.id, t.name, t.scope, t.created_at[:19], _expiry(t.expires_s)) for t in tokens.list()]
    Console.out(table(("Id", "Name", "Scope", "Created", "Expires"), rows))


def revoke_token(
    token: Annotated[str, typer.Argument(metavar="ID", help="Of the token, as `list` shows it.")],
    directory: DirOption = None,
    file: FileOption = None,
) -> None:
    """Make a token useless."""
    with _tokens(directory, file) as tokens:
        tokens.revoke(token)
    Console.log(f"token {token} revoked")


@contextlib.contextmanager
def _tokens(directory: Path | None, file: Path | None) -> Iterator[TokenKeeper]:
    """The tokens of a file, or of a store."""
    if file is not None:
        from vtsserving._auth.token_file import TokenFile

        if directory is not None:
            raise InvalidArgument("--dir and --file exclude each other")
        yield TokenFile(file)
        return
    from vtsserving_store import maintenance

    with maintenance.opened(_settings(directory)) as parts:
        yield parts.tokens


def _settings(directory: Path | None, **given: Any) -> StoreSettings:
    from vtsserving_store.settings import read_settings

    section = {name: value for name, value in {"dir": directory, **given}.items() if value is not None}
    # A directory on the command line wins over a bucket in the environment.
    return read_settings(store=section, **({"s3": {"endpoint": ""}} if directory is not None else {}))


def _welcome(port: int, settings: StoreSettings) -> str:
    host = settings.store.host if ":" not in settings.store.host else f"[{settings.store.host}]"
    place = settings.store.dir or f"{settings.s3.endpoint}/{settings.s3.bucket}"
    lines = [
        f"Model store on http://{host}:{port}, kept in {place}. Ctrl-C ends it.",
        f"  VTSSERVING_STORE_URL=http://{host}:{port} vtsserving models push NAME",
    ]
    if settings.needs_token:
        kept = f" --dir {shlex.quote(str(settings.store.dir))}" if settings.store.dir else ""
        lines.append(f"  It needs a token: vtsserving store token create NAME --scope push{kept}")
    return "\n".join(lines)


def _copied(done: Any, where: str) -> None:
    said = f"{count(done.versions, 'model')} copied {where}: {count(done.blobs, 'file')} ({human_size(done.bytes)})"
    if done.repaired:
        said += f", {done.repaired} of them in place of damaged ones"
    if done.present:
        said += f"; {count(done.present, 'object')} already there"
    Console.log(said)


def _expiry(expires_s: float | None) -> str:
    import datetime

    if expires_s is None:
        return "never"
    return datetime.datetime.fromtimestamp(expires_s, datetime.timezone.utc).isoformat(timespec="seconds")[
        :19
    ]
