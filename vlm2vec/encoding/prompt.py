"""The prompt of one input, laid out as its profile says."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal, TypeAlias, cast

from vlm2vec.backbones.layout import Layout
from vlm2vec.backbones.registry import LAYOUTS
from vlm2vec.describe import shorten
from vlm2vec.errors import InputError
from vlm2vec.inputs.parts import Clip, Document, Image, Input, Part, Role, Text
from vlm2vec.profiles import Profile
from vlm2vec.profiles.profile import CONTROL

__all__ = [
    "IMAGE_TOKEN",
    "VIDEO_TOKEN",
    "Control",
    "Media",
    "Plain",
    "Segment",
    "lay_out",
    "unfolds",
    "with_default_instruction",
    "with_role",
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


def with_role(item: Input, task: str | None) -> Input:
    """The input as a query or a document, if `task` is one of these and it has no role yet."""
    if item.role is not None or task not in ("query", "document"):
        return item
    return replace(item, role=cast("Role", task))


def lay_out(item: Input, profile: Profile) -> list[Segment]:
    """The segments of the prompt, in order; neighbouring plain texts are one segment.

    A clip is one segment. Where the profile writes a clip as several blocks, nothing is written around it
    here: how many there are is known once it is measured.

    Raises:
        InputError: A raw prompt and its media do not match.
    """
    if item.prompt is not None:
        media = [part for part in item.parts if not isinstance(part, Text)]
        layout = LAYOUTS.get(profile.network)
        if item.bare_tokens and not media:
            own = layout.image_token if layout is not None else None
            return [Control(item.prompt.replace(IMAGE_TOKEN, own or IMAGE_TOKEN))]
        return _raw(item.prompt if layout is None else _in_our_tokens(item.prompt, layout), media, profile)
    parts = [part for part in item.parts if part != Text("")]
    if profile.part_order == "video_image_text":
        parts.sort(key=_turn)
    pieces: list[Segment] = [Plain(part.text) if isinstance(part, Text) else part for part in parts]
    has_media = not all(isinstance(piece, Plain) for piece in pieces)
    begins_with_image = bool(pieces) and not isinstance(pieces[0], Plain | Clip)
    own = profile.image_prefix if begins_with_image else None if has_media else profile.text_prefix
    segments = _controls(_word(profile.prefix, own))
    instruction, instructed = _instruction(item.instruction or "", profile.instruction_rule), None
    if profile.instruction_slot == "first":
        if instruction := instruction or profile.default_instruction:
            segments.append(_uncut(instruction + profile.instruction_joiner))
        segments += _controls(profile.instruction_end)
    elif instruction:
        instructed = next((i for i, piece in enumerate(pieces) if isinstance(piece, Plain)), len(pieces))
        pieces.insert(instructed, _uncut(instruction))
    if has_media and profile.default_text and not any(isinstance(piece, Plain) for piece in pieces):
        pieces.append(_uncut(profile.default_text))
    for index, piece in enumerate(pieces):
        if index:
            after_instruction = instructed == index - 1
            segments.append(Plain(profile.instruction_joiner if after_instruction else profile.joiner))
        if isinstance(piece, Plain) or unfolds(piece, profile):
            segments.append(piece)
        else:
            segments += [Control(profile.media_start), piece, Control(profile.media_end)]
    suffix = profile.suffix if has_media else _suffix_of_text(item.role, profile)
    # Words before its first control token stand in one text with the caller's, which is cut before them.
    words = re.split(CONTROL, suffix, maxsplit=1)[0]
    closing = profile.closing.format(_kinds(pieces, profile.text_beside_media)) + words
    segments.append(Plain(closing, uncut_end=len(closing)))
    return _joined([*segments, *_controls(suffix[len(words) :])])


def _in_our_tokens(prompt: str, layout: Layout) -> str:
    """A raw prompt in which the network's own placeholders are ours: either may be written.

    Raises:
        InputError: Its pictures are numbered otherwise than in order.
    """
    if layout.numbered_image is not None:
        numbers = [number.lstrip("0") or "0" for number in re.findall(layout.numbered_image, prompt)]
        if numbers != [str(number) for number in range(1, len(numbers) + 1)]:
            raise InputError(
                f"the prompt numbers its pictures {shorten(', '.join(numbers))}",
                fix="Number them 1, 2, ... in the order in which they stand there.",
            )
        prompt = re.sub(layout.numbered_image, IMAGE_TOKEN, prompt)
    for own, ours in ((layout.image_token, IMAGE_TOKEN), (layout.video_token, VIDEO_TOKEN)):
        prompt = prompt if own is None else prompt.replace(own, ours)
    return prompt


def _turn(part: Part) -> int:
    return 0 if isinstance(part, Clip) else 2 if isinstance(part, Text) else 1


def _word(usual: str, own: str | None) -> str:
    return usual if own is None else own


def _suffix_of_text(role: Role | None, profile: Profile) -> str:
    suffix = _word(profile.suffix, profile.text_suffix)
    return _word(suffix, profile.query_suffix) if role == "query" else suffix


def _instruction(text: str, rule: Literal["as_is", "full_stop"]) -> str:
    if rule == "as_is":
        return text
    text = text.strip()
    return text + "." if text and not unicodedata.category(text[-1]).startswith("P") else text


def unfolds(piece: Segment, profile: Profile) -> bool:
    """Whether it is a clip that becomes several blocks."""
    return isinstance(piece, Clip) and profile.clip != "block"


def _uncut(text: str) -> Plain:
    return Plain(text, uncut=len(text))


def _controls(text: str) -> list[Segment]:
    """Control tokens, and what is between them: that is tokenised together with a text beside it."""
    return [
        Control(piece) if re.fullmatch(CONTROL, piece) else _uncut(piece)
        for piece in re.split(f"({CONTROL})", text)
    ]


def _kinds(pieces: Iterable[Segment], text_beside_media: str) -> str:
    """What the parts of an input are, in words: "image and sentence"."""
    found = {
        "sentence" if isinstance(piece, Plain) else "video" if isinstance(piece, Clip) else "image"
        for piece in pieces
    }
    kinds: list[str] = [kind for kind in ("image", "video") if kind in found]
    if "sentence" in found or not kinds:
        kinds.append(text_beside_media if kinds else "sentence")
    return " and ".join(kinds)


def _raw(prompt: str, media: list[Media], profile: Profile) -> list[Segment]:
    # The control tokens around the placeholder of a clip that unfolds are written around each block instead.
    whole = f"{profile.media_start}{VIDEO_TOKEN}{profile.media_end}"
    video = {VIDEO_TOKEN} if profile.clip == "block" else {whole, VIDEO_TOKEN}
    placeholders = [*sorted(video, key=len, reverse=True), IMAGE_TOKEN]
    images = iter([part for part in media if not isinstance(part, Clip)])
    clips = iter([part for part in media if isinstance(part, Clip)])
    segments: list[Segment] = []
    for piece in re.split(f"({'|'.join(map(re.escape, placeholders))})", prompt):
        if piece not in placeholders:
            segments.append(Control(piece))
            continue
        part = next(images if piece == IMAGE_TOKEN else clips, None)
        if part is None:
            token = IMAGE_TOKEN if piece == IMAGE_TOKEN else VIDEO_TOKEN
            raise InputError(
                f"the prompt has more {token} than there are media for them",
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
    kept = [segment for segment in segments if not isinstance(segment, Plain | Control) or segment.text]
    joined: list[Segment] = []
    for is_plain, neighbours in groupby(kept, lambda segment: isinstance(segment, Plain)):
        some: list[Any] = list(neighbours)
        joined += [_one_text(some)] if is_plain else some
    return joined


def _one_text(texts: Iterable[Plain]) -> Plain:
    """Several as one, made at once: one after the other, they take the square of their number."""
    parts, uncut, uncut_end, length = [], 0, 0, 0
    for text in texts:
        parts.append(text.text)
        uncut = length + text.uncut if text.uncut else uncut
        uncut_end, length = text.uncut_end, length + len(text.text)
    return Plain("".join(parts), uncut, uncut_end)
