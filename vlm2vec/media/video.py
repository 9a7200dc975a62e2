"""Frames of video files, animations and folders of frames, and how many there would be, of which size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from vlm2vec.errors import InputError, MediaError
from vlm2vec.media.animation import frame_count, frame_times, is_animation, read_animation
from vlm2vec.media.container import ClipFile
from vlm2vec.media.counting import read_by_counting
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.frames import (
    FitFrame,
    Frames,
    as_pictures,
    choose_pictures,
    image_files,
    read_frame_folder,
    whole,
)
from vlm2vec.media.image import open_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import Alpha
from vlm2vec.media.probe import image_size
from vlm2vec.media.resize import FrameFit
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.seeking import read_by_seeking
from vlm2vec.media.source import Source
from vlm2vec.notices import warn

__all__ = ["ClipShape", "Frames", "clip_shape", "read_frames"]

_WORK = "decoding the video"
# Rounded sizes give pixels that are almost square.
_SQUARE_ENOUGH = 0.02


def read_frames(
    source: Source,
    sampling: Sampling | None = None,
    *,
    alpha: Alpha = "drop",
    limits: Limits | None = None,
    frame_rate: float | None = None,
    fit: FrameFit | None = None,
) -> Frames:
    """Frames of a clip, spread evenly unless `fps` is given; the same as decoding everything would give.

    Args:
        source: A video file or its bytes, an animated image, or a folder of frames.
        sampling: Which frames; eight, spread evenly, by default.
        alpha: What happens to transparency, which only images have.
        limits: Upper limits.
        frame_rate: Frames per second that the pictures of a folder were taken at.
        fit: Resizes each when it is decoded.

    Raises:
        InputError: A setting makes no sense, or not for this clip.
        MediaError: It is no video, or no frame can be read.
        LimitError: Its frames are larger than a limit, or reading takes too long.

    Warns:
        VLM2VecWarning: Something of the clip cannot be read; `Frames.problem` says what. Or its pixels are
            not square: frames are stored pixels, as models were trained on them.
    """
    sampling = sampling or Sampling()
    limits = limits or Limits()
    if source.path is not None and source.is_folder:
        return read_frame_folder(
            source.path, sampling, alpha=alpha, limits=limits, frame_rate=frame_rate, fit=fit or whole
        )
    _check_no_rate(frame_rate)
    is_animated = is_animation(source)
    deadline = Deadline(limits.decode_seconds, "decoding the animation" if is_animated else _WORK)
    if is_animated:

        def read(fit: FitFrame) -> Frames:
            return read_animation(source, sampling, alpha=alpha, limits=limits, fit=fit, deadline=deadline)

        frames = _fitted(read, fit)
    else:
        with ClipFile(source, limits=limits, deadline=deadline) as clip:
            index = clip.index()
            way = read_by_seeking if index.seekable else read_by_counting
            frames = _fitted(partial(way, clip, index, sampling), fit)
            aspect = clip.pixel_aspect
        if abs(aspect - 1) > _SQUARE_ENOUGH:
            _warn(source, f"its pixels are {aspect} as wide as high, and its frames stay as they are stored")
    if not frames.frames:
        raise MediaError(f"the video cannot be decoded ({frames.problem})", fix="Write the file again.")
    if frames.problem is not None:
        _warn(source, frames.problem)
    return frames


def _fitted(read: Callable[[FitFrame], Frames], fit: FrameFit | None) -> Frames:
    """The frames, each resized when it is decoded.

    Where the clip is not what it seemed, they are read again: once for the size of the first, and once more.
    """
    frames = read(fit or whole)
    if fit is None or not frames.frames or fit.is_right(frames.frames):
        return frames
    sizes = read(_size_alone).frames
    height, width = sizes[0].tolist()
    return read(fit.known((height, width), len(sizes)))


def _size_alone(frame: np.ndarray | Image.Image, count: int) -> np.ndarray:
    """Height and width of a frame, in place of it."""
    size = (frame.height, frame.width) if isinstance(frame, Image.Image) else frame.shape[:2]
    return np.array(size)


def _warn(source: Source, text: str) -> None:
    warn(f"{source.describe()}: {text}", stacklevel=3)


@dataclass(frozen=True)
class ClipShape:
    """How many frames a clip has, and their size in pixels.

    Attributes:
        frames: How many.
        height: Of the first.
        width: Of the first.
        times: Time of each in seconds from the clip's start; empty where it has no clock, or where nobody
            asked for it.
    """

    frames: int
    height: int
    width: int
    times: tuple[float, ...] = ()


def clip_shape(
    content: Source | tuple[Any, ...] | np.ndarray,
    sampling: Sampling,
    *,
    limits: Limits | None = None,
    frame_rate: float | None = None,
    timed: bool = False,
) -> ClipShape:
    """What `read_frames` or `sample_frames` would give: how many frames, the first one's size, and times.

    A promise made from headers and packets: where a file is damaged, fewer frames come. Height and width
    are swapped if the file asks for a quarter turn, which does not change how many tokens they make.

    Args:
        content: A video file, an animation or a folder of frames; a tuple of pictures; or an array of
            shape (T, H, W, 3) or (T, 3, H, W).
        sampling: Which frames. With a clock (`fps`, `start`, `end`) all packets of a file are read, and an
            animation is decoded, the only way to know its times; without, no more than are promised.
        limits: Upper limits.
        frame_rate: Frames per second that given pictures were taken at.
        timed: Find the times of the frames even where the sampling does not need them, at that price.

    Raises:
        InputError: A setting makes no sense for this clip, or a picture has a form that is no picture.
        MediaError: It is no clip, or has no frames.
        LimitError: Its frames are larger than a limit, or reading takes too long.

    Example:
        >>> clip_shape(np.zeros((20, 32, 48, 3), np.uint8), Sampling(3), frame_rate=10)
        ClipShape(frames=3, height=32, width=48, times=(0.0, 0.9, 1.9))
    """
    limits = limits or Limits()
    if not isinstance(content, Source):
        pictures = as_pictures(content)
        return _pictures(pictures, len(pictures), sampling, limits, frame_rate)
    if content.path is not None and content.is_folder:
        files = image_files(content.path)
        return _pictures([Source.from_path(files[0])], len(files), sampling, limits, frame_rate)
    _check_no_rate(frame_rate)
    measured = _animation if is_animation(content) else _video
    return measured(content, sampling, limits, timed=timed or sampling.by_clock is not None)


def _check_no_rate(frame_rate: float | None) -> None:
    if frame_rate is not None:
        raise InputError(
            "frame_rate is given for a file, which has times of its own",
            fix="Leave it out; it is for clips given as pictures. How many frames are taken is fps.",
        )


def _pictures(
    pictures: Any, count: int, sampling: Sampling, limits: Limits, frame_rate: float | None
) -> ClipShape:
    chosen, times = choose_pictures(count, sampling, frame_rate)
    return ClipShape(len(chosen), *image_size(pictures[0], limits=limits), tuple(times))


def _animation(source: Source, sampling: Sampling, limits: Limits, *, timed: bool) -> ClipShape:
    deadline = Deadline(limits.decode_seconds, "reading the animation")
    with open_image(source, limits=limits, deadline=deadline) as picture:
        height, width = picture.height, picture.width
        if not timed:
            return ClipShape(len(sampling.choose_untimed(frame_count(picture))), height, width)
        times, duration, _ = frame_times(picture, deadline)
    chosen = tuple(times[i] for i in sampling.choose(times, duration))
    return ClipShape(len(chosen), height, width, chosen)


def _video(source: Source, sampling: Sampling, limits: Limits, *, timed: bool) -> ClipShape:
    chosen: tuple[float, ...] = ()
    with ClipFile(
        source, limits=limits, deadline=Deadline(limits.decode_seconds, "reading the video")
    ) as clip:
        if timed:
            index = clip.index()
            times = index.seconds(index.pts, sampling.rule)
            chosen = tuple(times[i] for i in sampling.choose(times, index.duration(sampling.rule)))
            count = len(chosen)
        else:
            count = clip.count_frames(sampling.num_frames)
        height, width = clip.stream.codec_context.height, clip.stream.codec_context.width
    if not height or not width:
        raise MediaError("no frame of the video can be decoded", fix="Write the file again.")
    return ClipShape(count, height, width, chosen)
