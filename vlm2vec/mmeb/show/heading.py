"""The head of the page: which model, on what, and the one number."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from vlm2vec.mmeb.bootstrap import Interval
from vlm2vec.mmeb.tasks import list_tasks

if TYPE_CHECKING:
    from vlm2vec.mmeb.results import Results

__all__ = ["heading"]

_NAMED = 8


def heading(results: Results, overall: Interval) -> str:
    """Name, mean over all tasks, and what a reader has to know of it first."""
    failed = sum(len(result.failures) for result in results.tasks)
    queries = sum(result.queries for result in results.tasks)
    odd = [result.task for result in results.tasks if result.queries != result.expected_queries]
    facts = [
        f"{queries:,} queries",
        f"{failed:,} samples failed" if failed else "no sample failed",
        "compat: none"
        if results.compat is None
        else f"compat: {results.compat}, with the original's mistakes",
    ]
    if results.written is not None:
        facts.append(f"results of {results.written:%Y-%m-%d}")
    chips = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    warning = ""
    if odd:
        named = ", ".join(odd[:_NAMED]) + (" and others" if len(odd) > _NAMED else "")
        warning = (
            f'<p class="warning">Published scores are of another number of queries in {len(odd)} tasks: '
            f"{escape(named)}.</p>"
        )
    return f"""<header>
<p class="suite">{escape(_suite(results))}</p>
<h1>{escape(results.model)}</h1>
<p class="score"><b>{overall.mean:.2f}</b> <span>mean of {_tasks(results)},
95 % interval {overall.low:.2f} to {overall.high:.2f}</span></p>
<ul class="facts">{chips}</ul>{warning}
<nav><a href="#averages">Averages</a><a href="#tasks">Tasks</a><a href="#failures">Failures</a>
<a href="#gallery">Hits and misses</a><a href="#provenance">Provenance</a></nav>
</header>"""


def _suite(results: Results) -> str:
    if results.benchmark == list_tasks("mini"):
        return "MMEB-V2, mini suite: drawn tasks, not the benchmark's"
    return "MMEB-V2"


def _tasks(results: Results) -> str:
    there, of = len(results.tasks), len(results.benchmark)
    if there < of:
        return f"{there} of {of} tasks"
    return "one task" if of == 1 else f"all {of} tasks"
