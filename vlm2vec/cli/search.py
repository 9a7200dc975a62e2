"""`vlm2vec search`: rank the files of a folder for a query."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from vlm2vec.cli.files import collect
from vlm2vec.cli.limits import with_limits
from vlm2vec.cli.model import Model, ProfileName, Truncate, load
from vlm2vec.cli.output import checked_output
from vlm2vec.cli.pictures import write_results
from vlm2vec.cli.ranking import Ranked, embed, rank
from vlm2vec.cli.report import err, print_broken, print_ranking, print_unknown
from vlm2vec.media.limits import Limits

EPILOG = '[bold]Example:[/bold] vlm2vec search "a red circle moving left" holiday --top 5 --html found.html'


@with_limits
def search(
    query: Annotated[str, typer.Argument(help="What to look for, in words.")],
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Where to look, folders in it too.")
    ],
    *,
    top: Annotated[int, typer.Option(min=1, help="How many results to show.")] = 10,
    html: Annotated[Path | None, typer.Option(dir_okay=False, help="Also write them as a gallery.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    model: Model = None,
    profile: ProfileName = None,
    instruction: Annotated[
        str | None, typer.Option(help="What to find for the query.", show_default="the model's own")
    ] = None,
    truncate: Truncate = False,
    limits: Limits,
) -> None:
    """Rank a folder's images, videos, texts and PDF pages for a query.

    Results go to standard output, everything else to standard error.

    Exit codes: 0 all files were read, 1 nothing found or an error, 2 wrong usage, 3 some files are broken.
    """
    if not query.strip():
        raise typer.BadParameter("The query is empty.", param_hint="QUERY")
    if html:
        checked_output(html, "--html", replace=True)
    found = collect(folder, limits)
    broken = dict(found.broken)
    ranked: list[Ranked] = []
    if found.items:
        encoder = load(model, profile, limits=limits)
        # Before the files, which may take hours: a query that cannot be embedded is reported at once.
        vector = encoder.encode_query(
            query, instruction=instruction, truncate=truncate, show_progress_bar=False
        )
        corpus = embed(encoder, found.items, show_progress_bar=err.is_terminal, truncate=truncate)
        broken |= corpus.broken
        if corpus.items:
            ranked = rank(encoder, vector, corpus)[:top]
    if as_json:
        typer.echo(_json(query, ranked, broken))
    elif ranked:
        print_ranking(query, ranked)
    if html and ranked:
        write_results(html, [(query, ranked)], title="vlm2vec search", note=f"In {folder}", limits=limits)
        err.print(f"Gallery: {html}", soft_wrap=True, markup=False)
    print_unknown(found.unknown)
    print_broken(broken)
    if not ranked:
        what = "images, videos, PDFs, .txt and .md files are"
        err.print(f"Nothing in {folder} can be searched: {what}.", style="red", markup=False)
        raise typer.Exit(1)
    raise typer.Exit(3 if broken else 0)


def _json(query: str, ranked: Sequence[Ranked], broken: Mapping[str, str]) -> str:
    results = [
        {
            "rank": row.rank,
            "score": round(row.score, 6),
            "file": row.item.name,
            "page": row.item.page,
            "kind": row.item.kind,
        }
        for row in ranked
    ]
    failures = [{"file": name, "reason": why} for name, why in broken.items()]
    return json.dumps({"query": query, "results": results, "broken": failures}, indent=2)
