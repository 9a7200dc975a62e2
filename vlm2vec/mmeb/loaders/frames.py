"""Clips of the benchmark, which come as folders of frames saved beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Any

from vlm2vec.encoding.prompt import VIDEO_TOKEN
from vlm2vec.errors import MediaError
from vlm2vec.media.frames import image_files
from vlm2vec.media.sampling import uniform_indices
from vlm2vec.mmeb.samples import Content

__all__ = ["clip", "columns_in", "saved_frames", "video_name"]


def saved_frames(folder: Path, count: int | None) -> tuple[Path, ...]:
    """Frames of a clip that are looked at: spread evenly over the saved ones, sorted as people number them.

    Args:
        folder: Where its frames lie. If it is missing, or holds no pictures, it stands for them, as the one
            frame: whoever reads that says what is wrong.
        count: How many to take; all where fewer are saved, or with `None`.
    """
    try:
        files = image_files(folder)
    except MediaError:
        return (folder,)
    return tuple(files[i] for i in uniform_indices(len(files), len(files) if count is None else count))


def clip(frames: tuple[Path, ...], instruction: str, text: str = "") -> Content:
    """A clip with what is asked of it, worded as the original code does: token, instruction, text.

    Example:
        >>> clip((), "Find the clip:", "a dog barks").prompt
        '<|video_pad|> Find the clip: a dog barks'
    """
    prompt = " ".join(part for part in (VIDEO_TOKEN, instruction, text) if part)
    return Content(prompt, text=text, instruction=instruction, frames=frames)


def video_name(row: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """What a row's video is called: the column that `video` names, of a path the last part without suffix.

    Example:
        >>> video_name({"video": "train/a.b.avi"}, {"video": "video", "stem": True})
        'a.b'
    """
    video = str(row[options["video"]])
    return PurePosixPath(video).stem if options.get("stem") else video


def columns_in(template: str) -> list[str]:
    """The columns that a template of folders takes.

    Example:
        >>> columns_in("{subset}/v_{video}")
        ['subset', 'video']
    """
    return [name for _, name, _, _ in Formatter().parse(template) if name]
