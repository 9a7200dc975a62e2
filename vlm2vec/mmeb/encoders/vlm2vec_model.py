"""A `VLM2Vec` in the benchmark: run as its published scores were made where that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vlm2vec import VLM2Vec
from vlm2vec.arguments import is_whole, one_of
from vlm2vec.encoding.prompt import IMAGE_TOKEN, VIDEO_TOKEN
from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.parts import Input
from vlm2vec.inputs.video import Video
from vlm2vec.mmeb.encoders.described import described
from vlm2vec.mmeb.encoders.families import FAMILIES, Family
from vlm2vec.mmeb.encoders.original_prompts import OriginalPrompts
from vlm2vec.mmeb.encoders.profile_prompts import ProfilePrompts
from vlm2vec.mmeb.encoders.protocol import Role, Row, deciding
from vlm2vec.mmeb.samples import Content
from vlm2vec.mmeb.tasks.task import Task
from vlm2vec.profiles import Profile
from vlm2vec.sameness import weights_digest

__all__ = ["VLM2VecEncoder"]


@dataclass
class VLM2VecEncoder:
    """Encodes samples with a `VLM2Vec`.

    Attributes:
        model: The model.
        name: Of it; its folder or hub id by default.
        settings: Further arguments of `encode`.
        prompts: "original": prompts, pixels and wording of tasks are those that published scores of this
            model were made with. "profile": the profile's prompts and pixels, and tasks as they are. By
            default the first where it is known.
        frames: Of a clip: "all" that the task gives, the "middle" one as a picture, or at most so many of
            those that are saved. By default as for the published scores of this model, else all.

    Raises:
        InputError: Published prompts are asked for and not known, or a setting has no such value.
    """

    model: VLM2Vec
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    prompts: Literal["original", "profile"] | None = None
    frames: Literal["all", "middle"] | int | None = None
    late_interaction: bool = False

    def __post_init__(self) -> None:
        self.name = self.name or Path(self.model[0].model.name_or_path or "vlm2vec").name
        known = FAMILIES.get(self.model.profile.name, Family())
        if self.prompts is None:
            self.prompts = "original" if known.source else "profile"
        if self.frames is None:
            self.frames = known.prompts.frames
        one_of("prompts", self.prompts, ("original", "profile"))
        if not is_whole(self.frames, minimum=1):
            one_of("frames", self.frames, ("all", "middle"), or_else="or a whole number of at least 1")
        if self.prompts == "original" and not known.source:
            raise InputError(
                "it is not known how published scores of models with the profile "
                f"{self.model.profile.name} were made",
                fix='Pass prompts="profile" (--prompts profile), or a model of one of '
                f"{', '.join(sorted(name for name, one in FAMILIES.items() if one.source))} loaded with its "
                "profile.",
            )
        by_request = self.prompts == "profile" and bool(known.source)
        self._family = Family() if by_request else known

    @property
    def profile(self) -> Profile:
        """That of the model, with the pixels of its published scores where their prompts are used."""
        prompts, pixels = self._family.prompts, self.model.profile.pixels
        if isinstance(prompts, OriginalPrompts) and prompts.min_pixels and prompts.max_pixels:
            pixels = replace(pixels, min_pixels=prompts.min_pixels, max_pixels=prompts.max_pixels)
        if self._family.fixed_size is not None:
            pixels = replace(pixels, fixed_size=self._family.fixed_size)
        return replace(self.model.profile, pixels=pixels)

    def identity(self) -> Mapping[str, Any]:
        """Weights, profile, prompts, frames, type and settings."""
        prompts = self._family.prompts
        return {
            "weights": weights_digest(self.model.state_dict()),
            "profile": self.profile.as_dict(),
            "prompts": "profile" if prompts == ProfilePrompts() else asdict(prompts),
            "frames": self.frames,
            "dtype": str(next(self.model.parameters()).dtype),
            "truncate_dim": self.model.truncate_dim,
            "settings": deciding(self.settings),
        }

    def changes(self, task: Task) -> Mapping[str, Any]:
        """How many frames a task gives, and its wording where published scores were made with another."""
        changes = self._family.changes(task)
        if isinstance(self.frames, int) and task.frames not in (None, self.frames):
            changes["frames"] = self.frames
        return changes

    def described(self) -> Mapping[str, str]:
        """Profile, prompts, frames, pixels, and what vectors were compared with."""
        frames = "all" if self.frames is None else self.frames
        return described(self.profile, self._family, frames, published=self.prompts == "original")

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
            # MomentSeeker gives all that are saved, however many.
            most = self.frames if isinstance(self.frames, int) else len(content.frames)
            media["video"] = Video(list(content.frames), num_frames=min(most, len(content.frames)))
        elif content.image is not None:
            media["image"] = content.image
        prompts = self._family.prompts
        if isinstance(prompts, ProfilePrompts):
            return {**media, **prompts.words(content, role)}
        token = "" if not media else VIDEO_TOKEN if "video" in media else IMAGE_TOKEN
        prompt = prompts.prompt(content, role, token)
        if not media and IMAGE_TOKEN in prompt and not prompts.without_token:
            # Queries of WebQA and EDIS, with compat="v2.0".
            return Input((), prompt=prompt, bare_tokens=True)
        return {"prompt": prompt, **media}
