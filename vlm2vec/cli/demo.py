"""`vlm2vec demo`: rank sample files that the package draws itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vlm2vec.cli.files import Item, items_of, printable
from vlm2vec.cli.model import load
from vlm2vec.cli.output import checked_output
from vlm2vec.cli.ranking import Ranked, embed, rank
from vlm2vec.cli.report import err, out, print_ranking

EPILOG = "[bold]Example:[/bold] vlm2vec demo --folder samples --html samples.html"
QUERIES_PER_KIND = 2
PRINTED, SHOWN = 3, 5


def demo(
    *,
    folder: Annotated[Path, typer.Option(file_okay=False, help="Where to write the sample files.")] = Path(
        "vlm2vec-demo"
    ),
    html: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="The gallery to write.", show_default="gallery.html in the folder"),
    ] = None,
    no_html: Annotated[bool, typer.Option("--no-html", help="Write no gallery.")] = False,
) -> None:
    """Rank sample images, clips and PDF pages for a few queries.

    The files are drawn by the package and the model is inside it: nothing is downloaded.

    Exit codes: 0 some query found its right answer first, 1 none did or an error, 2 wrong usage.
    """
    from vlm2vec.world.samples import write_samples

    folder.mkdir(parents=True, exist_ok=True)
    page = html or folder / "gallery.html"
    if not no_html:
        checked_output(page, "--html", replace=True)
    with err.status("Drawing the sample files"):
        captions = {(sample.path, sample.page): sample.caption for sample in write_samples(folder)}
    paths = dict.fromkeys(path for path, _ in captions)
    items = [item for path in paths for item in items_of(path, printable(path.relative_to(folder)))]
    asked = _queries(items, captions)
    model = load()
    corpus = embed(model, items, show_progress_bar=err.is_terminal)
    results: list[tuple[str, list[Ranked]]] = []
    first = 0
    for query, answer in asked.items():
        ranked = rank(model, model.encode_query(query, show_progress_bar=False), corpus)
        right_rank = next(row.rank for row in ranked if row.item is answer)
        first += right_rank == 1
        print_ranking(query, _best(ranked, right_rank, PRINTED), right=answer)
        results.append((query, _best(ranked, right_rank, SHOWN)))
    verdict = f"{first} of {len(asked)} queries ranked their right answer first among {len(items)} items."
    out.print(verdict)
    if not no_html:
        from vlm2vec.cli.pictures import write_results

        write_results(page, results, answers=asked, title="vlm2vec demo", note=verdict)
        out.print(f"Gallery: {page}", soft_wrap=True, markup=False)
    raise typer.Exit(0 if first else 1)


def _best(ranked: list[Ranked], right_rank: int, count: int) -> list[Ranked]:
    """The first `count` rows; the right answer at `right_rank` is the last of them if it is further down."""
    return ranked[:count] if right_rank <= count else [*ranked[: count - 1], ranked[right_rank - 1]]


def _queries(items: list[Item], captions: Mapping[Any, str]) -> dict[str, Item]:
    """A few captions of each kind, as queries, with the item that each describes."""
    queries: dict[str, Item] = {}
    for kind in ("image", "video", "pdf"):
        of_kind = [item for item in items if item.kind == kind]
        queries |= {captions[item.path, item.page]: item for item in of_kind[:QUERIES_PER_KIND]}
    return queries
