"""What reading a clip would give: how many frames, and of which size, without decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlm2vec.errors import MediaError
from vlm2vec.media.animation import frame_count, frame_times, is_animation
from vlm2vec.media.container import ClipFile
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.frames import as_pictures, image_files
from vlm2vec.media.image import open_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.probe import image_size
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source

__all__ = ["ClipShape", "clip_shape"]


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
            animation is decoded, which alone tells its times; without, no more than are promised.
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
