"""One input given as a dict: text and media under their keys, options beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from vlm2vec.arguments import did_you_mean
from vlm2vec.describe import describe_value, shorten
from vlm2vec.errors import InputError
from vlm2vec.inputs.media_forms import MEDIA_KEYS, check_timeless, keyed_parts
from vlm2vec.inputs.options import OPTIONS, check_option
from vlm2vec.inputs.parts import Clip, Document, Image, Part, Text
from vlm2vec.inputs.text import check_text

__all__ = ["PART_KEYS", "KEYS", "Content", "parse_dict", "parse_parts"]

PART_KEYS = ("text", *MEDIA_KEYS, *OPTIONS)
KEYS = (*PART_KEYS, "instruction", "prompt")

_APPLIES_TO: dict[str, tuple[type, ...]] = {
    "pages": (Document,),
    "password": (Document,),
    "num_frames": (Clip,),
    "fps": (Clip,),
    "start": (Clip,),
    "end": (Clip,),
    "frame_rate": (Clip,),
    "max_pixels": (Image, Clip, Document),
}
_MEANT = {  # first what explains the others
    "sampling_rate": "Audio is not supported.",
    "audio": "Audio is not supported.",
    "video_metadata": "Use Video(frames, ...) or the keys num_frames, fps, start, end, frame_rate.",
    "array": 'Put the array under "image" or "video".',
    "bytes": 'Put the bytes under their kind, as in {"image": data}.',
    "path": 'Put the path under its kind, as in {"image": path}.',
    "url": 'Use "image", "video" or "pdf".',
    "document": 'Did you mean "pdf" (a file) or "text"?',
    "instruction": "An instruction holds for the whole input: pass it to encode, or make the input one dict.",
    "prompt": "A prompt is an input of its own.",
    "role": 'A message has both "role" and "content".',
    "content": 'A message has both "role" and "content".',
}


class Content(NamedTuple):
    """What one input holds."""

    parts: tuple[Part, ...]
    instruction: str | None = None
    prompt: str | None = None
    bare_tokens: bool = False


def parse_dict(value: Mapping[Any, Any]) -> Content:
    """The content of a dict; the order of its keys is the order of its parts.

    Raises:
        InputError: A key is unknown, a value has the wrong form, or an option has nothing to apply to.
        MediaError: Bytes are of an unknown format.
    """
    instruction = value.get("instruction")
    if instruction is not None:
        instruction = check_text(instruction, '"instruction"')
    if "prompt" not in value:
        parts = parse_parts(value, KEYS)
        if not parts:
            raise InputError(
                "the dict holds no text and no media", fix='Add "text", "image", "video" or "pdf".'
            )
        return Content(parts, instruction)
    if "text" in value or instruction is not None:
        other = "text" if "text" in value else "instruction"
        raise InputError(
            f'"prompt" stands beside "{other}", but it is the whole text that the model gets',
            fix=f'Write the {other} into the prompt, or use "text" in place of "prompt".',
        )
    prompt = check_text(value["prompt"], '"prompt"')
    if not prompt:
        raise InputError("the prompt is empty", fix="Write the prompt, with <|image_pad|> for each image.")
    return Content(parse_parts(value, KEYS), prompt=prompt)


def parse_parts(value: Mapping[Any, Any], allowed: tuple[str, ...]) -> tuple[Part, ...]:
    """The parts of a dict whose keys are all among `allowed`, with the options that stand beside them."""
    unknown = [key for key in value if key not in allowed]
    if unknown:
        key = next((key for key in _MEANT if key in unknown), unknown[0])
        raise InputError(f"unknown key {_key_name(key)}", fix=_fix_key(key, allowed))
    parts: list[Part] = []
    for key, item in value.items():
        if key == "text":
            texts = item if isinstance(item, (list, tuple)) and item else [item]
            parts += [Text(check_text(text, '"text"')) for text in texts]
        elif key in MEDIA_KEYS:
            parts += keyed_parts(key, item)
    for name, option in _options(value).items():
        parts = _apply(parts, name, option)
    for part in parts:
        if isinstance(part, Clip):
            check_timeless(part)
    return tuple(parts)


def _options(value: Mapping[Any, Any]) -> dict[str, Any]:
    given = {name: check_option(name, value[name]) for name in OPTIONS if name in value}
    given = {name: option for name, option in given.items() if option is not None}
    if "page" in given:
        if "pages" in given:
            raise InputError('both "page" and "pages" are given', fix='Use "pages" alone.')
        given["pages"] = given.pop("page")
    return given


def _apply(parts: list[Part], name: str, option: Any) -> list[Part]:
    """The parts with an option set on each that it applies to."""
    kinds = _APPLIES_TO[name]
    if not any(isinstance(part, kinds) for part in parts):
        what = {Document: "a PDF", Clip: "a video"}.get(kinds[0], "media")
        raise InputError(
            f'"{name}" stands beside no {what.split()[-1]}', fix=f'Leave "{name}" out, or add {what}.'
        )
    return [_set(part, name, option) if isinstance(part, kinds) else part for part in parts]


def _set(part: Part, name: str, option: Any) -> Part:
    if getattr(part, name) is not None:
        raise InputError(
            f'"{name}" is given twice: in the dict and in its {type(part).__name__.lower()}',
            fix="Give it once.",
        )
    return cast("Part", replace(cast("Any", part), **{name: option}))


def _key_name(key: object) -> str:
    return f'"{shorten(key, 30)}"' if isinstance(key, str) else describe_value(key)


def _fix_key(key: object, allowed: tuple[str, ...]) -> str:
    keys = f"The keys are {', '.join(allowed)}."
    if not isinstance(key, str):
        return keys
    if key in _MEANT:
        return f"{_MEANT[key]} {keys}"
    return did_you_mean(key[:30].lower(), allowed, otherwise=keys)
