"""Frames of video files, animations and folders of frames."""

from __future__ import annotations

import warnings

from vlm2vec.errors import MediaError, VLM2VecWarning
from vlm2vec.media.animation import is_animation, read_animation
from vlm2vec.media.clip import Frames
from vlm2vec.media.container import ClipFile
from vlm2vec.media.counting import read_by_counting
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.frames import read_frame_folder
from vlm2vec.media.image import Alpha
from vlm2vec.media.limits import Limits
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.seeking import read_by_seeking
from vlm2vec.media.source import Source

__all__ = ["Frames", "read_frames"]

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
