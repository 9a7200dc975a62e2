"""`vlm2vec mmeb report`: results as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vlm2vec.cli.output import checked_output
from vlm2vec.cli.report import err, out

__all__ = ["EPILOG", "report"]

EPILOG = "[bold]Example:[/bold] vlm2vec mmeb report results --output report.html --data DATA"


def report(
    results: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="A folder of results (--output of run).")
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="The page to write.")] = Path(
        "report.html"
    ),
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="The data that were scored, to show queries; mini needs none."
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="A published model to stand beside; may be given several times.",
            show_default="this model, if it was published, and four others",
        ),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(help="Which publication of scores.", show_default="the one that is of the same data"),
    ] = None,
    queries: Annotated[
        int, typer.Option(min=0, help="How many misses, and how many hits, of each task are shown.")
    ] = 2,
    offline: Annotated[bool, typer.Option("--offline", help="Never ask the hub.")] = False,
) -> None:
    """Write results as one HTML page that fetches nothing: scores, failures, hits and misses.

    Exit codes: 0 written, 1 an error, 2 wrong usage.
    """
    from vlm2vec import mmeb

    checked_output(output, "--output", replace=True)
    mmeb.write_report(
        mmeb.Results.load(results),
        output,
        data_dir=data,
        compare=compare or None,
        version=version,
        queries=queries,
        offline=offline,
        show_progress_bar=err.is_terminal,
    )
    out.print(f"Report: {output}", soft_wrap=True, markup=False)
