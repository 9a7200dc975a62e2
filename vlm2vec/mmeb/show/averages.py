"""Averages as bars, with how far they could be off, beside those of published models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from vlm2vec.mmeb.averages import MODALITIES, OVERALL, coverage
from vlm2vec.mmeb.bootstrap import Interval
from vlm2vec.mmeb.comparison import Comparison

if TYPE_CHECKING:
    from vlm2vec.mmeb.results import Results

__all__ = ["averages"]


def averages(results: Results, intervals: Mapping[str, Interval], comparisons: Sequence[Comparison]) -> str:
    """A card for each average: overall, modalities, meta-tasks."""
    counts = coverage(results.scores, tasks=results.benchmark)
    there = [key for key in counts if key in intervals]
    large = [key for key in (OVERALL, *MODALITIES) if key in there]
    cards = {
        key: _card(key, intervals[key], counts[key], results.model, comparisons, large=key in large)
        for key in there
    }
    small = "\n".join(card for key, card in cards.items() if key not in large)
    beside = (
        "Grey bars: published scores over the same tasks."
        if comparisons
        else "Published scores are of the 78 tasks of the benchmark; these are others, so none stand beside."
    )
    slim = "" if comparisons else " slim"
    return f"""<section id="averages">
<h2>Averages</h2>
<p>Unweighted means over tasks, in percent. The line on a bar is the 95 % interval with other queries of the
same tasks (bootstrap over queries). {beside}</p>
<div class="cards first{slim}">
{chr(10).join(cards[key] for key in large)}
</div>
<h3>By meta-task</h3>
<div class="cards{slim}">
{small}
</div>
</section>"""


def _card(
    key: str,
    own: Interval,
    count: tuple[int, int],
    model: str,
    comparisons: Sequence[Comparison],
    *,
    large: bool,
) -> str:
    bars = [_bar(model if comparisons else "", own.mean, own)]
    for one in comparisons:
        mean = one.means.get(key)
        if mean is not None:
            partly = "" if mean.tasks == count[0] else f", {mean.tasks} of {count[0]} tasks"
            bars.append(_bar(f"{one.second}{partly}", mean.second))
    return (
        f'<div class="card{" wide" if large else ""}"><h4>{escape(key)}</h4>'
        f'<p class="mean">{own.mean:.2f}</p>'
        f'<p class="under"><span>{own.low:.1f} &ndash; {own.high:.1f}</span> <span>{_of(count)}</span></p>'
        f"{''.join(bars)}</div>"
    )


def _bar(label: str, value: float, interval: Interval | None = None) -> str:
    line = ""
    if interval is not None:
        width = interval.high - interval.low
        line = f'<i class="interval" style="left:{interval.low:.2f}%;width:{width:.2f}%"></i>'
    name = f"<span>{escape(label)}</span><b>{value:.1f}</b>" if label else ""
    kind = "other" if interval is None else "own"
    track = f'<div class="track"><i style="width:{value:.2f}%"></i>{line}</div>'
    return f'<div class="bar {kind}">{name}{track}</div>'


def _of(count: tuple[int, int]) -> str:
    present, of = count
    if present < of:
        return f"{present} of {of} tasks"
    return "1 task" if of == 1 else f"{of} tasks"
