"""How a prompt shows a clip: which frames, when they were, and in how many blocks.

A profile shows a clip as one block of media tokens, as a block for each time step behind its seconds, or as
pictures, one for each frame. How many blocks there are, and which seconds, is known only once the clip is
measured, and again, where less of it can be read than was promised, once it is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from vlm2vec.encoding.pieces import MediaPiece
from vlm2vec.encoding.prompt import Control, Plain, unfolds
from vlm2vec.inputs.parts import Clip
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.profiles import Profile

__all__ = [
    "Words",
    "frames_per_step",
    "is_file",
    "is_sized_as_file",
    "needs_times",
    "sampling_of",
    "ticks_of",
    "unfolded",
]

Words: TypeAlias = Plain | Control

_TICKS_PER_SECOND = 2  # `tokens_per_second` in the configuration of Qwen2.5-VL's vision tower


def is_file(clip: Clip) -> bool:
    """Whether it is a video file or an animation, and not pictures: a list, an array or a folder."""
    return isinstance(clip.content, Source) and not clip.content.is_folder


def is_sized_as_file(clip: Clip, profile: Profile) -> bool:
    """Whether its frames get their size by the rules for files: not where each is a picture of its own.

    Families that show a clip as pictures are given pictures, whatever these were taken from.
    """
    return is_file(clip) and profile.clip != "images"


def frames_per_step(profile: Profile) -> int:
    """How many frames of a clip a time step shows."""
    return 1 if profile.clip == "images" else profile.pixels.temporal_patch_size


def needs_times(profile: Profile) -> bool:
    """Whether prompts or positions tell when the frames of a clip were."""
    return profile.clip == "seconds" or profile.positions == "mrope_time"


def sampling_of(clip: Clip, profile: Profile) -> Sampling:
    """Which frames of a clip are taken: its own settings, or what the profile says.

    Of pictures, which somebody has chosen already, a profile's `fps` takes none away.
    """
    fps, num_frames = clip.fps, clip.num_frames
    if profile.fps is None or (fps is None and not is_file(clip)):
        default = profile.num_frames if fps is None else None
        return Sampling(default if num_frames is None else num_frames, fps, clip.start, clip.end)
    return Sampling(
        profile.num_frames if num_frames is None else num_frames,
        profile.fps if fps is None and num_frames is None else fps,
        clip.start,
        clip.end,
        min_frames=profile.min_frames,
        rule="spread",
    )


def unfolded(prompt: Iterable[Words | MediaPiece], profile: Profile) -> list[Words | MediaPiece]:
    """The prompt, each clip in as many blocks as the profile shows it in.

    Seconds are written as Qwen3-VL's processor of transformers 4.57 writes them, `<0.2 seconds>`: the mean
    of the first and the last frame of a step. They belong to a text before them, as there, so that both are
    tokenised together; truncation leaves them alone.

    Args:
        prompt: Texts and whole media; a clip that is not measured yet stays as it is.
        profile: Of the model.
    """
    shown: list[Words | MediaPiece] = []
    for segment in prompt:
        if isinstance(segment, MediaPiece) and segment.is_measured and unfolds(segment.part, profile):
            _append_blocks(shown, segment, profile)
        else:
            shown.append(segment)
    return [segment for segment in shown if isinstance(segment, MediaPiece) or segment.text]


def ticks_of(clip: Clip, times: Sequence[float], profile: Profile) -> int:
    """How far apart two time steps of a clip are in the positions of scheme "mrope_time"; 0 in others.

    transformers 4.57 (`Qwen2_5_VLModel.get_rope_index`) rounds the seconds of a step down before it counts
    ticks, so steps of less than a second are at one time.

    Args:
        clip: The clip.
        times: Seconds of each of its frames, if it has a clock.
        profile: Of the model.
    """
    if profile.positions != "mrope_time":
        return 0
    frame = 1 / _rate(clip, profile)
    if len(times) > 1:
        frame = (times[-1] - times[0]) / (len(times) - 1)
    # Six digits: seconds that were divided and multiplied again are a little less than a whole number.
    return int(round(frame * profile.pixels.temporal_patch_size, 6)) * _TICKS_PER_SECOND


def _append_blocks(shown: list[Words | MediaPiece], clip: MediaPiece, profile: Profile) -> None:
    steps = clip.grid[0]
    seconds = _seconds(clip, profile) if profile.clip == "seconds" else []
    for step in range(steps):
        if seconds:
            _append_uncut(shown, f"<{seconds[step]:.1f} seconds>")
        block = replace(clip, step=step, tokens=clip.tokens // steps)
        shown += [Control(profile.media_start), block, Control(profile.media_end)]


def _seconds(clip: MediaPiece, profile: Profile) -> list[float]:
    """The time of each step: the mean of its first and its last frame."""
    size = profile.pixels.temporal_patch_size
    times = _frame_times(clip, clip.grid[0] * size, profile)
    return [(times[i] + times[i + size - 1]) / 2 for i in range(0, len(times), size)]


def _frame_times(clip: MediaPiece, count: int, profile: Profile) -> list[float]:
    """Seconds of `count` frames, those included that only repeat the last one to fill a step.

    Pictures go on ticking, as qwen_vl_utils repeats them before they are numbered; the last frame of a file
    is repeated by the processor, which leaves it its time.
    """
    assert isinstance(clip.part, Clip)  # noqa: S101  # only clips have times
    rate, times = _rate(clip.part, profile), clip.times
    if not times:
        return [i / rate for i in range(count)]
    if is_file(clip.part):
        return [*times, *[times[-1]] * (count - len(times))]
    last = round(times[-1] * rate)
    return [*times, *((last + i) / rate for i in range(1, count - len(times) + 1))]


def _rate(clip: Clip, profile: Profile) -> float:
    """Frames per second that pictures were taken at, or count as."""
    return profile.untimed_fps if clip.frame_rate is None else clip.frame_rate


def _append_uncut(shown: list[Words | MediaPiece], text: str) -> None:
    """Words of the profile, as the end of a text before them, if there is one."""
    last = shown[-1] if shown else None
    if isinstance(last, Control):
        shown[-1] = Control(last.text + text)
    elif isinstance(last, Plain):
        shown[-1] = Plain(last.text + text, last.uncut, last.uncut_end + len(text))
    else:
        shown.append(Plain(text, uncut_end=len(text)))
