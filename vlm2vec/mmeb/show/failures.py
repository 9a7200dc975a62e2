"""Samples that could not be embedded, and why."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from vlm2vec.mmeb.task_result import TaskResult

if TYPE_CHECKING:
    from vlm2vec.mmeb.results import Results

__all__ = ["failures"]

_LISTED = 50  # of a task


def failures(results: Results) -> str:
    """The section: by task, the first of many."""
    failed = [result for result in results.tasks if result.failures]
    if failed:
        total = sum(len(result.failures) for result in failed)
        said = (
            f"{total:,} samples could not be embedded. Such a query scores 0, such a candidate never ranks."
        )
        listed = "\n".join(_of_task(result) for result in failed)
    else:
        said, listed = "Every sample was embedded.", ""
    return f'<section id="failures">\n<h2>Failures</h2>\n<p>{said}</p>\n{listed}\n</section>'


def _of_task(result: TaskResult) -> str:
    lines = [
        f'<li dir="auto"><b>{escape(one.role)} {escape(one.which)}</b> {escape(one.error)}</li>'
        for one in result.failures[:_LISTED]
    ]
    more = len(result.failures) - _LISTED
    if more > 0:
        lines.append(f"<li>and {more:,} more</li>")
    summary = f"<summary>{escape(result.task)} <span>{len(result.failures):,}</span></summary>"
    return f'<details class="failed">{summary}<ul>{"".join(lines)}</ul></details>'
