"""What the commands print: a table per query, and lists of what could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from vlm2vec.cli.files import Item
from vlm2vec.cli.ranking import Ranked

__all__ = ["err", "out", "print_broken", "print_ranking", "print_unknown"]

out = Console(highlight=False)
"""Results: what a pipe should get."""

err = Console(stderr=True, highlight=False)
"""Everything else: progress, notes, failures."""

UNBOUNDED = 10_000
MIN_NAME = 12


def print_ranking(query: str, ranked: Sequence[Ranked], *, right: Item | None = None) -> None:
    """A table of one query's results, best first.

    In a terminal too narrow for it, long names lose their middle; a pipe gets whole names, unpadded.

    Args:
        query: The query.
        ranked: The rows to show.
        right: The item known to be the right answer, which is marked.
    """
    # Text objects, because a bracket in a query or a file name is not markup.
    out.print(Text(query, style="bold"), soft_wrap=True)
    longest = max((cell_len(row.item.name) for row in ranked), default=0)
    table = _table(ranked, right, longest)
    if out.is_terminal:
        width = Measurement.get(out, out.options.update(width=UNBOUNDED), table).maximum
        out.print(_table(ranked, right, max(MIN_NAME, longest - max(0, width - out.width))))
        return
    # Rendered for `out`, which knows what characters the pipe can hold.
    for line in out.render_lines(table, out.options.update(width=UNBOUNDED), pad=False):
        out.print(Text("".join(segment.text for segment in line).rstrip()), soft_wrap=True)


def _table(ranked: Sequence[Ranked], right: Item | None, name_cells: int) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    table.add_column("what", no_wrap=True)
    if right is not None:
        table.add_column("", no_wrap=True)
    for row in ranked:
        hit = row.item is right
        cells: list[str | Text] = [
            str(row.rank),
            f"{row.score:.3f}",
            Text(_shortened(row.item.name, name_cells)),
            row.item.label,
        ]
        if right is not None:
            cells.append("right" if hit else "")
        table.add_row(*cells, style="bold green" if hit else None)
    return table


def _shortened(name: str, cells: int) -> str:
    """The name with an ellipsis for its middle if it is wider than `cells`."""
    if cell_len(name) <= cells:
        return name
    mark = "..." if out.options.ascii_only else "…"
    start, end = name[: len(name) // 2], name[len(name) // 2 :]
    while cell_len(start) + cell_len(mark) + cell_len(end) > cells:
        start, end = (start[:-1], end) if cell_len(start) >= cell_len(end) else (start, end[1:])
    return f"{start}{mark}{end}"


def print_broken(broken: Mapping[str, str], *, count: int | None = None) -> None:
    """The files that could not be read, each with the reason.

    Args:
        broken: Reasons by name.
        count: How many there are, where these are some of them.
    """
    if not broken:
        return
    err.print(f"{count or len(broken):,} could not be read:", style="yellow")
    for name, why in broken.items():
        err.print(Text.assemble("  ", (name, "bold"), ": ", why), soft_wrap=True)


def print_unknown(unknown: Counter[str]) -> None:
    """How many files were left out because they are of no kind that can be embedded."""
    if unknown:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unknown.items()))
        err.print(Text(f"Left out, of other kinds: {kinds}."), style="dim", soft_wrap=True)
