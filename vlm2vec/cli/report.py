"""What the commands print: a table per query, and lists of what could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vlm2vec.cli.files import Item
from vlm2vec.cli.ranking import Ranked

__all__ = ["err", "out", "print_broken", "print_ranking", "print_unknown"]

out = Console(highlight=False)
"""Results: what a pipe should get."""

err = Console(stderr=True, highlight=False)
"""Everything else: progress, notes, failures."""


def print_ranking(query: str, ranked: Sequence[Ranked], *, right: Item | None = None) -> None:
    """A table of one query's results, best first.

    Args:
        query: The query.
        ranked: The rows to show.
        right: The item known to be the right answer, which is marked.
    """
    # Text objects, because a bracket in a query or a file name is not markup.
    table = Table(title=Text(query), title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    table.add_column("rank", justify="right")
    table.add_column("score", justify="right")
    table.add_column("file", overflow="fold")
    table.add_column("what")
    if right is not None:
        table.add_column("")
    for row in ranked:
        hit = row.item is right
        cells: list[str | Text] = [str(row.rank), f"{row.score:.3f}", Text(row.item.name), row.item.label]
        if right is not None:
            cells.append("right" if hit else "")
        table.add_row(*cells, style="bold green" if hit else None)
    out.print(table)


def print_broken(broken: Mapping[str, str]) -> None:
    """The files that could not be read, each with the reason."""
    if not broken:
        return
    err.print(f"{len(broken)} could not be read:", style="yellow")
    for name, why in broken.items():
        err.print(Text.assemble("  ", (name, "bold"), ": ", why), soft_wrap=True)


def print_unknown(unknown: Counter[str]) -> None:
    """How many files were left out because they are of no kind that can be embedded."""
    if unknown:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unknown.items()))
        err.print(Text(f"Left out, of other kinds: {kinds}."), style="dim", soft_wrap=True)
