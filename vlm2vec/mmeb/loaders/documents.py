"""Queries, a corpus of pages, and qrels between them; layouts differ in how a page's file is called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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


def load_documents(task: Task, data: DataFolder, file_name: Callable[[Key], str]) -> TaskData:
    """Queries, each of which ranks all pages.

    Candidates are the pages that are right for some query, as queries come, then the rest of the corpus. A
    page is the file in the media's folder, and where there is none the picture in the corpus.

    Args:
        task: Whose.
        data: Where tables and pages lie.
        file_name: Of a page, by its key.

    Raises:
        MissingDataError: Tables are not there.
        MediaError: A page is neither a file nor in the corpus.
        InputError: A column is missing, or a query has no right page: scored as a miss it would lower the
            mean, left out it would raise it, and none of the published sets has one.
    """
    qrels = read_qrels(data.rows(task, "qrels", columns=("query-id", "corpus-id", "score")))
    rows = data.rows(task, "queries", columns=("query-id", "query"))
    _check_answered(task, [row["query-id"] for row in rows], qrels)
    queries = [_query(task, row["query"], qrels[row["query-id"]]) for row in rows]
    corpus = [row["corpus-id"] for row in data.rows(task, "corpus", columns=("corpus-id",))]
    relevant = dict.fromkeys(page for query in queries for page in query.labels)
    _check_one_type(task, relevant, corpus)
    root = data.find_media_root(task)
    folder = root or (data.folder or Path("DATA")) / task.roots[0]
    files = {page: folder / file_name(page) for page in (*relevant, *corpus)}
    rows_of = _rows_of(task, files, corpus)
    pictures = _pictures(task, data, required=root is None) if rows_of else ()
    return TaskData(queries, Pages(files, rows_of, pictures, task.target_instruction))


def _query(task: Task, text: str, grades: dict[Key, float]) -> Query:
    instruction = task.query_instruction
    content = Content(f"{instruction} {text}" if text else instruction, text or "", instruction)
    graded = len(set(grades.values())) > 1
    return Query(content, tuple(grades), tuple(grades.values()) if graded else ())


def _rows_of(task: Task, files: Mapping[Key, Path], corpus: list[Key]) -> dict[Key, int]:
    """Of each page without a file its row in the corpus, the first if there are several."""
    first: dict[Key, int] = {}
    for number, page in enumerate(corpus):
        first.setdefault(page, number)
    without = {page: file.name for page, file in files.items() if not file.is_file()}
    for page, name in without.items():
        if page not in first:
            raise MediaError(
                f"the page {page!r} of the qrels is not in the corpus, and there is no file {name}",
                fix=_WRONG_REVISION,
                source=task.name,
            )
    return {page: first[page] for page in without}


def _pictures(task: Task, data: DataFolder, *, required: bool) -> Rows:
    """Rows of the corpus with their pictures; none if it has no such column, where pages are files."""
    try:
        return data.lazy_rows(task, "corpus", columns=("image",))
    except InputError:
        if required:
            raise
        return ()


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
