"""What differs between checkpoint families, as data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vlm2vec.errors import ProfileError
from vlm2vec.media.pixels import PixelRules

__all__ = ["Profile", "PROFILE_FILE"]

PROFILE_FILE = "vlm2vec.json"
"""Name of the file in a model folder that holds its profile."""


@dataclass(frozen=True)
class Profile:
    """How one family of checkpoints writes prompts, counts positions and prepares pixels.

    A prompt is the instruction and the parts of the input, in order. Empty texts are left out and nothing is
    stripped. A picture or a page is `media_start + <|image_pad|> * n + media_end`, a clip the same with
    `<|video_pad|>`. In `prefix`, `instruction_end` and `suffix`, `<|this|>` is a control token.

    Attributes:
        name: What `VLM2Vec(path, profile=...)` calls it.
        summary: One line on the checkpoints that follow it.
        pixels: Pixel budget and conversion rules.
        positions: "1d" numbers every token by its index; "mrope" gives media tokens (time, height, width).
        instruction_slot: Before everything ("first"), or after the media that lead the prompt
            ("after_media").
        instruction_joiner: Written after an instruction.
        instruction_end: Written after the "first" slot, also where it is empty.
        default_instruction: What stands in the "first" slot of an input without an instruction.
        joiner: Written between two parts.
        prefix: Written at the start of every prompt.
        media_start: Control tokens before a picture or clip.
        media_end: Control tokens after a picture or clip.
        closing: Text after the parts; `{}` in it stands for what they are: "image", "video", "sentence", and
            several of these with " and " between them.
        suffix: Written at the end of every prompt; the last token is the one that is pooled.
        num_frames: Frames taken from a clip that does not say how many.
        query_instruction: Default instruction of `encode_query`.
        document_instruction: Default instruction of `encode_document`.
    """

    name: str
    summary: str
    pixels: PixelRules
    positions: Literal["1d", "mrope"]
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

    def save(self, folder: Path) -> None:
        """Write the profile into a model folder as `vlm2vec.json`."""
        text = json.dumps({"profile": asdict(self)}, indent=2, ensure_ascii=False)
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
            return cls._from_dict(json.loads(path.read_text(encoding="utf-8"))["profile"])
        except (ValueError, KeyError, TypeError) as error:
            raise ProfileError(
                f"{PROFILE_FILE} does not hold a profile ({error})",
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
        profile = cls(**{**data, "pixels": PixelRules(**pixels)})
        for part in (profile, profile.pixels):
            for name, hint in get_type_hints(type(part)).items():
                if get_origin(hint) is Literal and getattr(part, name) not in get_args(hint):
                    raise ValueError(f"{name} is {getattr(part, name)!r}, not one of {get_args(hint)}")
        return profile
