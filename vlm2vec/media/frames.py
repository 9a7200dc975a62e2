"""Frames: what reading a clip gives, and clips that come as pictures: a folder of frames, or a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image

from vlm2vec.errors import InputError, MediaError, VLM2VecError
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.image import load_picture
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import Alpha
from vlm2vec.media.rgb import as_array, to_levels
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source

__all__ = [
    "FitFrame",
    "Frames",
    "as_pictures",
    "choose_pictures",
    "image_files",
    "is_image_file",
    "joined",
    "natural_key",
    "read_frame_folder",
    "sample_frames",
    "whole",
]

_WORK = "decoding the frames"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}


FitFrame: TypeAlias = "Callable[[np.ndarray | PIL.Image.Image, int], np.ndarray]"
"""What is made of a frame when it is decoded, and of how many frames of its clip it is one: `FrameFit`."""


def whole(frame: np.ndarray | PIL.Image.Image, count: int) -> np.ndarray:
    """The frame as it is."""
    return np.asarray(frame)


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames chosen from a clip, in order.

    Attributes:
        frames: Pictures of shape (H, W, 3), uint8 RGB, upright; a folder's may differ in size.
            What was made of them, where the reader was told to make something.
        times: Time of each in seconds from the clip's start; empty for frames without a clock.
        problem: What of the clip could not be read; `None` when all could.
    """

    frames: list[np.ndarray]
    times: list[float] = field(default_factory=list)
    problem: str | None = None


def joined(first: str | None, second: str) -> str:
    """Two problems as one text."""
    return second if first is None else f"{first}; {second}"


def read_frame_folder(
    path: Path,
    sampling: Sampling | None = None,
    *,
    alpha: Alpha = "drop",
    limits: Limits | None = None,
    frame_rate: float | None = None,
    fit: FitFrame = whole,
) -> Frames:
    """Frames from a folder's images, sorted as people number them, spread evenly. Gaps do not matter.

    Args:
        path: The folder.
        sampling: Which to take; by number alone where there is no `frame_rate`. Only those are decoded.
        alpha: What happens to transparency.
        limits: Upper limits, each image's and the time for all.
        frame_rate: Frames per second they were taken at: pictures in a folder have no times of their own.
        fit: Resizes each when it is decoded.

    Returns:
        The frames, each in its own size or as `fit` gives it.

    Raises:
        InputError: A setting makes no sense.
        MediaError: The folder holds no images, or one that cannot be read.
        LimitError: An image is larger than a limit, or reading takes too long.
    """
    files = image_files(path)
    frames = []
    chosen, times = choose_pictures(len(files), sampling or Sampling(), frame_rate)
    deadline = Deadline((limits or Limits()).decode_seconds, _WORK)
    for i in chosen:
        deadline.check()
        try:
            picture = load_picture(Source.from_path(files[i]), alpha=alpha, limits=limits, deadline=deadline)
            frames.append(fit(picture, len(chosen)))
        except VLM2VecError as error:
            error.cause = f"frame {files[i].name}: {error.cause}"
            raise
    return Frames(frames, times)


def sample_frames(
    frames: Sequence[Any] | np.ndarray | Any,
    sampling: Sampling | None = None,
    *,
    alpha: Alpha = "drop",
    limits: Limits | None = None,
    frame_rate: float | None = None,
    fit: FitFrame = whole,
) -> Frames:
    """Frames from a list of pictures, or from one array of them, spread evenly.

    Args:
        frames: Pictures as `load_image` takes them; or an array or tensor of shape (T, H, W, 3), or
            (T, 3, H, W) where that is unambiguous.
        sampling: Which to take; by number alone where there is no `frame_rate`.
        alpha: What happens to transparency.
        limits: Upper limits.
        frame_rate: Frames per second they were taken at: pictures in a list have no times of their own.
        fit: Resizes each when it is decoded.

    Returns:
        The frames, each in its own size or as `fit` gives it.

    Raises:
        InputError: There are no frames, they are no pictures, or a setting makes no sense.
        MediaError: A picture cannot be read.
        LimitError: A picture is larger than a limit.

    Example:
        >>> clip = np.zeros((20, 32, 32, 3), np.uint8)
        >>> len(sample_frames(clip).frames)
        8
        >>> sample_frames(clip, Sampling(fps=1, end=1.5), frame_rate=10).times
        [0.0, 1.0]
    """
    pictures = as_pictures(frames)
    chosen, times = choose_pictures(len(pictures), sampling or Sampling(), frame_rate)
    if isinstance(pictures, np.ndarray):
        # Levels of the clip, not of each frame: a black frame fits any range.
        pictures = dict(zip(chosen, to_levels(pictures[chosen]), strict=True))
    deadline = Deadline((limits or Limits()).decode_seconds, _WORK)
    loaded = (load_picture(pictures[i], alpha=alpha, limits=limits, deadline=deadline) for i in chosen)
    return Frames([fit(picture, len(chosen)) for picture in loaded], times)


def choose_pictures(
    count: int, sampling: Sampling, frame_rate: float | None
) -> tuple[list[int], list[float]]:
    """Positions of the chosen ones of `count` pictures, and the time of each; no times without a rate.

    Raises:
        InputError: A setting asks for times, and there are none; or the range holds nothing of the clip.
    """
    if frame_rate is None:
        return sampling.choose_untimed(count), []
    chosen = sampling.choose([i / frame_rate for i in range(count)], count / frame_rate)
    return chosen, [i / frame_rate for i in chosen]


def as_pictures(frames: Sequence[Any] | np.ndarray | Any) -> Any:
    """A list or tuple as it is, or an array of shape (T, ...) of any array or tensor.

    Raises:
        InputError: There are no frames, or the shape is not that of a clip.
    """
    pictures: Any = frames if isinstance(frames, (list, tuple)) else as_array(frames)
    if isinstance(pictures, np.ndarray) and pictures.ndim != 4:
        raise InputError(
            f"the clip has the shape {pictures.shape}", fix="Pass (frames, height, width, 3), or a list."
        )
    if not len(pictures):
        raise InputError("the clip has no frames", fix="Pass at least one frame.")
    return pictures


def image_files(path: Path) -> list[Path]:
    """Images of a folder by their suffix, sorted as people number them.

    Raises:
        MediaError: There are none, or the folder cannot be read.
    """
    try:
        files = [file for file in path.iterdir() if is_image_file(file)]
    except OSError as error:
        raise MediaError(f"the folder cannot be read ({error.strerror or error})") from error
    if not files:
        raise MediaError(
            "the folder holds no images",
            fix="A folder is read as the frames of one clip; for a vector of each file pass the files.",
        )
    return sorted(files, key=lambda file: (natural_key(file.name), file.name))


def is_image_file(path: Path) -> bool:
    """Whether a file in a folder is a frame; macOS leaves a hidden "._frame_1.png" beside each."""
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()


def natural_key(name: str) -> list[int | str]:
    """Sorts names as people number them: frame_2 before frame_10.

    Example:
        >>> sorted(["f10.png", "f9.png", "f1.png"], key=natural_key)
        ['f1.png', 'f9.png', 'f10.png']
    """
    # split() by a group puts the numbers at odd positions, so that numbers meet numbers.
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.lower())]
