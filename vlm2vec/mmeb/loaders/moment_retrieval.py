"""Which of some clips is meant: by a sentence, with the video it is about, a picture, a clip or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders.contents import clip, saved_frames, video_name
from vlm2vec.mmeb.loaders.data_folder import DataFolder
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["load"]

_Row: TypeAlias = Mapping[str, Any]
_Moments: TypeAlias = tuple[Content, tuple[str, ...], tuple[str, ...]]
"""A query, its clips, and the right ones of them; a clip is its folder, from the root of the media."""


def load(task: Task, data: DataFolder, *, compat: str | None = None) -> TaskData:
    """Sentences, and the clips that each of them ranks.

    A clip's key is its folder from the root of the media, so that it is the same on any machine. A video that
    is not there has a right clip that is not there.

    Args:
        task: Of the layout "moment_retrieval".
        data: Where rows and frames lie.
        compat: "v2.0" does as the original did. The last of a video's right folders is the only one, and
            where there is none, it is that of the row before. Rows that say the same twice are kept.

    Raises:
        MissingDataError: Rows or the folder of the media are not there.
        InputError: A column is missing, or a row has no right clip.
    """
    root = data.media_root(task)
    count = None if task.options.get("all_frames") else task.frames
    pool: dict[Key, Content] = {}
    queries: list[Query] = []
    for i, row in _rows(task, data, compat):
        name = f"{task.name}, row {i}"
        if task.options["kind"] == "listed":
            content, own, right = _listed(task, root, row)
        else:
            content, own, right = _in_folder(task, root, row)
        labels: tuple[Key, ...] = right
        if compat is not None and task.options["kind"] == "folders":
            labels = right[-1:] or (queries[-1].labels if queries else ())
        if not labels:
            raise InputError(
                f"none of its {len(own)} clips is right", fix="Unpack the archive again.", source=name
            )
        for key in sorted(own):  # rows list the right ones first, and what is earlier in the pool wins ties
            if key not in pool:
                pool[key] = clip(saved_frames(root / key, count), task.target_instruction)
        queries.append(Query(content, labels, candidates=own))
    return TaskData(queries, pool)


def _rows(task: Task, data: DataFolder, compat: str | None) -> Iterator[tuple[int, _Row]]:
    """Rows with their numbers; of listed ones that ask the same of the same clips the first."""
    options = task.options
    listed = options["kind"] == "listed"
    names = ("text", "input", "positives", "negatives") if listed else ("text", "video")
    asked = set()
    for i, row in enumerate(data.rows(task, columns=[options[name] for name in names])):
        if listed and compat is None:
            question = (row[options["text"]], row[options["input"]], *_clips_of(row, options))
            if question in asked:
                continue
            asked.add(question)
        yield i, row


def _in_folder(task: Task, root: Path, row: _Row) -> _Moments:
    """A sentence about a video; its clips lie in the folder of the video, beside its own frames."""
    options = task.options
    video = video_name(row, options)
    frames = saved_frames(root / video / options["query_folder"], task.frames)
    content = clip(frames, task.query_instruction, row[options["text"]])
    # By name: the original takes them in the arbitrary order of the file system.
    there = (root / video).is_dir()
    folders = sorted(path.name for path in (root / video).iterdir() if path.is_dir()) if there else []
    clips = [folder for folder in folders if folder != options["query_folder"] and folder[0] != "."]
    clips = clips or [options["positive"]]
    right = [folder for folder in clips if folder.startswith(options["positive"])]
    return content, tuple(f"{video}/{it}" for it in clips), tuple(f"{video}/{it}" for it in right)


def _listed(task: Task, root: Path, row: _Row) -> _Moments:
    """A sentence alone or with a picture or a clip, as the suffix of its input tells, and listed clips."""
    options = task.options
    right, wrong = _clips_of(row, options)
    text, shown = row[options["text"]], row[options["input"]] or ""
    if shown.endswith(".mp4"):
        frames = saved_frames(root / _folder(shown, options), None)
        return clip(frames, options["instructions"]["video"], text), right + wrong, right
    if not shown.endswith(".jpg"):
        instruction = options["instructions"]["text"]
        return Content(f"{instruction} {text}", text, instruction), right + wrong, right
    image = root / f"{options['image_prefix']}{shown}"
    instruction = options["instructions"]["image"]
    return Content(f"<|image_pad|> {instruction} {text}", text, instruction, image), right + wrong, right


def _clips_of(row: _Row, options: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The right and the wrong clips that a row lists."""
    right, wrong = (
        tuple(_folder(entry[options["path"]], options) for entry in row[options[side]])
        for side in ("positives", "negatives")
    )
    return right, wrong


def _folder(video: str, options: Mapping[str, Any]) -> str:
    return f"{options['folder']}/{video.replace('/', '_').split('.mp4')[0]}"
