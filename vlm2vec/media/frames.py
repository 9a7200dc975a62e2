"""Clips that come as pictures: a folder of frames, or a list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vec.errors import InputError, MediaError, VLM2VecError
from vlm2vec.media.array import as_array, to_levels
from vlm2vec.media.clip import Frames, VideoIndex
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.image import Alpha, image_size, load_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.sampling import check_sampling, uniform_indices
from vlm2vec.media.source import Source

__all__ = ["natural_key", "probe_frame_folder", "read_frame_folder", "sample_frames"]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}


def read_frame_folder(
    path: Path,
    *,
    num_frames: int | None = 8,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    alpha: Alpha = "drop",
    limits: Limits | None = None,
) -> Frames:
    """Frames from a folder's images, sorted as people number them, spread evenly. Gaps do not matter.

    Args:
        path: The folder.
        num_frames: Frames to take; `None` takes all. Only those are decoded.
        fps: Must be `None`, as `start` and `end`: pictures in a folder have no times.
        start: Must be `None`.
        end: Must be `None`.
        alpha: What happens to transparency.
        limits: Upper limits, each image's and the time for all.

    Returns:
        The frames, each in its own size.

    Raises:
        InputError: A setting makes no sense.
        MediaError: The folder holds no images, or one that cannot be read.
        LimitError: An image is larger than a limit, or reading takes too long.
    """
    files = _image_files(path)
    frames = []
    deadline = Deadline((limits or Limits()).decode_seconds, "decoding the folder of frames")
    for i in _chosen(len(files), num_frames=num_frames, fps=fps, start=start, end=end):
        deadline.check()
        try:
            frames.append(load_image(Source.from_path(files[i]), alpha=alpha, limits=limits))
        except VLM2VecError as error:
            error.cause = f"frame {files[i].name}: {error.cause}"
            raise
    return Frames(frames)


def probe_frame_folder(path: Path, *, limits: Limits | None = None) -> VideoIndex:
    """Size of a folder's first image, and the number of its images.

    Raises:
        MediaError: The folder holds no images, or the first cannot be read.
        LimitError: The first image is larger than a limit.
    """
    files = _image_files(path)
    height, width = image_size(Source.from_path(files[0]), limits=limits)
    return VideoIndex(height, width, times=(), count=len(files), duration=0.0)


def sample_frames(
    frames: Sequence[Any] | np.ndarray | Any,
    *,
    num_frames: int | None = 8,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    alpha: Alpha = "drop",
    limits: Limits | None = None,
) -> Frames:
    """Frames from a list of pictures, or from one array of them, spread evenly.

    Args:
        frames: Pictures as `load_image` takes them; or an array or tensor of shape (T, H, W, 3), or
            (T, 3, H, W) where that is unambiguous.
        num_frames: Frames to take; `None` takes all.
        fps: Must be `None`, as `start` and `end`: pictures in a list have no times.
        start: Must be `None`.
        end: Must be `None`.
        alpha: What happens to transparency.
        limits: Upper limits.

    Returns:
        The frames, each in its own size.

    Raises:
        InputError: There are no frames, they are no pictures, or a setting makes no sense.
        MediaError: A picture cannot be read.
        LimitError: A picture is larger than a limit.

    Example:
        >>> len(sample_frames(np.zeros((20, 32, 32, 3), np.uint8)).frames)
        8
    """
    pictures: Any = frames if isinstance(frames, (list, tuple)) else as_array(frames)
    if isinstance(pictures, np.ndarray) and pictures.ndim != 4:
        raise InputError(
            f"the clip has the shape {pictures.shape}", fix="Pass (frames, height, width, 3), or a list."
        )
    if not len(pictures):
        raise InputError("the clip has no frames", fix="Pass at least one frame.")
    chosen = _chosen(len(pictures), num_frames=num_frames, fps=fps, start=start, end=end)
    if isinstance(pictures, np.ndarray):
        # Levels of the clip, not of each frame: a black frame fits any range.
        pictures = dict(zip(chosen, to_levels(pictures[chosen]), strict=True))
    return Frames([load_image(pictures[i], alpha=alpha, limits=limits) for i in chosen])


def _chosen(count: int, *, num_frames: int | None, **clock: float | None) -> list[int]:
    check_sampling(num_frames=num_frames, **clock)
    given = [name for name, value in clock.items() if value is not None]
    if given:
        raise InputError(
            f"{given[0]} is given for frames that have no times", fix="Pass a video file, or leave it out."
        )
    return uniform_indices(count, count if num_frames is None else num_frames)


def _image_files(path: Path) -> list[Path]:
    """Images of a folder by their suffix, sorted as people number them."""
    try:
        names = [file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file()]
    except OSError as error:
        raise MediaError(f"the folder cannot be read ({error.strerror or error})") from error
    # Hidden files are no frames: macOS leaves "._frame_1.png" beside each.
    files = [file for file in names if not file.name.startswith(".")]
    if not files:
        raise MediaError(
            "the folder holds no images",
            fix="A folder is read as the frames of one clip; for a vector of each file pass the files.",
        )
    return sorted(files, key=lambda file: (natural_key(file.name), file.name))


def natural_key(name: str) -> list[int | str]:
    """Sorts names as people number them: frame_2 before frame_10.

    Example:
        >>> sorted(["f10.png", "f9.png", "f1.png"], key=natural_key)
        ['f1.png', 'f9.png', 'f10.png']
    """
    # split() by a group puts the numbers at odd positions, so that numbers meet numbers.
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.lower())]
