"""From the public layouts of the benchmark's data to `TaskData`: a function for each layout."""

from __future__ import annotations

from typing import Protocol

from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders import (
    documents,
    image_rows,
    moment_retrieval,
    multiple_choice,
    video_classification,
    video_retrieval,
)
from vlm2vec.mmeb.loaders.data_folder import DataFolder, MissingDataError
from vlm2vec.mmeb.samples import TaskData
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["DataFolder", "Loader", "MissingDataError", "load", "loader_of"]


class Loader(Protocol):
    """Reads all of a task."""

    def __call__(self, task: Task, data: DataFolder, *, compat: str | None = None) -> TaskData:
        """The queries and candidates of a task.

        Media are named, not read: some of the files may not be there.

        Args:
            task: What to read, of the loader's layout.
            data: Where it lies.
            compat: "v2.0" does what the original does where it is wrong.
        """
        ...


_LAYOUTS: dict[str, Loader] = {
    "image_rows": image_rows.load,
    "video_classification": video_classification.load,
    "video_retrieval": video_retrieval.load,
    "moment_retrieval": moment_retrieval.load,
    "multiple_choice": multiple_choice.load,
    "beir_documents": documents.load,
    "visrag_documents": documents.load,
}


def loader_of(layout: str) -> Loader:
    """What reads a layout.

    Raises:
        InputError: There is no such layout.

    Example:
        >>> loader_of("image_rows").__module__
        'vlm2vec.mmeb.loaders.image_rows'
    """
    if layout not in _LAYOUTS:
        raise InputError(f'there is no layout "{layout}"', fix=f"Choose one of {', '.join(_LAYOUTS)}.")
    return _LAYOUTS[layout]


def load(task: Task, data: DataFolder, *, compat: str | None = None) -> TaskData:
    """All of a task, by the loader of its layout.

    Media are named, not read: some of the files may not be there.

    Args:
        task: What to read.
        data: Where it lies.
        compat: "v2.0" does what the original does where it is wrong.

    Raises:
        MissingDataError: Annotations or the folder of the media are not there.
        MediaError: A page is neither a file nor in the corpus.
        InputError: Annotations do not say what they should.
    """
    return loader_of(task.layout)(task.as_of(compat), data, compat=compat)
