"""A `VLM2Vec` in the benchmark: the prompts of the original where it has some, else the profile's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vlm2vec import VLM2Vec
from vlm2vec.encoding.prompt import IMAGE_TOKEN, VIDEO_TOKEN
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.parts import Input
from vlm2vec.inputs.video import Video
from vlm2vec.mmeb.digests import weights_digest
from vlm2vec.mmeb.encoders.original_prompts import ORIGINAL_PROMPTS, OriginalPrompts
from vlm2vec.mmeb.encoders.protocol import Role, Row, deciding
from vlm2vec.mmeb.samples import Content
from vlm2vec.profiles import Profile

__all__ = ["VLM2VecEncoder"]


@dataclass
class VLM2VecEncoder:
    """Encodes samples with a `VLM2Vec`.

    Attributes:
        model: The model.
        name: Of it; its folder or hub id by default.
        settings: Further arguments of `encode`.
        prompts: "original": what the original code gives this model. "profile": the profile's prompts and
            pixels. By default the first where it is known.
        frames: Of a clip: "all" that the task gives, or the "middle" one as a picture. By default as the
            original has it for this model, else all.

    Raises:
        InputError: The original's prompts are asked for and not known, or a setting has no such value.
    """

    model: VLM2Vec
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    prompts: Literal["original", "profile"] | None = None
    frames: Literal["all", "middle"] | None = None
    late_interaction: bool = False

    def __post_init__(self) -> None:
        self.name = self.name or Path(self.model[0].model.name_or_path or "vlm2vec").name
        known = ORIGINAL_PROMPTS.get(self.model.profile.name)
        self.prompts = self.prompts or ("original" if known else "profile")
        self.frames = self.frames or (known.frames if known else "all")
        for setting, value, values in (
            ("prompts", self.prompts, ("original", "profile")),
            ("frames", self.frames, ("all", "middle")),
        ):
            if value not in values:
                raise InputError(f"{setting} is {value!r}", fix=f"Pass one of {', '.join(values)}.")
        if self.prompts == "original" and known is None:
            raise InputError(
                f"the original has no prompts for the profile {self.model.profile.name}",
                fix='Pass prompts="profile" (--prompts profile), or a model of one of '
                f"{', '.join(sorted(ORIGINAL_PROMPTS))} loaded with its profile.",
            )
        self._original: OriginalPrompts | None = known if self.prompts == "original" else None

    @property
    def profile(self) -> Profile:
        """That of the model, with the pixels of the original where its prompts are used."""
        original, pixels = self._original, self.model.profile.pixels
        if original is not None and original.min_pixels is not None and original.max_pixels is not None:
            pixels = replace(pixels, min_pixels=original.min_pixels, max_pixels=original.max_pixels)
        return replace(self.model.profile, pixels=pixels)

    def identity(self) -> Mapping[str, Any]:
        """Weights, profile, prompts, frames, type and settings."""
        return {
            "weights": weights_digest(self.model.state_dict()),
            "profile": self.profile.as_dict(),
            "prompts": "profile" if self._original is None else asdict(self._original),
            "frames": self.frames,
            "dtype": str(next(self.model.parameters()).dtype),
            "truncate_dim": self.model.truncate_dim,
            "settings": deciding(self.settings),
        }

    def encode(self, contents: Sequence[Content], *, role: Role) -> list[Row]:
        """A row for each sample, or the error that it gave."""
        errors: dict[int | None, VLM2VecError] = {}
        vectors = self.model.encode(
            [self.input_of(content, role) for content in contents],
            prompt="",
            normalize_embeddings=True,  # again, where they are truncated
            show_progress_bar=False,
            on_error=errors.__setitem__,
            profile=self.profile,
            task=role,
            **self.settings,
        )
        return [errors.get(index, vector) for index, vector in enumerate(vectors)]

    def input_of(self, content: Content, role: Role) -> dict[str, Any] | Input:
        """What `encode` is given for a sample."""
        media: dict[str, Any] = {}
        if content.frames and self.frames == "middle":
            media["image"] = content.frames[len(content.frames) // 2]
        elif content.frames:
            media["video"] = Video(list(content.frames), num_frames=len(content.frames))
        elif content.image is not None:
            media["image"] = content.image
        if self._original is None:
            text = {"text": content.text} if content.text else {}
            return {**media, **text, "instruction": content.instruction}
        token = "" if not media else VIDEO_TOKEN if "video" in media else IMAGE_TOKEN
        prompt = self._original.prompt(content, role, token)
        if not media and IMAGE_TOKEN in prompt and not self._original.without_token:
            # Queries of WebQA and EDIS, with compat="v2.0".
            return Input((), prompt=prompt, bare_tokens=True)
        return {"prompt": prompt, **media}
