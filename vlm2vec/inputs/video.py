"""`Video`: one clip as an input, with its own sampling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vlm2vec.describe import describe_media
from vlm2vec.inputs.options import CLIP_OPTIONS, check_option, check_span

__all__ = ["Video"]


@dataclass(frozen=True, eq=False, repr=False)
class Video:
    """One clip: frames that you have, or a file to read them from.

    Nothing is opened until the clip is encoded, so a broken file is an error of that input alone.

    Attributes:
        frames: A list of PIL images, arrays of shape `(H, W, 3)`, or paths of pictures; an array of shape
            `(T, H, W, 3)`; or a whole clip as a path, a folder of frames, or bytes. A string is a path or a
            data-URI.
        num_frames: Frames to take, spread evenly over the clip; the model's own number when left out.
        fps: Frames to take per second of the clip, instead of a fixed number.
        start: First moment used, in seconds.
        end: Last moment used, in seconds.
        frame_rate: Frames per second that given pictures were taken at: a list, an array or a folder. Then
            they have times, which some models read, and can be sampled by them. A file has its own.
        max_pixels: Greatest area of a frame after resizing, in pixels.

    Raises:
        InputError: An option has the wrong type or lies outside its range.

    Example:
        >>> import numpy as np
        >>> frames = [np.zeros((56, 56, 3), np.uint8)] * 12
        >>> Video(frames, num_frames=4)
        Video(list of 12, num_frames=4)
        >>> Video("talk.mp4", start=30, end=45.5)
        Video(talk.mp4, start=30.0, end=45.5)
    """

    frames: Any
    num_frames: int | None = field(default=None, kw_only=True)
    fps: float | None = field(default=None, kw_only=True)
    start: float | None = field(default=None, kw_only=True)
    end: float | None = field(default=None, kw_only=True)
    frame_rate: float | None = field(default=None, kw_only=True)
    max_pixels: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in CLIP_OPTIONS:
            object.__setattr__(self, name, check_option(name, getattr(self, name)))
        check_span(self.start, self.end)

    @property
    def options(self) -> dict[str, Any]:
        """The options that were given."""
        return {name: value for name in CLIP_OPTIONS if (value := getattr(self, name)) is not None}

    def __repr__(self) -> str:
        name = describe_media(self.frames)
        return f"Video({', '.join([name, *(f'{key}={value}' for key, value in self.options.items())])})"
