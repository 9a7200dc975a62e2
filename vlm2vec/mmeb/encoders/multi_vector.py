"""A `MultiVectorEncoder` of sentence-transformers in the benchmark: ColPali and other late interaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from vlm2vec.arguments import one_of
from vlm2vec.encoding.prompt import IMAGE_TOKEN, VIDEO_TOKEN
from vlm2vec.errors import MediaError
from vlm2vec.mmeb.encoders.protocol import Role, Row, deciding
from vlm2vec.mmeb.encoders.sentence_transformer import card_name, read_picture
from vlm2vec.mmeb.samples import Content
from vlm2vec.sameness import weights_digest

__all__ = ["MultiVectorAdapter"]

_DECODED_AT_ONCE = 32
_MIN_SIDE = 5
"""Image processors of transformers take a side of 1 or 3 for the channels; the original has this limit."""


@dataclass
class MultiVectorAdapter:
    """Encodes samples as the original does with ColPali.

    A sample with a picture is the picture, and what is said beside it is left out: the model takes one or the
    other. A text is instruction and text. Vectors are those of the model, of its own length.

    Attributes:
        model: The `MultiVectorEncoder`.
        name: Of it; that of its model card by default.
        settings: Further arguments of `encode_query` and `encode_document`.
        frames: Of a clip: the "first", as the original has it, or the "middle" one as a picture, or the
            vectors of "all" of them together.

    Raises:
        InputError: There is no such choice of frames.
    """

    model: Any
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    frames: Literal["first", "middle", "all"] = "first"
    late_interaction: bool = True

    def __post_init__(self) -> None:
        self.name = self.name or card_name(self.model)
        one_of("frames", self.frames, ("first", "middle", "all"))

    def identity(self) -> Mapping[str, Any]:
        """Weights, modules, processor, prompts, frames and settings."""
        processor: Any = getattr(self.model[0], "processor", None)
        return {
            "weights": weights_digest(self.model.state_dict()),
            "modules": str(self.model),
            "processor": processor.to_json_string() if hasattr(processor, "to_json_string") else "",
            "prompts": dict(self.model.prompts),
            "frames": self.frames,
            "settings": deciding(self.settings),
        }

    def encode(self, contents: Sequence[Content], *, role: Role) -> list[Row]:
        """The vectors of each sample, `(tokens, dim)`."""
        rows: list[Row] = [np.zeros((0, 0), np.float32)] * len(contents)
        pictured = [
            index for index, content in enumerate(contents) if content.frames or content.image is not None
        ]
        texts = sorted(set(range(len(contents))) - set(pictured))
        said = [_said(contents[index]) for index in texts]
        for index, row in zip(texts, self._vectors(said, self._role_of_texts(role)), strict=True):
            rows[index] = row
        for start in range(0, len(pictured), _DECODED_AT_ONCE):
            self._encode_pictures(contents, pictured[start : start + _DECODED_AT_ONCE], role, rows)
        return rows

    def _encode_pictures(
        self,
        contents: Sequence[Content],
        indices: Sequence[int],
        role: Role,
        rows: list[Row],
    ) -> None:
        pictures: list[Image.Image] = []
        counts: dict[int, int] = {}
        for index in indices:
            try:
                own = [_enlarged(read_picture(file)) for file in self._pictures_of(contents[index])]
            except (OSError, ValueError) as error:
                rows[index] = MediaError(f"its picture cannot be read ({error})")
            else:
                counts[index] = len(own)
                pictures += own
        vectors = iter(self._vectors(pictures, role))
        for index, count in counts.items():
            rows[index] = np.concatenate([next(vectors) for _ in range(count)])

    def _pictures_of(self, content: Content) -> list[Path | bytes]:
        if not content.frames:
            assert content.image is not None  # noqa: S101 - `encode` has looked
            return [content.image]
        if self.frames == "all":
            return list(content.frames)
        return [content.frames[0 if self.frames == "first" else len(content.frames) // 2]]

    def _role_of_texts(self, role: Role) -> Role:
        # The processors of ColPali and its kin word every text as a query, and warn of documents.
        retrieval = getattr(self.model[0], "transformer_task", "") == "retrieval"
        return "query" if retrieval else role

    def _vectors(self, inputs: list[Any], role: Role) -> list[np.ndarray]:
        if not inputs:
            return []
        encode = self.model.encode_query if role == "query" else self.model.encode_document
        found = encode(inputs, convert_to_numpy=True, show_progress_bar=False, **self.settings)
        return [np.asarray(vectors, dtype=np.float32) for vectors in found]


def _said(content: Content) -> str:
    """The original's prompt; a token that stands for a medium is none to these models."""
    return content.prompt.replace(IMAGE_TOKEN, "").replace(VIDEO_TOKEN, "")


def _enlarged(picture: Image.Image) -> Image.Image:
    side = max(picture.size)
    return picture.resize((side, side)) if min(picture.size) < _MIN_SIDE else picture
