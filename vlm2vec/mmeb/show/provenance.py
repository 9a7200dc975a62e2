"""What the results depend on: model, settings, data, and who did the scoring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from vlm2vec.mmeb.tasks import get_task, list_tasks

if TYPE_CHECKING:
    from vlm2vec.mmeb.results import Results

__all__ = ["provenance"]

_DETAILS = 8  # as many lines as are read at a glance; the rest is folded


def provenance(results: Results) -> str:
    """The section: as much as the results know of themselves."""
    made_of = results.tasks[0].made_of
    drawn = results.benchmark == list_tasks("mini")
    known = {name: value for name, value in made_of.items() if name not in {"data", "model", "compat"}}
    lines = [
        ("model", results.model),
        (
            "compat",
            "none: what the original does wrong is done right" if results.compat is None else results.compat,
        ),
        ("data", "drawn from a seed" if drawn else f"as of published scores, {results.data_version}"),
        (
            "results written",
            "not known" if results.written is None else f"{results.written:%Y-%m-%d %H:%M} UTC",
        ),
        *_flat(known),
        ("made by", ", ".join(f"{name} {version}" for name, version in results.tasks[0].versions.items())),
    ]
    # What is nested deeper is read less.
    model = sorted(_flat(made_of.get("model", {})), key=lambda line: line[0].count("."))
    shown, folded = model[:_DETAILS], model[_DETAILS:]
    more = f"<details><summary>{len(folded)} more</summary>\n{_list(folded)}\n</details>" if folded else ""
    return f"""<section id="provenance">
<h2>Provenance</h2>
{_list(lines)}
<h3>What vectors depend on</h3>
{_list(shown)}
{more}
<details><summary>Data of each task</summary>
<div class="scroll"><table class="data">
<thead><tr><th scope="col">task</th><th scope="col">repository</th><th scope="col">revision</th>
<th scope="col">digest of the data</th><th scope="col">seconds</th></tr></thead>
<tbody>
{_data(results)}
</tbody></table></div>
</details>
</section>"""


def _data(results: Results) -> str:
    rows = []
    for result in results.tasks:
        task = get_task(result.task).as_of(results.compat)
        cells = [
            task.repo,
            result.revisions.get(task.repo) or task.revision or "not pinned",
            result.made_of.get("data", "not known"),
            f"{result.seconds:,.1f}",
        ]
        rest = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{escape(result.task)}</th>{rest}</tr>')
    return "\n".join(rows)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings as lines; what is empty or not set has none."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    elif value not in (None, "", [], ()):
        yield name, str(value)


def _list(lines: Iterable[tuple[str, str]]) -> str:
    rows = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in lines)
    return f"<dl>\n{rows}\n</dl>"
