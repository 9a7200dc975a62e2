"""Visual documents of ViDoRe and its like: a page's file is named by its id."""

from __future__ import annotations

from vlm2vec.mmeb.loaders.data_folder import DataFolder
from vlm2vec.mmeb.loaders.documents import load_documents
from vlm2vec.mmeb.samples import Key, TaskData
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["load", "page_file"]


def load(task: Task, data: DataFolder, *, compat: str | None = None) -> TaskData:
    """Queries and pages of a task; ids stay numbers where they are.

    Args:
        task: Of the layout "beir_documents".
        data: Where tables and pages lie.
        compat: Makes no difference here.

    Raises:
        VLM2VecError: As `load_documents`.
    """
    del compat
    return load_documents(task, data, page_file)


def page_file(page: Key) -> str:
    """Name of a page's file.

    Example:
        >>> page_file(12)
        '12.png'
    """
    return f"{page}.png"
