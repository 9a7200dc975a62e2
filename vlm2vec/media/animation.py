"""Frames of images that move: GIF, WebP, PNG and AVIF."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from vlm2vec.errors import MediaError, VLM2VecWarning
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.frames import FitFrame, Frames, whole
from vlm2vec.media.heard import listening, warn_of
from vlm2vec.media.image import decoding_errors, open_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.pixels import Alpha
from vlm2vec.media.probe import kind
from vlm2vec.media.rgb import to_rgb
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source

__all__ = ["frame_count", "frame_times", "is_animation", "read_animation"]

# Browsers show a frame that says 0 for this long, in milliseconds.
_DEFAULT_DURATION = 100
# Formats whose frames Pillow does not make of all those before them.
_BY_NUMBER = ("AVIF",)
# Bytes of the least that each frame of a PNG has: a chunk fcTL, with its length, name and checksum.
_PNG_FRAME = 38


def is_animation(source: Source) -> bool:
    """Whether a file is an image that moves, or a GIF, which is a clip even with one frame."""
    signature = source.signature
    if signature is None or signature.kind != "image":
        return False
    return signature.label == "GIF" or kind(source) == "video"


def read_animation(
    source: Source,
    sampling: Sampling,
    *,
    alpha: Alpha,
    limits: Limits,
    fit: FitFrame = whole,
    deadline: Deadline | None = None,
) -> Frames:
    """The chosen frames of an animation, as Pillow composes them.

    Args:
        source: The file.
        sampling: Which frames.
        alpha: What happens to transparency.
        limits: Upper limits.
        fit: Resizes each when it is decoded.
        deadline: For everything that is done with the file; one of its own by default.
    """
    deadline = deadline or Deadline(limits.decode_seconds, "decoding the animation")
    frames: dict[int, np.ndarray] = {}
    with listening() as messages, open_image(source, limits=limits, deadline=deadline) as picture:
        # By number alone the choice is known before the times are, and stands if no frame is damaged.
        expected = [] if sampling.by_clock else sampling.choose_untimed(frame_count(picture))

        def keep(i: int) -> None:
            if i in expected:
                frames[i] = fit(to_rgb(picture, alpha), len(expected))

        times, duration, problem = frame_times(picture, deadline, keep)
        expected = sampling.choose(times, duration)
        missing = [i for i in expected if i not in frames]
        if missing and picture.format not in _BY_NUMBER:
            missing = list(range(missing[-1] + 1))  # so that none of them is many, between two questions
        for i in missing:
            deadline.check()
            picture.seek(i)
            picture.load()
            keep(i)
    warn_of(source.describe(), messages, VLM2VecWarning)
    return Frames([frames[i] for i in expected], [times[i] for i in expected], problem)


def frame_count(picture: Image.Image) -> int:
    """Frames that the file, just opened, promises; of a PNG no more than its bytes are enough for."""
    count: int = getattr(picture, "n_frames", 1)
    file: Any = getattr(picture, "fp", None)
    if picture.format == "PNG" and file is not None:
        position = file.tell()
        count = min(count, file.seek(0, io.SEEK_END) // _PNG_FRAME)
        file.seek(position)
    return count


def frame_times(
    picture: Image.Image, deadline: Deadline, on_frame: Callable[[int], None] = lambda _: None
) -> tuple[list[float], float, str | None]:
    """Time of each frame and the duration in seconds, and what cannot be read; all frames are decoded.

    Args:
        picture: The animation, just opened.
        deadline: Time limit.
        on_frame: Called with the number of each frame while the picture shows it.

    Raises:
        MediaError: It is damaged before its first frame ends.
    """
    count = frame_count(picture)
    times: list[float] = []
    now = 0
    for i in range(count):
        deadline.check()
        try:
            with decoding_errors():
                picture.seek(i)
                picture.load()
        except MediaError:
            if not times:
                raise
            return times, now / 1000, f"{count - i} of its {count} frames are damaged"
        on_frame(i)
        times.append(now / 1000)
        now += int(picture.info.get("duration") or _DEFAULT_DURATION)
    return times, now / 1000, None
