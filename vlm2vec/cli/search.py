"""`vlm2vec search`: rank what an index holds, or the files of a folder, for a query."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vlm2vec.cli.files import Item, collect
from vlm2vec.cli.limits import with_limits
from vlm2vec.cli.model import Model, ProfileName, Truncate, check_names, load
from vlm2vec.cli.output import checked_output
from vlm2vec.cli.ranking import Ranked, embed, rank
from vlm2vec.cli.report import err, print_broken, print_ranking, print_unknown
from vlm2vec.media.limits import Limits

EPILOG = '[bold]Example:[/bold] vlm2vec search "a red circle moving left" holiday --html found.html'


@with_limits
def search(
    query: Annotated[
        str, typer.Argument(help="What to look for, in words; left out with --like.", show_default=False)
    ],
    place: Annotated[
        Path | None,
        typer.Argument(help="Where to look: an index, or the folder that it is of.", show_default=False),
    ] = None,
    *,
    like: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A picture, clip or PDF to look for; beside words too."
        ),
    ] = None,
    page: Annotated[int | None, typer.Option(min=1, help="Page of the PDF to look for.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many results to show.")] = 10,
    where: Annotated[
        str | None, typer.Option(help="Condition in SQL, such as \"kind = 'pdf' AND page < 3\".")
    ] = None,
    under: Annotated[Path | None, typer.Option(help="Only files below this folder.")] = None,
    per_file: Annotated[int | None, typer.Option(min=1, help="Results of one file at most.")] = None,
    once: Annotated[
        bool,
        typer.Option("--once", help="Without an index: encode all files of the folder, and keep nothing."),
    ] = False,
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
    """Rank images, moments of videos, passages of texts and PDF pages for a query.

    The folder needs an index, which `vlm2vec index FOLDER` makes, or --once. Results go to standard output,
    everything else to standard error.

    Exit codes: 0 results, 1 nothing found or an error, 2 wrong usage, 3 (--once) some files are broken.
    """
    words, folder = _query_and_place(query, place, like)
    if not folder.is_dir():
        raise typer.BadParameter(f"There is no folder {folder}.", param_hint="PLACE")
    if page is not None and like is None:
        raise typer.BadParameter("It is the page of what --like names.", param_hint="--page")
    check_names(model, profile)
    if html:
        checked_output(html, "--html", replace=True)
    shown = _shown(words, like, page)
    wanted = _input(words, like, page)
    broken: dict[str, str] = {}
    if once:
        ranked, broken = _ranked_once(
            folder,
            wanted,
            top,
            model=model,
            profile=profile,
            instruction=instruction,
            truncate=truncate,
            limits=limits,
        )
        found = True
    else:
        ranked = _ranked(
            folder,
            wanted,
            top,
            model=model,
            profile=profile,
            limits=limits,
            instruction=instruction,
            where=where,
            under=under,
            per_file=per_file,
        )
        found = bool(ranked)
    if as_json:
        typer.echo(_json(shown, ranked, broken))
    elif ranked:
        print_ranking(shown, ranked)
    if html and ranked:
        from vlm2vec.cli.pictures import write_results

        write_results(html, [(shown, ranked)], title="vlm2vec search", note=f"In {folder}", limits=limits)
        err.print(f"Gallery: {html}", soft_wrap=True, markup=False)
    print_broken(broken)
    if not ranked:
        what = "images, videos, PDFs, .txt and .md files are"
        said = f"Nothing in {folder} can be searched: {what}." if once else f"Nothing in {folder} fits."
        err.print(said, style="red", markup=False)
        raise typer.Exit(1)
    raise typer.Exit(3 if broken and found else 0)


def _query_and_place(query: str, place: Path | None, like: Path | None) -> tuple[str | None, Path]:
    """The words, if there are any, and the folder; of one argument beside --like, it is the folder."""
    if place is None:
        if like is None:
            raise typer.BadParameter("Say where to look: an index, or a folder.", param_hint="PLACE")
        return None, Path(query)
    if not query.strip():
        raise typer.BadParameter("The query is empty.", param_hint="QUERY")
    return query, place


def _input(words: str | None, like: Path | None, page: int | None) -> Any:
    if like is None:
        return words
    medium: Any = like if page is None else {"pdf": like, "page": page}
    return medium if words is None else [medium, words]


def _shown(words: str | None, like: Path | None, page: int | None) -> str:
    if like is None:
        return words or ""
    name = f"like {like.name}" if page is None else f"like {like.name}, page {page}"
    return name if words is None else f"{words} ({name})"


def _ranked(
    folder: Path,
    wanted: Any,
    top: int,
    *,
    model: str | None,
    profile: str | None,
    limits: Limits,
    **options: Any,
) -> list[Ranked]:
    from vlm2vec.index import Index
    from vlm2vec.index.place import find_store

    store = find_store(folder)
    if store is None:
        raise typer.BadParameter(
            f"There is no index of {folder}. Make one: vlm2vec index {folder}, or add --once.",
            param_hint="PLACE",
        )
    hits = Index(store, model, profile=profile, limits=limits).search(wanted, top, **options)
    return [
        Ranked(
            number,
            hit.score,
            Item(hit.name, hit.path, hit.kind, None, hit.page, hit.start, hit.end, hit.text),
        )
        for number, hit in enumerate(hits, start=1)
    ]


def _ranked_once(
    folder: Path,
    wanted: Any,
    top: int,
    *,
    model: str | None,
    profile: str | None,
    instruction: str | None,
    truncate: bool,
    limits: Limits,
) -> tuple[list[Ranked], dict[str, str]]:
    found = collect(folder, limits)
    broken = dict(found.broken)
    ranked: list[Ranked] = []
    if found.items:
        encoder = load(model, profile, limits=limits)
        # Before the files, which may take hours: a query that cannot be embedded is reported at once.
        (vector,) = encoder.encode_query(
            [wanted], instruction=instruction, truncate=truncate, show_progress_bar=False
        )
        corpus = embed(encoder, found.items, show_progress_bar=err.is_terminal, truncate=truncate)
        broken |= corpus.broken
        if corpus.items:
            ranked = rank(encoder, vector, corpus)[:top]
    print_unknown(found.unknown)
    return ranked, broken


def _json(query: str, ranked: Sequence[Ranked], broken: Mapping[str, str]) -> str:
    results = [
        {
            "rank": row.rank,
            "score": round(row.score, 6),
            "file": row.item.name,
            "page": row.item.page,
            "start": row.item.start,
            "end": row.item.end,
            "kind": row.item.kind,
            **({} if row.item.text is None else {"text": row.item.text}),
        }
        for row in ranked
    ]
    failures = [{"file": name, "reason": why} for name, why in broken.items()]
    return json.dumps({"query": query, "results": results, "broken": failures}, indent=2)
