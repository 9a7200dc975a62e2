"""Frames of images that move: GIF, WebP, PNG and AVIF."""

from __future__ import annotations

from PIL import Image

from vlm2vec.errors import MediaError
from vlm2vec.media.clip import Frames, VideoIndex
from vlm2vec.media.deadline import Deadline
from vlm2vec.media.image import Alpha, decoding_errors, open_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.modes import to_rgb
from vlm2vec.media.seeking import Choose
from vlm2vec.media.source import Source

__all__ = ["is_animation", "probe_animation", "read_animation"]

# Browsers show a frame that says 0 for this long, in milliseconds.
_DEFAULT_DURATION = 100


def is_animation(source: Source) -> bool:
    """Whether a file is an image that moves, or a GIF, which is a clip even with one frame."""
    signature = source.signature
    if signature is None or signature.kind != "image":
        return False
    return signature.label == "GIF" or source.kind == "video"


def probe_animation(source: Source, *, limits: Limits) -> VideoIndex:
    """Size and frame times of an animation.

    Raises:
        MediaError: It is damaged before its first frame ends.
        LimitError: It is larger than a limit.
    """
    with open_image(source, limits=limits) as picture:
        times, duration, problem = _times(picture, Deadline(limits.decode_seconds, "reading the animation"))
        return VideoIndex(picture.height, picture.width, tuple(times), len(times), duration, problem=problem)


def read_animation(source: Source, choose: Choose, *, alpha: Alpha, limits: Limits) -> Frames:
    """The chosen frames of an animation, as Pillow composes them.

    Args:
        source: The file.
        choose: Chooses from the frames' times.
        alpha: What happens to transparency.
        limits: Upper limits.
    """
    deadline = Deadline(limits.decode_seconds, "decoding the animation")
    with open_image(source, limits=limits) as picture:
        times, duration, problem = _times(picture, deadline)
        chosen = choose(times, duration)
        frames = []
        for i in chosen:
            deadline.check()
            picture.seek(i)
            picture.load()
            frames.append(to_rgb(picture, alpha))
    return Frames(frames, [times[i] for i in chosen], problem)


def _times(picture: Image.Image, deadline: Deadline) -> tuple[list[float], float, str | None]:
    """Time of each frame and the duration in seconds, and what cannot be read."""
    count: int = getattr(picture, "n_frames", 1)
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
        times.append(now / 1000)
        now += int(picture.info.get("duration") or _DEFAULT_DURATION)
    return times, now / 1000, None
