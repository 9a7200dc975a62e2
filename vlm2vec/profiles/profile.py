"""What differs between checkpoint families, as data."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vlm2vec.arguments import did_you_mean
from vlm2vec.describe import describe_value, shorten
from vlm2vec.errors import ProfileError
from vlm2vec.json_file import read_json
from vlm2vec.media.pixels import FrameRules, PixelRules

__all__ = ["CONTROL", "Profile", "PROFILE_FILE"]

PROFILE_FILE = "vlm2vec.json"
"""Name of the file in a model folder that holds its profile."""

CONTROL = r"<\|[^|]+\|>|<[A-Za-z0-9_]+>"
"""What a control token looks like in the words of a profile: `<|this|>` or `<this>`."""

# Fields that errors repeat.
_NAMES, _MAX_NAME = ("name", "network"), 100

# Fields of profiles and of pixel rules that came after models were saved and results were kept.
_LATER = frozenset(
    (
        *("network", "clip", "part_order", "instruction_rule", "default_text"),
        *("text_prefix", "text_suffix", "query_suffix", "min_frames", "fps", "untimed_fps", "bos"),
        *("text_beside_media", "template", "image_prefix", "rounded_within_budget"),
        *("sizing", "resizer", "frames", "crops"),
    )
)


@dataclass(frozen=True)
class Profile:
    """How one family of checkpoints writes prompts, counts positions and prepares pixels.

    A prompt is the instruction and the parts of the input, in order. Empty texts are left out and texts are
    not stripped. A picture or a page is `media_start + <|image_pad|> * n + media_end`, a clip what `clip`
    says. In `prefix`, `instruction_end`, `suffix` and the like, `<|this|>` and `<this>` are control tokens.

    Attributes:
        name: What `VLM2Vec(path, profile=...)` calls it.
        summary: One line on the checkpoints that follow it.
        pixels: Pixel budget and conversion rules.
        positions: "1d" numbers every token by its index. The others give media tokens (time, height, width),
            and go on behind a medium at its start plus its longer side in tokens ("mrope"), or at the
            greatest of all its positions plus 1 ("mrope_max"); "mrope_time" does as "mrope_max", and counts
            time in seconds of the clip.
        instruction_slot: Before everything ("first"), or after the media that lead the prompt
            ("after_media").
        network: `model_type` in the configuration of the checkpoints that it is for.
        clip: "block" writes a clip as a picture, with `<|video_pad|>`; "seconds" writes such a block for each
            time step, behind the text `<0.2 seconds>`; "images" writes each frame as a picture.
        part_order: "given" keeps the order of the parts, "video_image_text" sorts them by kind.
        instruction_rule: "as_is" writes an instruction as it was given; "full_stop" strips it and adds a full
            stop unless it ends in punctuation (Unicode category P), and takes a blank one for none.
        instruction_joiner: Written after an instruction.
        instruction_end: Written after the "first" slot, also where it is empty.
        default_instruction: What stands in the "first" slot of an input without an instruction.
        default_text: Written after the media of an input that has no text.
        joiner: Written between two parts.
        prefix: Written at the start of every prompt.
        text_prefix: The same for inputs without media; `None` is `prefix`.
        image_prefix: The same for inputs that begin with a picture or a page; `None` is `prefix`.
        media_start: Control tokens before a picture or clip.
        media_end: Control tokens after a picture or clip.
        closing: Text after the parts; `{}` in it stands for what they are: "image", "video", "sentence", and
            several of these with " and " between them.
        text_beside_media: What `closing` calls a text beside media, in place of "sentence".
        suffix: Written at the end of every prompt; the last token is the one that is pooled.
        text_suffix: The same for inputs without media; `None` is `suffix`.
        query_suffix: The same for inputs without media that are queries; `None` is `text_suffix`.
        num_frames: Frames taken from a clip that does not say how many; with `fps`, the most of them.
        min_frames: Least frames taken from a file with `fps`.
        fps: Frames per second taken from a file, spread evenly over it; `None` takes `num_frames`.
        untimed_fps: Frames per second that a clip given as pictures counts as, where it does not say.
        bos: Where the tokenizer's `bos_token` stands: nowhere ("none"), before every prompt, raw ones
            included ("prompt"), or also behind each picture, where the next text begins ("texts").
        template: Whose words `prefix`, `joiner`, `suffix`, `text_prefix` and `text_suffix` are: "profile", or
            "checkpoint" for those of the chat template in its folder, which take their place on loading.
        query_instruction: Default instruction of `encode_query`.
        document_instruction: Default instruction of `encode_document`.

    Raises:
        ProfileError: A field has a value of another type, or one that is not known.
    """

    name: str
    summary: str
    pixels: PixelRules
    positions: Literal["1d", "mrope", "mrope_max", "mrope_time"]
    instruction_slot: Literal["first", "after_media"]
    instruction_joiner: str = " "
    instruction_end: str = ""
    default_instruction: str = ""
    joiner: str = " "
    prefix: str = ""
    media_start: str = ""
    media_end: str = ""
    closing: str = ""
    suffix: str = ""
    num_frames: int = 8
    query_instruction: str | None = None
    document_instruction: str | None = None
    network: str = "qwen2_vl"
    clip: Literal["block", "seconds", "images"] = "block"
    part_order: Literal["given", "video_image_text"] = "given"
    instruction_rule: Literal["as_is", "full_stop"] = "as_is"
    default_text: str = ""
    text_prefix: str | None = None
    text_suffix: str | None = None
    query_suffix: str | None = None
    min_frames: int = 1
    fps: float | None = None
    untimed_fps: float = 2.0
    bos: Literal["none", "prompt", "texts"] = "none"
    text_beside_media: str = "sentence"
    template: Literal["profile", "checkpoint"] = "profile"
    image_prefix: str | None = None

    def __post_init__(self) -> None:
        for part in (self, self.pixels, getattr(self.pixels, "frames", None)):
            if part is not None:
                _refuse_wrong_values(part)

    @property
    def control_tokens(self) -> list[str]:
        """The control tokens in its words, each once: a tokenizer must know them as such.

        Example:
            >>> from vlm2vec import profiles
            >>> profiles.get("vlm2vec-embedded").control_tokens
            ['<|vision_start|>', '<|vision_end|>', '<|im_end|>']
        """
        words = (
            *(self.prefix, self.text_prefix, self.image_prefix, self.instruction_end),
            *(self.media_start, self.media_end),
            *(self.suffix, self.text_suffix, self.query_suffix),
        )
        return list(dict.fromkeys(token for word in words for token in re.findall(CONTROL, word or "")))

    def as_dict(self) -> dict[str, Any]:
        """Its fields as plain values, as they are saved, and as kept results are known by.

        A field that came later is left out where it says what was always done: so what was saved and kept
        before stays as it is.

        Example:
            >>> from vlm2vec import profiles
            >>> "clip" in profiles.get("vlm2vec-v2").as_dict(), profiles.get("rzenembed").as_dict()["clip"]
            (False, 'images')
        """
        said = asdict(self)
        parts: list[tuple[Any, dict[str, Any]]] = [(self.pixels, said["pixels"]), (self, said)]
        if self.pixels.frames is not None:
            parts.insert(0, (self.pixels.frames, said["pixels"]["frames"]))
        for part, values in parts:
            for field in fields(part):
                if field.name in _LATER and getattr(part, field.name) == field.default:
                    del values[field.name]
        return said

    def save(self, folder: Path) -> None:
        """Write the profile into a model folder as `vlm2vec.json`."""
        text = json.dumps({"profile": self.as_dict()}, indent=2, ensure_ascii=False)
        (folder / PROFILE_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Profile | None:
        """The profile a model folder carries, or `None` if it carries none.

        Raises:
            ProfileError: The file is there but cannot be read as a profile.
        """
        path = folder / PROFILE_FILE
        if not path.is_file():
            return None
        try:
            return cls._from_dict(read_json(path)["profile"])
        except (ValueError, KeyError, TypeError, ProfileError) as error:
            reason = shorten(str(error), 200)
            if isinstance(error, ProfileError):
                reason = f"{error.cause}. {error.fix}"
            raise ProfileError(
                f"{PROFILE_FILE} does not hold a profile ({reason})",
                fix="Save the model again, or delete the file and name the profile: "
                'VLM2Vec(path, profile="..."), or --profile.',
                source=str(folder),
            ) from error

    @classmethod
    def _from_dict(cls, data: dict[str, Any]) -> Profile:
        known = {field.name for field in fields(cls)}
        if unknown := set(data) - known:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        pixels = dict(data["pixels"])
        if pixels.get("fixed_size") is not None:
            pixels["fixed_size"] = tuple(pixels["fixed_size"])
        if pixels.get("frames") is not None:
            pixels["frames"] = FrameRules(**pixels["frames"])
        return cls(**{**data, "pixels": PixelRules(**pixels)})


def _refuse_wrong_values(part: Profile | PixelRules | FrameRules) -> None:
    """Raise where a field has a value that no code knows, which would be taken for another."""
    kind: type = type(part)
    for name, hint in _hints(kind).items():
        value = getattr(part, name)
        if not _fits(value, hint):
            if get_origin(hint) is Literal:
                wanted = ", ".join(f'"{one}"' for one in get_args(hint))
                fix = did_you_mean(value, map(str, get_args(hint)), otherwise=f"Pass one of {wanted}.")
            else:
                fix = f"Pass a value of type {getattr(hint, '__name__', hint)}."
            raise ProfileError(f"{name} is {describe_value(value)}", fix=fix)
        if name in _NAMES and not (len(value) <= _MAX_NAME and value.isprintable()):
            raise ProfileError(
                f"{name} is {describe_value(value)}", fix=f"Pass at most {_MAX_NAME} printable characters."
            )
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise ProfileError(f"{name} has half of a surrogate pair", fix="Pass text that can be encoded.")
        if isinstance(value, int | float) and not isinstance(value, bool) and not value > 0:
            raise ProfileError(f"{name} is {describe_value(value)}", fix="Pass a positive number.")


@cache
def _hints(part: type) -> dict[str, Any]:
    return get_type_hints(part)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type that a field is annotated with."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in inner
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_fits, value, inner))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
