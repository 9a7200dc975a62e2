"""Frames of video files, animations and folders of frames."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

from vlm2vec.errors import MediaError, VLM2VecWarning
from vlm2vec.media.animation import is_animation, probe_animation, read_animation
from vlm2vec.media.clip import Frames, VideoIndex
from vlm2vec.media.container import ClipFile
from vlm2vec.media.counting import first_picture, read_by_counting
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.frames import probe_frame_folder, read_frame_folder
from vlm2vec.media.image import Alpha
from vlm2vec.media.limits import Limits
from vlm2vec.media.sampling import check_sampling, choose_frames
from vlm2vec.media.seeking import read_by_seeking
from vlm2vec.media.source import Source

__all__ = ["Frames", "VideoIndex", "probe_video", "read_frames"]

_WORK = "decoding the video"


def probe_video(source: Source, *, limits: Limits | None = None) -> VideoIndex:
    """Size and frame times of a clip. Of a video file one frame is decoded, for its orientation.

    Args:
        source: A video file or its bytes, an animated image, or a folder of frames.
        limits: Upper limits.

    Raises:
        MediaError: It is no video, or has no frames.
        LimitError: Its frames are larger than a limit, or reading takes too long.
    """
    limits = limits or Limits()
    if source.path is not None and source.is_folder:
        return probe_frame_folder(source.path, limits=limits)
    if is_animation(source):
        return probe_animation(source, limits=limits)
    with ClipFile(source, limits=limits, deadline=Deadline(limits.decode_seconds, _WORK)) as clip:
        index = clip.index()
        if index.seekable:
            first = next(iter(read_by_seeking(clip, index, lambda _times, _duration: [0]).frames), None)
        else:
            first = first_picture(clip)
        if first is None:
            raise MediaError("no frame of the video can be decoded", fix="Write the file again.")
        height, width = first.shape[:2]
        return VideoIndex(
            height, width, tuple(index.times), len(index.pts), index.duration, problem=index.problem
        )


def read_frames(
    source: Source,
    *,
    num_frames: int | None = 8,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    alpha: Alpha = "drop",
    limits: Limits | None = None,
) -> Frames:
    """Frames of a clip, spread evenly unless `fps` is given; the same as decoding everything would give.

    Args:
        source: A video file or its bytes, an animated image, or a folder of frames.
        num_frames: Frames to take; with `fps`, the most that are taken. `None` takes all. A clip with fewer
            is used as it is.
        fps: Frames per second to take.
        start: Begin of the range in seconds.
        end: End of the range in seconds.
        alpha: What happens to transparency, which only images have.
        limits: Upper limits.

    Raises:
        InputError: A setting makes no sense, or not for this clip.
        MediaError: It is no video, or no frame can be read.
        LimitError: Its frames are larger than a limit, or reading takes too long.

    Warns:
        VLM2VecWarning: Something of the clip cannot be read; `Frames.problem` says what.
    """
    check_sampling(num_frames=num_frames, fps=fps, start=start, end=end)
    limits = limits or Limits()
    if source.path is not None and source.is_folder:
        return read_frame_folder(
            source.path, num_frames=num_frames, fps=fps, start=start, end=end, alpha=alpha, limits=limits
        )
    choose = partial(_choose, num_frames=num_frames, fps=fps, start=start, end=end)
    if is_animation(source):
        frames = read_animation(source, choose, alpha=alpha, limits=limits)
    else:
        with ClipFile(source, limits=limits, deadline=Deadline(limits.decode_seconds, _WORK)) as clip:
            index = clip.index()
            read = read_by_seeking if index.seekable else read_by_counting
            frames = read(clip, index, choose)
    if not frames.frames:
        raise MediaError(f"the video cannot be decoded ({frames.problem})", fix="Write the file again.")
    if frames.problem is not None:
        warnings.warn(f"{source.describe()}: {frames.problem}", VLM2VecWarning, stacklevel=2)
    return frames


def _choose(times: list[float], duration: float, **settings: Any) -> list[int]:
    return choose_frames(times, duration=duration, **settings)
