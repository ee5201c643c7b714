"""`vtsserving predict`: the rows of a file in, the results of a model's method out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from vtsserving_cli.app import examples
from vtsserving_cli.console import Console
from vtsserving_cli.models.arguments import ListFormat, TagArgument
from vtsserving_cli.progress import row_progress
from vtsserving_cli.render import put_json, put_yaml

if TYPE_CHECKING:
    from vtsserving._scoring.score import Done, ScoredFile

EXAMPLES: Final = (
    "vtsserving predict iris_clf:latest in.csv out.csv",
    "vtsserving predict iris_clf:latest in.parquet out.parquet --method predict_proba --keep id",
    "vtsserving predict fraud:production in.parquet out.parquet --processes 4",
    "vtsserving predict iris_clf:latest in.csv out.csv --url http://127.0.0.1:3000",
    "vtsserving predict resnet:latest images.npy scores.npy --batch-rows 64",
)
EXIT_SOME_FAILED: Final = 1


SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="A .csv, .tsv, .parquet, .arrow (.feather), .arrows (stream) or .npy file.",
        show_default=False,
    ),
]
TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="OUTPUT",
        help="In any of these formats; replaced if it exists, when it is whole.",
        show_default=False,
    ),
]
MethodOption = Annotated[
    str,
    typer.Option("--method", "-m", help="__call__, the only one or predict by default.", show_default=False),
]
KeepOption = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="COLUMN", help="Copy this column to the output; repeatable."),
]
KeepAllOption = Annotated[bool, typer.Option("--keep-all", help="Copy all columns to the output.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="COLUMN",
        help="What the method gets, in order; repeatable. What its contract names by default, else all not kept.",
    ),
]
RowsAsOption = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="array, table, list or arguments; what the contract says by default."),
]
ResultNameOption = Annotated[
    str, typer.Option(metavar="NAME", help="The result's column, where it has no names of its own.")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes",
        "-p",
        min=1,
        max=64,
        help="Model processes; the command's own by default. With --url: requests at a time, 4 by default.",
    ),
]
BatchRowsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1_000_000,
        help="Most rows of a call; 16384 by default, 1024 with --url, 8 MiB in any case.",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(help="Let a running gateway compute; VTSSERVING_TOKEN is its token.", show_default=False),
]
InputFormatOption = Annotated[
    str | None,
    typer.Option(metavar="FORMAT", help="csv, tsv, parquet, arrow, arrows or npy; else by the name."),
]
OutputFormatOption = Annotated[str | None, typer.Option(metavar="FORMAT", help="Likewise.")]
RestartOption = Annotated[
    bool, typer.Option("--restart", help="Forget what a run that did not finish has left.")
]


def add_predict(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("predict", epilog=examples(*EXAMPLES))(predict)


def predict(
    tag: TagArgument,
    source: SourceArgument,
    target: TargetArgument,
    method: MethodOption = "",
    keep: KeepOption = None,
    keep_all: KeepAllOption = False,
    column: ColumnOption = None,
    rows_as: RowsAsOption = None,
    result_name: ResultNameOption = "prediction",
    processes: ProcessesOption = None,
    batch_rows: BatchRowsOption = None,
    url: UrlOption = None,
    input_format: InputFormatOption = None,
    output_format: OutputFormatOption = None,
    restart: RestartOption = False,
    output: Annotated[ListFormat, typer.Option("--output", "-o", help="How to print.")] = ListFormat.table,
) -> None:
    """Score a file: call a model's method with all its rows.

    Row i of the output is row i of the input. A row that fails has missing results, and a line in
    OUTPUT.failed.csv; the exit code is then 1. A run that was killed goes on when the command is repeated.
    """
    from vtsserving._scoring.score import predict_file

    with row_progress(f"Scoring with {tag}") as show:

        def report(done: Done) -> None:
            if show is not None:
                show(done.position / max(1, done.total), done.rows, done.failed)

        scored = predict_file(
            tag,
            source,
            target,
            method=method,
            url=url,
            processes=processes,
            batch_rows=batch_rows,
            columns=column or None,
            keep="all" if keep_all else keep or (),
            rows_as=rows_as,
            result_name=result_name,
            input_format=input_format,
            output_format=output_format,
            restart=restart,
            on_progress=report,
        )
    _report(scored, output)
    if scored.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _report(scored: ScoredFile, output: ListFormat) -> None:
    if output is not ListFormat.table:
        record = {
            "output": str(scored.output),
            "tag": scored.tag,
            "rows": scored.rows,
            "failed": scored.failed,
            "failed_file": None if scored.failed_file is None else str(scored.failed_file),
            "seconds": round(scored.seconds, 3),
        }
        put_json(record) if output is ListFormat.json else put_yaml(record)
        return
    Console.out(f"Scored {scored.rows:,} rows with {scored.tag}: {scored.output}")
    if scored.failed:
        Console.warn(
            f"{scored.failed:,} of them failed: {scored.failed_file} has the number and the error of each"
        )
