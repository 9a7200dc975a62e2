"""A source's number of frames, given to the clips of its rows that do not choose their own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.arrays import is_array
from vlm2vec.inputs.sources import BYTES, kind_of, source_of
from vlm2vec.inputs.video import Video

__all__ = ["with_num_frames"]


def with_num_frames(value: Any, num_frames: int) -> Any:
    """The input with `num_frames` on each of its clips that has neither `num_frames` nor `fps`.

    A bare path or bytes are looked at to see whether they are a clip. Chat messages stay as they are.

    Example:
        >>> with_num_frames({"text": "what happens?", "video": "a.mp4"}, 4)
        {'text': 'what happens?', 'video': 'a.mp4', 'num_frames': 4}
        >>> with_num_frames("a cat", 4)
        'a cat'
    """
    if isinstance(value, Video):
        chosen = value.num_frames is not None or value.fps is not None
        return value if chosen else replace(value, num_frames=num_frames)
    if isinstance(value, Mapping):
        if "video" not in value or "role" in value or value.keys() & {"type", "num_frames", "fps"}:
            return value
        clips = value["video"]
        listed = clips if isinstance(clips, (list, tuple)) else [clips]
        if any(
            isinstance(clip, Video) for clip in listed
        ):  # options stand in each, and may not be given twice
            given = [with_num_frames(clip, num_frames) for clip in listed]
            return {**value, "video": given if isinstance(clips, (list, tuple)) else given[0]}
        return {**value, "num_frames": num_frames}
    if isinstance(value, (list, tuple)):
        return [with_num_frames(part, num_frames) for part in value]
    if (is_array(value) and value.ndim == 4) or (
        isinstance(value, (os.PathLike, *BYTES)) and _is_clip(value)
    ):
        return {"video": value, "num_frames": num_frames}
    return value


def _is_clip(value: Any) -> bool:
    try:
        return kind_of(source_of(value), value) == "video"
    except VLM2VecError:  # said where it is read
        return False
