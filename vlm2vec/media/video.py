"""Frames of video files, animations and folders of frames, and how many there would be, of which size."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm2vec.errors import MediaError, VLM2VecWarning
from vlm2vec.media.animation import frame_count, frame_times, is_animation, read_animation
from vlm2vec.media.container import ClipFile
from vlm2vec.media.counting import read_by_counting
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.frames import Frames, as_pictures, image_files, read_frame_folder
from vlm2vec.media.image import Alpha, open_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.probe import image_size
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.seeking import read_by_seeking
from vlm2vec.media.source import Source

__all__ = ["ClipShape", "Frames", "clip_shape", "read_frames"]

_WORK = "decoding the video"


def read_frames(
    source: Source,
    sampling: Sampling | None = None,
    *,
    alpha: Alpha = "drop",
    limits: Limits | None = None,
) -> Frames:
    """Frames of a clip, spread evenly unless `fps` is given; the same as decoding everything would give.

    Args:
        source: A video file or its bytes, an animated image, or a folder of frames.
        sampling: Which frames; eight, spread evenly, by default.
        alpha: What happens to transparency, which only images have.
        limits: Upper limits.

    Raises:
        InputError: A setting makes no sense, or not for this clip.
        MediaError: It is no video, or no frame can be read.
        LimitError: Its frames are larger than a limit, or reading takes too long.

    Warns:
        VLM2VecWarning: Something of the clip cannot be read; `Frames.problem` says what.
    """
    sampling = sampling or Sampling()
    limits = limits or Limits()
    if source.path is not None and source.is_folder:
        return read_frame_folder(source.path, sampling, alpha=alpha, limits=limits)
    if is_animation(source):
        frames = read_animation(source, sampling, alpha=alpha, limits=limits)
    else:
        with ClipFile(source, limits=limits, deadline=Deadline(limits.decode_seconds, _WORK)) as clip:
            index = clip.index()
            read = read_by_seeking if index.seekable else read_by_counting
            frames = read(clip, index, sampling)
    if not frames.frames:
        raise MediaError(f"the video cannot be decoded ({frames.problem})", fix="Write the file again.")
    if frames.problem is not None:
        warnings.warn(f"{source.describe()}: {frames.problem}", VLM2VecWarning, stacklevel=2)
    return frames


@dataclass(frozen=True)
class ClipShape:
    """How many frames a clip has, and their size in pixels."""

    frames: int
    height: int
    width: int


def clip_shape(
    content: Source | tuple[Any, ...] | np.ndarray, sampling: Sampling, *, limits: Limits | None = None
) -> ClipShape:
    """What `read_frames` or `sample_frames` would give: the first frame's size, and how many there are.

    A promise made from headers and packets: where a file is damaged, fewer frames come. Height and width
    are swapped if the file asks for a quarter turn, which does not change how many tokens they make.

    Args:
        content: A video file, an animation or a folder of frames; a tuple of pictures; or an array of
            shape (T, H, W, 3) or (T, 3, H, W).
        sampling: Which frames. With a clock (`fps`, `start`, `end`) all packets of a file are read, and an
            animation is decoded, the only way to know its times; without, no more than are promised.
        limits: Upper limits.

    Raises:
        InputError: A setting makes no sense for this clip, or a picture has a form that is no picture.
        MediaError: It is no clip, or has no frames.
        LimitError: Its frames are larger than a limit, or reading takes too long.

    Example:
        >>> clip_shape(np.zeros((20, 32, 48, 3), np.uint8), Sampling(8))
        ClipShape(frames=8, height=32, width=48)
    """
    limits = limits or Limits()
    if not isinstance(content, Source):
        pictures = as_pictures(content)
        return ClipShape(len(sampling.choose_untimed(len(pictures))), *image_size(pictures[0], limits=limits))
    if content.path is not None and content.is_folder:
        files = image_files(content.path)
        size = image_size(Source.from_path(files[0]), limits=limits)
        return ClipShape(len(sampling.choose_untimed(len(files))), *size)
    return (_animation if is_animation(content) else _video)(content, sampling, limits)


def _animation(source: Source, sampling: Sampling, limits: Limits) -> ClipShape:
    with open_image(source, limits=limits) as picture:
        if sampling.by_clock is None:
            count = len(sampling.choose_untimed(frame_count(picture)))
        else:
            times, duration, _ = frame_times(
                picture, Deadline(limits.decode_seconds, "reading the animation")
            )
            count = len(sampling.choose(times, duration))
        return ClipShape(count, picture.height, picture.width)


def _video(source: Source, sampling: Sampling, limits: Limits) -> ClipShape:
    with ClipFile(
        source, limits=limits, deadline=Deadline(limits.decode_seconds, "reading the video")
    ) as clip:
        if sampling.by_clock is None:
            count = clip.count_frames(sampling.num_frames)
        else:
            index = clip.index()
            count = len(sampling.choose(index.times, index.duration))
        height, width = clip.stream.codec_context.height, clip.stream.codec_context.width
    if not height or not width:
        raise MediaError("no frame of the video can be decoded", fix="Write the file again.")
    return ClipShape(count, height, width)
