"""Queries, a corpus of pages, and qrels between them; layouts differ in how a page's file is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from vlm2vec.errors import InputError, MediaError
from vlm2vec.mmeb.loaders.annotation_rows import Rows
from vlm2vec.mmeb.loaders.data_folder import DataFolder
from vlm2vec.mmeb.loaders.pages import Pages
from vlm2vec.mmeb.loaders.qrels import Qrels, read_qrels
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["load_documents"]

_WRONG_REVISION = "Queries, qrels and corpus must be of one revision: download the repository again."


def load_documents(
    task: Task, data: DataFolder, file_name: Callable[[Key], str], *, compat: str | None = None
) -> TaskData:
    """Queries, each of which ranks all pages.

    Candidates are the pages that are right for some query, as queries come, then the rest of the corpus. A
    page is the file in the media's folder, and where there is none the picture in the corpus.

    Args:
        task: Whose.
        data: Where tables and pages lie.
        file_name: Of a page, by its key.
        compat: "v2.0" reads what `options["v2.0"]` says instead: labels that are a page off.

    Raises:
        MissingDataError: Tables are not there.
        MediaError: A page is neither a file nor in the corpus.
        InputError: A column is missing, or a query has no right page: scored as a miss it would lower the
            mean, left out it would raise it, and none of the published sets has one.
    """
    if compat == "v2.0":
        task = _as_it_was(task)
    qrels = read_qrels(data.rows(task, "qrels", columns=("query-id", "corpus-id", "score")))
    rows = data.rows(task, "queries", columns=("query-id", "query"))
    _check_answered(task, [row["query-id"] for row in rows], qrels)
    queries = [_query(task, row["query"], qrels[row["query-id"]]) for row in rows]
    corpus = [row["corpus-id"] for row in data.rows(task, "corpus", columns=("corpus-id",))]
    relevant = dict.fromkeys(page for query in queries for page in query.labels)
    _check_one_type(task, relevant, corpus)
    root = data.find_media_root(task)
    places = _places(task, dict.fromkeys([*relevant, *corpus]), corpus, root, file_name)
    stored = any(isinstance(place, int) for place in places.values())
    table: Rows = data.lazy_rows(task, "corpus", columns=("image",)) if stored else ()
    return TaskData(queries, Pages(places, table, task.target_instruction, task.name))


def _as_it_was(task: Task) -> Task:
    changes = dict(task.options.get("v2.0", {}))
    if "data_roots" in changes:
        changes["data_roots"] = tuple(changes["data_roots"])
    return replace(task, **changes)


def _query(task: Task, text: str, grades: dict[Key, float]) -> Query:
    instruction = task.query_instruction
    content = Content(f"{instruction} {text}" if text else instruction, text or "", instruction)
    graded = len(set(grades.values())) > 1
    return Query(content, tuple(grades), tuple(grades.values()) if graded else ())


def _places(
    task: Task,
    pages: Iterable[Key],
    corpus: list[Key],
    root: Path | None,
    file_name: Callable[[Key], str],
) -> dict[Key, Path | int]:
    """Of each page its file, or where there is none its row in the corpus."""
    row_of: dict[Key, int] = {}
    for number, page in enumerate(corpus):
        row_of.setdefault(page, number)
    places: dict[Key, Path | int] = {}
    for page in pages:
        name = file_name(page)
        if root is not None and (root / name).is_file():
            places[page] = root / name
        elif page in row_of:
            places[page] = row_of[page]
        else:
            raise MediaError(
                f"the page {page!r} of the qrels is not in the corpus, and there is no file {name}",
                fix=_WRONG_REVISION,
                source=task.name,
            )
    return places


def _check_answered(task: Task, queries: list[Key], qrels: Qrels) -> None:
    without = [query for query in queries if query not in qrels]
    if without:
        raise InputError(
            f"{len(without):,} of {len(queries):,} queries have no right page, the first is {without[0]!r}",
            fix=_WRONG_REVISION,
            source=f"{task.name}, qrels",
        )


def _check_one_type(task: Task, relevant: Iterable[Key], corpus: Iterable[Key]) -> None:
    """5 and "5" are two candidates: if tables wrote ids in two ways, each right page would be there twice."""
    types = sorted({type(key).__name__ for key in (*relevant, *corpus)})
    if len(types) > 1:
        raise InputError(
            f'"corpus-id" is {" and ".join(types)} in qrels and corpus',
            fix=_WRONG_REVISION,
            source=task.name,
        )
