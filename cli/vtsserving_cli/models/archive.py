"""`vtsserving models export` and `import`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from vtsserving_cli.console import Console
from vtsserving_cli.models.arguments import FsOption, TagArgument
from vtsserving_cli.parsing import parse_options, parse_size
from vtsserving_cli.progress import byte_progress

EXPORT_EXAMPLES: Final = (
    "vtsserving models export iris_clf:latest .",
    "vtsserving models export iris_clf:latest /tmp/iris.tar.gz",
    "vtsserving models export iris_clf:latest s3://my_bucket/my_prefix/",
    "vtsserving models export iris_clf s3://b/p/ -O endpoint_url=http://127.0.0.1:9000",
)
IMPORT_EXAMPLES: Final = (
    "vtsserving models import ./iris_clf-2uo5fkgxj27exuqj.vtsmodel",
    "vtsserving models import s3://my_bucket/folder/my_model.vtsmodel",
    "vtsserving models import https://example.com/my_model.vtsmodel --skip-existing",
)


def export_command(
    tag: TagArgument,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A folder, a file name or a URL.")] = ".",
    archive_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="vtsmodel, tar, gz, xz, bz2, zip or folder; else told by the file name."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace what exists.")] = False,
    option: FsOption = None,
) -> None:
    """Write a model to an archive.

    PATH may be a URL: s3, gs, ftp, sftp, dropbox and others; a slash at the end means a folder.
    """
    from vtsserving._archive import export_model
    from vtsserving._local_store.store import LocalStore

    options = parse_options(option or [])
    model = LocalStore().get(tag)
    with byte_progress(f"Exporting {model.tag}", model.size_bytes) as advance:
        where = export_model(
            model.tag, path, archive_format, options=options, force=force, on_progress=advance
        )
    Console.out(f"{model!r} exported to {where}")


def import_command(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="An archive or a folder, or its URL.", show_default=False)
    ],
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Succeed and change nothing where the tag exists.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Replace a model with the same tag and other content.")
    ] = False,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="What it may unpack to; 64GiB by default."),
    ] = None,
    option: FsOption = None,
) -> None:
    """Take in a model from an archive.

    It keeps the tag that it was saved with. Nothing of it is executed; every byte is checked before it appears.
    """
    from vtsserving._archive import ArchiveLimits, import_model

    options = parse_options(option or [])
    limits = ArchiveLimits(total_bytes=parse_size(max_size)) if max_size is not None else None
    with byte_progress("Importing", None) as advance:
        model = import_model(
            path,
            options=options,
            skip_existing=skip_existing,
            force=force,
            limits=limits,
            on_progress=advance,
        )
    Console.out(f"{model!r} imported")
