"""The page: its sections one below the other, in one file that fetches nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from vlm2vec._version import __version__
from vlm2vec.errors import InputError
from vlm2vec.gallery import POLICY
from vlm2vec.mmeb.atomic_write import write_text
from vlm2vec.mmeb.show.averages import averages
from vlm2vec.mmeb.show.beside import compared, comparisons
from vlm2vec.mmeb.show.examples import examples
from vlm2vec.mmeb.show.failures import failures
from vlm2vec.mmeb.show.gallery import gallery
from vlm2vec.mmeb.show.heading import heading
from vlm2vec.mmeb.show.provenance import provenance
from vlm2vec.mmeb.show.task_table import task_table

if TYPE_CHECKING:
    from vlm2vec.mmeb.results import Results

__all__ = ["write_report"]


def write_report(
    results: Results,
    path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None,
    compare: Sequence[str],
    version: str | None,
    queries: int,
    candidates: int,
    max_megabytes: float,
    offline: bool,
    show_progress_bar: bool | None,
) -> None:
    """Write results as one HTML file that needs nothing else, with the arguments of `Results.report`."""
    if queries < 0 or candidates < 1:
        raise InputError(
            f"{queries} queries with {candidates} candidates each cannot be shown",
            fix="Pass queries from 0 and candidates from 1.",
        )
    show = sys.stderr.isatty() if show_progress_bar is None else show_progress_bar
    beside = comparisons(results, compare, version)
    intervals = results.intervals()
    with tqdm(total=len(results.tasks), unit=" tasks", desc="Gallery", disable=not show) as bar:
        data = None if data_dir is None else Path(data_dir)
        found = examples(results, data, queries=queries, candidates=candidates, offline=offline, bar=bar)
        pictures = gallery(found, len(results.tasks), per_kind=queries, bytes_in_all=int(1e6 * max_megabytes))
    sections = [
        heading(results, intervals["overall"]),
        averages(results, intervals, beside),
        compared(beside),
        task_table(results, intervals, beside),
        failures(results),
        pictures,
        provenance(results),
    ]
    write_text(Path(path), _page(f"{results.model} on MMEB-V2", [part for part in sections if part]))


def _page(title: str, sections: Sequence[str]) -> str:
    style = files("vlm2vec").joinpath("assets", "html", "page.css").read_text(encoding="utf-8")
    body = "\n".join(sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
{body}
<footer>Written by vlm2vec {escape(__version__)}.</footer>
</body>
</html>
"""
