"""Published scores beside the results: which there are, and how the means differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from vlm2vec.mmeb.averages import MODALITIES, OVERALL
from vlm2vec.mmeb.comparison import Comparison, MeanDifference, compare
from vlm2vec.mmeb.published import published
from vlm2vec.mmeb.tasks import list_tasks

if TYPE_CHECKING:
    from vlm2vec.mmeb.results import Results

__all__ = ["compared", "comparisons"]


def comparisons(results: Results, names: Sequence[str], version: str | None) -> tuple[Comparison, ...]:
    """The results beside each of some published models, on the tasks of the 78 that there are.

    Args:
        results: What was measured.
        names: Of published models.
        version: Which publication; by default the one that is of the same data.

    Raises:
        InputError: There is no such model or version, or no task can be compared.
    """
    for name in names:
        published(name, version)  # a wrong name is told, also where nothing is compared
    known = {task.name for task in list_tasks("all")}
    scores = {task: score for task, score in results.scores.items() if task in known}
    if not scores:
        return ()
    data = results.data_version
    return tuple(
        compare(scores, name, version=version or data, data=data, model=results.model) for name in names
    )


def compared(found: Sequence[Comparison]) -> str:
    """The section of means and differences; what is not compared, and where the numbers come from."""
    if not found:
        return ""
    averages = [key for key in (OVERALL, *MODALITIES) if any(key in one.means for one in found)]
    head = "".join(f'<th scope="col">{key}</th>' for key in averages)
    rows = "\n".join(
        f'<tr><th scope="row">{escape(one.second)}</th>'
        + "".join(_cell(one.means.get(key)) for key in averages)
        + "</tr>"
        for one in found
    )
    return f"""<section id="published">
<h2>Beside published models</h2>
<p>Means of published models over the same tasks; below each, by how much this model is above or below it.
Stars: paired t-test over tasks, * p &lt; 0.05, ** p &lt; 0.01, *** p &lt; 0.001.</p>
<div class="scroll"><table class="differences">
<thead><tr><th scope="col">published</th>{head}</tr></thead>
<tbody>
{rows}
</tbody></table></div>
<ul class="notes">
{_remarks(found)}
</ul>
</section>"""


def _cell(mean: MeanDifference | None) -> str:
    if mean is None:
        return "<td></td>"
    way = "up" if mean.difference > 0 else "down"
    p = "" if math.isnan(mean.p) else f' title="p = {mean.p:.3g}"'
    return (
        f'<td>{mean.second:.2f}<span class="{way}"{p}>{mean.difference:+.2f}{mean.stars}</span>'
        f"<small>{mean.tasks} tasks</small></td>"
    )


def _remarks(found: Sequence[Comparison]) -> str:
    """Sources, and tasks that are left out, each said once."""
    lines = [source for one in found for source in one.sources]
    for one in found:
        lines += [f"Not compared: {task}, {reason}" for task, reason in one.left_out.items()]
    return "\n".join(f"<li>{escape(line)}</li>" for line in dict.fromkeys(lines))
