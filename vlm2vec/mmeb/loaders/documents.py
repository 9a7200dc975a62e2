"""Visual documents: queries, a corpus of pages, and qrels; layouts differ in how a page's file is called."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vlm2vec.encoding.prompt import IMAGE_TOKEN
from vlm2vec.errors import InputError, MediaError
from vlm2vec.mmeb.loaders.annotation_rows import Rows
from vlm2vec.mmeb.loaders.data_folder import DataFolder
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["Pages", "beir_file", "load", "visrag_file"]

_WRONG_REVISION = "Queries, qrels and corpus must be of one revision: download the repository again."

Qrels: TypeAlias = dict[Key, dict[Key, float]]
"""Grades by query and page, both in the order of the table."""


def read_qrels(rows: Iterable[Mapping[str, Any]]) -> Qrels:
    """Grades above 0; of several for one pair the highest.

    Example:
        >>> rows = [(1, "a", 1), (1, "b", 0), (1, "a", 2)]
        >>> read_qrels({"query-id": q, "corpus-id": c, "score": s} for q, c, s in rows)
        {1: {'a': 2.0}}
    """
    qrels: Qrels = {}
    for row in rows:
        grade = float(row["score"])
        if grade > 0:
            grades = qrels.setdefault(row["query-id"], {})
            page = row["corpus-id"]
            grades[page] = max(grade, grades.get(page, 0.0))
    return qrels


@dataclass(frozen=True)
class Pages(Mapping[Key, Content]):
    """Pages by key, as files or as pictures in a table, of which there may be more than memory holds.

    Attributes:
        files: Of each page where its file is, or would be.
        rows: Of each page without a file its row in the table.
        table: Rows with the column "image"; empty if all pages should be files.
        instruction: What is asked of a page.
    """

    files: Mapping[Key, Path]
    rows: Mapping[Key, int]
    table: Rows
    instruction: str

    def __getitem__(self, key: Key) -> Content:
        prompt = f"{IMAGE_TOKEN} {self.instruction}"
        image = self._stored(key) or self.files[key]
        return Content(prompt, instruction=self.instruction, image=image)

    def __iter__(self) -> Iterator[Key]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def _stored(self, key: Key) -> bytes | None:
        """The picture in the table, if there is one."""
        if key not in self.rows or not self.table:
            return None
        cell = self.table[self.rows[key]]["image"]
        picture = cell.get("bytes") if isinstance(cell, Mapping) else cell
        return picture if isinstance(picture, bytes) else None


def beir_file(page: Key) -> str:
    """Name of a page's file in ViDoRe and its like.

    Example:
        >>> beir_file(12)
        '12.png'
    """
    return f"{page}.png"


def visrag_file(page: Key) -> str:
    """Name of a page's file in VisRAG, where ids are names of files that some file systems cannot hold.

    It is 50 characters of the id, 8 digits of the id's MD5, and the id's extension.

    TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4, `src/data/eval_dataset/visrag_dataset.py`, lines 30 to 33.

    Example:
        >>> visrag_file("1301.3781_3.jpg")
        '1301.3781_3_f688bdeb.jpg'
    """
    name = str(page)
    stem, suffix = posixpath.splitext(name)
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return f"{stem[:50]}_{digest[:8]}{suffix}"


_FILE_NAMES: dict[str, Callable[[Key], str]] = {
    "beir_documents": beir_file,
    "visrag_documents": visrag_file,
}


def load(task: Task, data: DataFolder, *, compat: str | None = None) -> TaskData:
    """Queries, each of which ranks all pages.

    Candidates are the pages that are right for some query, as queries come, then the rest of the corpus. A
    page is the file in the media's folder, and where there is none the picture in the corpus.

    Args:
        task: Of the layout "beir_documents" or "visrag_documents"; ids stay numbers where they are.
        data: Where tables and pages lie.
        compat: Makes no difference here.

    Raises:
        MissingDataError: Tables are not there.
        MediaError: A page is neither a file nor in the corpus.
        InputError: A column is missing, or a query has no right page: scored as a miss it would lower the
            mean, left out it would raise it, and none of the published sets has one.
    """
    del compat
    file_name = _FILE_NAMES[task.layout]
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
