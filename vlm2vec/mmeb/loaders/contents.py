"""What rows of the benchmark show and say: clips, which are folders of saved frames, and texts."""

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

__all__ = ["clip", "columns_in", "saved_frames", "video_name", "text_candidate"]


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


_NOTHING = "  "
"""What the original's collators give the model in place of nothing (TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4,
`src/data/collator`). A text without any character would have no token there, and would spoil its batch."""


def text_candidate(text: str) -> Content:
    """A text as a candidate, which has no instruction; of an empty one two blanks.

    Example:
        >>> text_candidate("two cats").prompt, text_candidate("").prompt
        ('two cats', '  ')
    """
    said = text or _NOTHING
    return Content(said, text=said)
