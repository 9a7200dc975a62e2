"""The prompt of one input, laid out as its profile says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from vlm2vec.errors import InputError
from vlm2vec.inputs.parts import Clip, Document, Image, Input, Text
from vlm2vec.profiles import Profile

__all__ = [
    "IMAGE_TOKEN",
    "VIDEO_TOKEN",
    "Control",
    "Media",
    "Plain",
    "Segment",
    "lay_out",
    "with_default_instruction",
]

IMAGE_TOKEN = "<|image_pad|>"  # noqa: S105
VIDEO_TOKEN = "<|video_pad|>"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Plain:
    """Text of the caller's: what looks like a control token in it is plain text.

    Attributes:
        text: The text.
        uncut: Characters at its start that truncation leaves alone: the instruction's.
        uncut_end: The same at its end: the profile's.
    """

    text: str
    uncut: int = 0
    uncut_end: int = 0


@dataclass(frozen=True, slots=True)
class Control:
    """Text of the profile's, or of a raw prompt: control tokens in it are control tokens."""

    text: str


Media: TypeAlias = Image | Clip | Document
Segment: TypeAlias = Plain | Control | Media


def with_default_instruction(item: Input, instruction: str | None) -> Input:
    """The input with this instruction, unless it has one (or "" for none) or is a raw prompt."""
    if item.instruction is not None or item.prompt is not None or not instruction:
        return item
    return replace(item, instruction=instruction)


def lay_out(item: Input, profile: Profile) -> list[Segment]:
    """The segments of the prompt, in order; neighbouring plain texts are one segment.

    Raises:
        InputError: A raw prompt and its media do not match.
    """
    if item.prompt is not None:
        media = [part for part in item.parts if not isinstance(part, Text)]
        return [Control(item.prompt)] if item.bare_tokens and not media else _raw(item.prompt, media)
    pieces: list[Segment] = [
        Plain(part.text) if isinstance(part, Text) else part for part in item.parts if part != Text("")
    ]
    segments = _controls(profile.prefix)
    instructed = None
    if profile.instruction_slot == "first":
        if instruction := item.instruction or profile.default_instruction:
            segments.append(_uncut(instruction + profile.instruction_joiner))
        segments += _controls(profile.instruction_end)
    elif item.instruction:
        instructed = next((i for i, piece in enumerate(pieces) if isinstance(piece, Plain)), len(pieces))
        pieces.insert(instructed, _uncut(item.instruction))
    for index, piece in enumerate(pieces):
        if index:
            after_instruction = instructed == index - 1
            segments.append(Plain(profile.instruction_joiner if after_instruction else profile.joiner))
        if isinstance(piece, Plain):
            segments.append(piece)
        else:
            segments += [Control(profile.media_start), piece, Control(profile.media_end)]
    closing = profile.closing.format(_kinds(pieces))
    segments.append(Plain(closing, uncut_end=len(closing)))
    return _joined([*segments, *_controls(profile.suffix)])


def _uncut(text: str) -> Plain:
    return Plain(text, uncut=len(text))


def _controls(text: str) -> list[Segment]:
    """Control tokens, and what is between them: that is tokenised together with a text beside it."""
    return [
        Control(piece) if piece.startswith("<|") else _uncut(piece)
        for piece in re.split(r"(<\|[^|]+\|>)", text)
    ]


def _kinds(pieces: Iterable[Segment]) -> str:
    """What the parts of an input are, in words: "image and sentence"."""
    found = {
        "sentence" if isinstance(piece, Plain) else "video" if isinstance(piece, Clip) else "image"
        for piece in pieces
    }
    return " and ".join(kind for kind in ("image", "video", "sentence") if kind in found) or "sentence"


def _raw(prompt: str, media: list[Media]) -> list[Segment]:
    images = iter([part for part in media if not isinstance(part, Clip)])
    clips = iter([part for part in media if isinstance(part, Clip)])
    segments: list[Segment] = []
    for piece in re.split(f"({re.escape(IMAGE_TOKEN)}|{re.escape(VIDEO_TOKEN)})", prompt):
        if piece not in (IMAGE_TOKEN, VIDEO_TOKEN):
            segments.append(Control(piece))
            continue
        part = next(images if piece == IMAGE_TOKEN else clips, None)
        if part is None:
            raise InputError(
                f"the prompt has more {piece} than there are media for them",
                fix='Give one of "images" for each <|image_pad|> and one of "video" for each <|video_pad|>.',
            )
        segments.append(part)
    left = len(list(images)) + len(list(clips))
    if left:
        raise InputError(
            f"{left} of the media have no placeholder in the prompt",
            fix="Write <|image_pad|> or <|video_pad|> where each belongs.",
        )
    return _joined(segments)


def _joined(segments: Iterable[Segment]) -> list[Segment]:
    joined: list[Segment] = []
    for segment in segments:
        last = joined[-1] if joined else None
        if isinstance(segment, Plain | Control) and not segment.text:
            continue
        if isinstance(segment, Plain) and isinstance(last, Plain):
            uncut = len(last.text) + segment.uncut if segment.uncut else last.uncut
            joined[-1] = Plain(last.text + segment.text, uncut, segment.uncut_end)
        else:
            joined.append(segment)
    return joined
