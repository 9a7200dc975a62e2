"""Visual documents of VisRAG: ids are names of files, shortened as some are too long for file systems."""

from __future__ import annotations

import hashlib
import posixpath

from vlm2vec.mmeb.loaders.data_folder import DataFolder
from vlm2vec.mmeb.loaders.documents import load_documents
from vlm2vec.mmeb.samples import Key, TaskData
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["load", "page_file"]


def load(task: Task, data: DataFolder, *, compat: str | None = None) -> TaskData:
    """Queries and pages of a task.

    Args:
        task: Of the layout "visrag_documents".
        data: Where tables and pages lie.
        compat: Makes no difference here.

    Raises:
        VLM2VecError: As `load_documents`.
    """
    del compat
    return load_documents(task, data, page_file)


def page_file(page: Key) -> str:
    """Name of a page's file: 50 characters of its id, 8 digits of the id's MD5, and the id's extension.

    TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4, `src/data/eval_dataset/visrag_dataset.py`, lines 30 to 33.

    Example:
        >>> page_file("1301.3781_3.jpg")
        '1301.3781_3_f688bdeb.jpg'
    """
    name = str(page)
    stem, suffix = posixpath.splitext(name)
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return f"{stem[:50]}_{digest[:8]}{suffix}"
