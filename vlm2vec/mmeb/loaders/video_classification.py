"""What happens in a clip: its class among all of the data set, or among the labels that its row lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders.contents import clip, columns_in, saved_frames, text_candidate
from vlm2vec.mmeb.loaders.data_folder import DataFolder
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData
from vlm2vec.mmeb.tasks.task import Task
from vlm2vec.notices import warn

__all__ = ["load"]

_LABELS = Path(__file__).parent.parent / "tasks" / "labels"
"""Labels of data sets of whose classes the rows do not have all."""


def load(task: Task, data: DataFolder, *, compat: str | None = None) -> TaskData:
    """Clips and labels. The pool: labels of the rows as they come, then the others of the data set.

    Args:
        task: Of the layout "video_classification".
        data: Where rows and frames lie.
        compat: "v2.0" counts a row as a miss whose label is not among those that it lists.

    Raises:
        MissingDataError: Rows or the folder of the media are not there.
        InputError: A column is missing, or the label of a row is not among those that it lists.

    Warns:
        VLM2VecWarning: The file of all labels is missing, and the rows do not have them all.
    """
    root = data.media_root(task)
    options = task.options
    pool: dict[Key, Content] = {}
    queries = []
    columns = [options["label"], *columns_in(options["folder"])]
    if "candidates" in options:
        columns.append(options["candidates"])
    for i, row in enumerate(data.rows(task, columns=columns)):
        label = row[options["label"]]
        own = tuple(row[options["candidates"]]) if "candidates" in options else None
        if own is not None and label not in own and compat is None:
            raise InputError(
                f'its label "{label}" is not among the {len(own)} that it lists',
                fix='Mend the row, or pass compat="v2.0" (--compat v2.0) to count it as a miss.',
                source=f"{task.name}, row {i}",
            )
        for text in own or (label,):
            pool.setdefault(text, text_candidate(text))
        frames = saved_frames(root / options["folder"].format_map(row), task.frames)
        queries.append(Query(clip(frames, task.query_instruction), (label,), candidates=own))
    for text in _all_labels(task, root, len(pool)):
        pool.setdefault(text, text_candidate(text))
    return TaskData(queries, pool)


def _all_labels(task: Task, root: Path, known: int) -> Sequence[str]:
    """Labels of the data set, from the task or a file; none where rows list their own."""
    labels = task.options.get("labels", ())
    if not isinstance(labels, str):
        return tuple(labels)
    file = root / labels
    for known_file in (file, _LABELS / f"{task.name}.txt"):
        if known_file.is_file():
            return [line for line in known_file.read_text(encoding="utf-8").splitlines() if line]
    if task.candidates is not None and known < task.candidates:
        warn(
            f"{task.name}: there is no file {file}, so that of its {task.candidates} labels only the {known} "
            "of the rows are candidates, and the score comes out too high. Write all into it, one a line.",
            stacklevel=3,
        )
    return ()
