"""Captions that look for their video among those of all rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders.contents import clip, saved_frames, video_name
from vlm2vec.mmeb.loaders.data_folder import DataFolder
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["load"]


def load(task: Task, data: DataFolder, *, compat: str | None = None) -> TaskData:
    """Captions and videos. The pool: the videos of all rows as they come, each once.

    Args:
        task: Of the layout "video_retrieval".
        data: Where rows and frames lie.
        compat: Makes no difference here.

    Raises:
        MissingDataError: Rows or the folder of the media are not there.
        InputError: A column is missing, or a row has no caption.
    """
    del compat
    root = data.media_root(task)
    pool: dict[Key, Content] = {}
    queries = []
    for i, row in enumerate(data.rows(task, columns=[task.options["video"], task.options["caption"]])):
        video = video_name(row, task.options)
        if video not in pool:
            pool[video] = clip(saved_frames(root / video, task.frames), task.target_instruction)
        instruction, text = task.query_instruction, _caption(row, task.options, f"{task.name}, row {i}")
        queries.append(Query(Content(f"{instruction} {text}", text, instruction), (video,)))
    return TaskData(queries, pool)


def _caption(row: Mapping[str, Any], options: Mapping[str, Any], name: str) -> str:
    caption = row[options["caption"]]
    if options.get("caption_list"):
        caption = next(iter(caption), "")
    if not caption or not isinstance(caption, str):
        raise InputError(
            f'there is no caption in the column "{options["caption"]}"', fix="Mend the row.", source=name
        )
    return caption
