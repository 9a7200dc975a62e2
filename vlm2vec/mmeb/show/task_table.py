"""All tasks as a map of scores: a row for each task, a column for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from vlm2vec.mmeb.bootstrap import Interval
from vlm2vec.mmeb.comparison import Comparison
from vlm2vec.mmeb.task_result import TaskResult
from vlm2vec.mmeb.tasks import get_task

if TYPE_CHECKING:
    from vlm2vec.mmeb.results import Results

__all__ = ["task_table"]


def task_table(results: Results, intervals: Mapping[str, Interval], comparisons: Sequence[Comparison]) -> str:
    """The section: darker cells are higher scores; what is odd about published ones stands below."""
    notes: dict[str, int] = {}
    models = "".join(
        f'<th scope="col" class="model">{escape(name)}</th>'
        for name in (results.model, *(one.second for one in comparisons))
    )
    bodies = []
    for modality, group in groupby(results.tasks, key=lambda result: get_task(result.task).modality):
        rows = "\n".join(_row(result, intervals[result.task], comparisons, notes) for result in group)
        bodies.append(
            f'<tbody><tr class="group"><th scope="rowgroup" colspan="{len(comparisons) + 6}">'
            f"<span>{escape(modality)}</span></th></tr>\n{rows}</tbody>"
        )
    listed = "\n".join(f'<li value="{number}">{escape(note)}</li>' for note, number in notes.items())
    below = f'<ol class="notes">\n{listed}\n</ol>' if notes else ""
    return f"""<section id="tasks">
<h2>Tasks</h2>
<p>Headline metric of each task, in percent; below the score its 95 % interval. The deeper the colour, the
higher the score.</p>
<div class="scroll"><table class="map">
<thead><tr><th scope="col">task</th><th scope="col" class="word">meta-task</th>{models}
<th scope="col" class="word">metric</th><th scope="col">queries</th><th scope="col">candidates</th></tr>
</thead>
{chr(10).join(bodies)}
</table></div>
{below}
</section>"""


def _row(result: TaskResult, own: Interval, comparisons: Sequence[Comparison], notes: dict[str, int]) -> str:
    cells = [
        f'<td class="heat own" style="--v:{own.mean:.1f}">{own.mean:.2f}'
        f"<small>{own.low:.1f} &ndash; {own.high:.1f}</small></td>"
    ]
    for one in comparisons:
        row = one.tasks.get(result.task)
        if row is None:
            why = one.left_out.get(result.task, "not of the 78 tasks")
            cells.append(f'<td class="none" title="{escape(why)}">&ndash;</td>')
            continue
        mark = ""
        if row.note:
            number = notes.setdefault(row.note, len(notes) + 1)
            mark = f'<sup title="{escape(row.note)}">{number}</sup>'
        cells.append(f'<td class="heat" style="--v:{row.second:.1f}">{row.second:.2f}{mark}</td>')
    of = "" if result.queries == result.expected_queries else f" of {result.expected_queries:,}"
    return (
        f'<tr><th scope="row">{escape(result.task).replace("_", "_<wbr>")}</th>'
        f'<td class="word">{escape(get_task(result.task).meta_task)}</td>{"".join(cells)}'
        f'<td class="word">{escape(result.metric)}</td>'
        f"<td>{result.queries:,}{of}</td><td>{result.candidates:,}</td></tr>"
    )
