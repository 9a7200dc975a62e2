"""Hits and misses: queries beside what they found, the right candidates marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from vlm2vec.mmeb.samples import Content
from vlm2vec.mmeb.show.examples import Candidate, Example, TaskExamples
from vlm2vec.mmeb.show.thumbnails import Thumbnails
from vlm2vec.mmeb.tasks import get_task

__all__ = ["gallery"]

_OPEN = 12  # tasks that are all unfolded; of more only the first is
_LETTERS = 600  # of a text


@dataclass
class _Count:
    """What the page shows, of how much."""

    tasks: int = 0
    queries: int = 0
    of_queries: int = 0
    thumbnails: list[Thumbnails] = field(default_factory=list)

    def __str__(self) -> str:
        shown, left_out, broken, spent = (
            sum(getattr(one, name) for one in self.thumbnails)
            for name in ("shown", "left_out", "broken", "spent")
        )
        said = (
            f"Shown: {self.queries:,} of {self.of_queries:,} queries, "
            f"{shown:,} of {shown + left_out + broken:,} pictures, {spent / 1e6:.1f} MB."
        )
        if left_out:
            said += f" {left_out:,} were left out to keep the page small."
        if broken:
            said += f" {broken:,} cannot be read."
        return said


def gallery(found: Iterable[TaskExamples], tasks: int, *, per_kind: int, bytes_in_all: int) -> str:
    """The section: for each task some misses and hits, or why there are none.

    Args:
        found: What is shown, task by task.
        tasks: How many there are.
        per_kind: How many misses, and how many hits, were asked for.
        bytes_in_all: What pictures may take together; each task may take its share of what is left.
    """
    count = _Count()
    parts: list[str] = []
    reasons: dict[str, list[str]] = {}
    for number, one in enumerate(found):
        if one.reason:
            reasons.setdefault(one.reason, []).append(one.result.task)
            continue
        spent = sum(made.spent for made in count.thumbnails)
        pictures = Thumbnails((bytes_in_all - spent) // (tasks - number))
        count.tasks += 1
        count.queries += len(one.shown)
        count.of_queries += one.result.queries
        parts.append(_task(one, pictures, unfolded=tasks <= _OPEN or count.tasks == 1))
        count.thumbnails.append(pictures)
    without = "\n".join(
        f'<p class="warning">Without pictures: {escape(", ".join(names))}. {escape(reason)}</p>'
        for reason, names in reasons.items()
    )
    how = ""
    if parts:
        how = (
            f"<p>Of each task at most {per_kind} misses and {per_kind} hits, at even spaces in the order of "
            "the data and the first included; nobody chose among them. A hit has a right candidate in first "
            "place. Where none of the candidates that are shown first is right, the best right one follows "
            f"with its place, of which only the first ten are known. {count}</p>"
        )
    return f"""<section id="gallery">
<h2>Hits and misses</h2>
{how}
{without}
{chr(10).join(parts)}
</section>"""


def _task(found: TaskExamples, pictures: Thumbnails, *, unfolded: bool) -> str:
    result = found.result
    task = get_task(result.task)
    shown = "\n".join(_example(one, result.metric, pictures) for one in found.shown)
    state = " open" if unfolded else ""
    return f"""<details class="task {task.modality}" id="task-{escape(task.name)}"{state}>
<summary><b>{escape(result.task)}</b> <span>{escape(task.meta_task)}</span>
<span>{escape(result.metric)} {result.percentage:.2f}</span>
<span>misses {found.misses:,}, hits {found.hits:,}</span></summary>
{shown}
</details>"""


def _example(example: Example, metric: str, pictures: Thumbnails) -> str:
    kind = "hit" if example.hit else "miss"
    score = "" if metric.startswith("hit") else f"<span>{escape(metric)} {example.score:.2f}</span>"
    several = f"<span>{example.right:,} right candidates</span>" if example.right > 1 else ""
    none = "" if example.kept else '<p class="gone">It could not be embedded.</p>'
    return f"""<article class="{kind}">
<div class="query"><p class="what"><b>{kind}</b> <span>query {example.number:,}</span>{score}{several}</p>
{pictures.of(example.content, alt=f"query {example.number}", columns=4)}
{_said(example.content)}</div>
<div class="found">{none}<ol class="{_look([one.content for one in example.candidates])}">
{chr(10).join(_candidate(one, example.kept, pictures) for one in example.candidates)}
</ol></div>
</article>"""


def _candidate(one: Candidate, kept: int, pictures: Thumbnails) -> str:
    rank = f"&gt; {kept}" if one.rank is None and kept else str(one.rank or "&ndash;")
    mark = '<span class="answer">right</span>' if one.right else ""
    picture = pictures.of(one.content, alt=str(one.key))
    key = f'<p class="key">{escape(str(one.key))}</p>' if picture else ""
    stage = f'<div class="stage">{picture}</div>' if picture else ""
    return (
        f'<li{" class=right" if one.right else ""}><p class="top"><span class="rank">{rank}</span>{mark}</p>'
        f"{stage}{_text(one.content.text)}{key}</li>"
    )


def _said(content: Content) -> str:
    instruction = f'<p class="instruction" dir="auto">{escape(content.instruction)}</p>'
    return _text(content.text) + (instruction if content.instruction else "")


def _text(text: str) -> str:
    if not text.strip():
        return ""
    shortened = text if len(text) <= _LETTERS else f"{text[:_LETTERS]} …"
    return f'<p class="text" dir="auto">{escape(shortened)}</p>'


def _look(contents: Sequence[Content]) -> str:
    """How candidates are set: texts as lines, clips as strips, pictures as cards."""
    if any(content.frames for content in contents):
        return "strips"
    return "cards" if any(content.image is not None for content in contents) else "texts"
