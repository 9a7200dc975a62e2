"""Reads frames of a video by decoding everything: for files whose time stamps do not identify frames."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import av.error
import numpy as np

from vlm2vec.media.container import ClipFile, PacketIndex
from vlm2vec.media.frames import FitFrame, Frames, joined
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.seeking import picture

__all__ = ["read_by_counting"]


def read_by_counting(clip: ClipFile, index: PacketIndex, sampling: Sampling, fit: FitFrame) -> Frames:
    """The chosen frames, known by their number. Chooses again when fewer frames come than packets promise.

    Args:
        clip: The open file.
        index: Its packets.
        sampling: Which frames.
        fit: Resizes each when it is decoded.
    """
    count = len(index.pts)
    while count:
        *times, duration = index.seconds(range(count + 1), sampling.rule)
        chosen = sampling.choose(times, duration)
        pictures, intact, damaged = _decode(clip, set(chosen), fit)
        if intact == count:
            problem = joined(index.problem, f"damaged frames: {damaged}") if damaged else index.problem
            return Frames([pictures[i] for i in chosen], [times[i] for i in chosen], problem)
        count = intact
    return Frames([], [], joined(index.problem, "no frame is intact"))


def _decode(clip: ClipFile, wanted: Set[int], fit: FitFrame) -> tuple[dict[int, np.ndarray], int, int]:
    """Pictures by number, the number of intact frames, and that of damaged ones."""
    pictures: dict[int, np.ndarray] = {}
    intact = damaged = 0
    clip.restart()
    for frame in _frames(clip):
        if frame is None:
            damaged += 1
            continue
        if intact in wanted:
            pictures[intact] = fit(picture(frame, clip.reformatter), len(wanted))
        intact += 1
    return pictures, intact, damaged


def _frames(clip: ClipFile) -> Iterator[Any | None]:
    """Frames in order of presentation; `None` for a damaged one, and for those up to the next key frame."""
    damaged = False
    for packet in _then_none(clip.packets()):
        try:
            frames = clip.decode(packet)
        except av.error.FFmpegError:
            damaged = True
            yield None
            continue
        for frame in frames:
            clip.check_size(frame.width, frame.height)
            damaged = frame.is_corrupt or (damaged and not frame.key_frame)
            yield None if damaged else frame


def _then_none(packets: Iterator[Any]) -> Iterator[Any | None]:
    yield from packets
    yield None
