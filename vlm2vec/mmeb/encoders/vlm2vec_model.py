"""A `VLM2Vec` in the benchmark: the exact prompts of the original for its checkpoints, else the profile's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vec import VLM2Vec
from vlm2vec.encoding.prompt import IMAGE_TOKEN
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.video import Video
from vlm2vec.mmeb.digests import weights_digest
from vlm2vec.mmeb.encoders.encoder import Role, deciding
from vlm2vec.mmeb.samples import Content

__all__ = ["VLM2VecEncoder"]

EXACT_PROMPTS = ("vlm2vec-v1-qwen2vl", "vlm2vec-v2")
"""Profiles whose checkpoints were evaluated with the original's prompts, and are here."""


@dataclass
class VLM2VecEncoder:
    """Encodes samples with a `VLM2Vec`.

    A token of a picture in a prompt that has none, as the original gave it for two tasks, is left out: it has
    no vector of its own here.

    Attributes:
        model: The model.
        name: Of it; its folder or hub id by default.
        settings: Further arguments of `encode`.
    """

    model: VLM2Vec
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    late_interaction: bool = False

    def __post_init__(self) -> None:
        self.name = self.name or Path(self.model[0].model.name_or_path or "vlm2vec").name

    def identity(self) -> Mapping[str, Any]:
        """Weights, profile, type and settings."""
        return {
            "weights": weights_digest(self.model.state_dict()),
            "profile": asdict(self.model.profile),
            "prompts": "original" if self._exact else "profile",
            "dtype": str(next(self.model.parameters()).dtype),
            "truncate_dim": self.model.truncate_dim,
            "settings": deciding(self.settings),
        }

    def encode(self, contents: Sequence[Content], *, role: Role) -> list[np.ndarray | VLM2VecError]:
        """A row for each sample, or the error that it gave."""
        errors: dict[int | None, VLM2VecError] = {}
        vectors = self.model.encode(
            [self.input_of(content) for content in contents],
            prompt="",
            normalize_embeddings=True,  # again, where they are truncated
            show_progress_bar=False,
            on_error=errors.__setitem__,
            **self.settings,
        )
        return [errors.get(place, vector) for place, vector in enumerate(vectors)]

    def input_of(self, content: Content) -> dict[str, Any]:
        """What `encode` is given for a sample."""
        media: dict[str, Any] = {}
        if content.frames:
            media["video"] = Video(list(content.frames), num_frames=len(content.frames))
        elif content.image is not None:
            media["image"] = content.image
        if self._exact:
            if "image" in media:
                return {"prompt": content.prompt, "images": [media["image"]]}
            # With compat="v2.0" the prompts of WebQA and EDIS hold the token of a picture that is not there.
            prompt = content.prompt if media else content.prompt.replace(f"{IMAGE_TOKEN}\n", "")
            return {"prompt": prompt, **media}
        text = {"text": content.text} if content.text else {}
        return {**media, **text, "instruction": content.instruction}

    @property
    def _exact(self) -> bool:
        return self.model.profile.name in EXACT_PROMPTS
