"""Any `SentenceTransformer` in the benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm2vec.errors import VLM2VecError
from vlm2vec.mmeb.digests import weights_digest
from vlm2vec.mmeb.encoders.encoder import Role
from vlm2vec.mmeb.samples import Content

__all__ = ["SentenceTransformerEncoder"]


@dataclass
class SentenceTransformerEncoder:
    """Encodes samples as users of sentence-transformers would: the instruction is the prompt.

    Attributes:
        model: The model.
        name: Of it; that of its model card by default.
        settings: Further arguments of `encode`.
    """

    model: Any
    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    late_interaction: bool = False

    def __post_init__(self) -> None:
        self.name = self.name or self.model.model_card_data.base_model or type(self.model).__name__
        self.name = Path(self.name).name

    def identity(self) -> Mapping[str, Any]:
        """Weights, modules and prompts."""
        return {
            "weights": weights_digest(self.model.state_dict()),
            "modules": str(self.model),
            "prompts": dict(self.model.prompts),
        }

    def encode(
        self, contents: Sequence[Content], *, role: Role, show_progress_bar: bool = False
    ) -> list[np.ndarray | VLM2VecError]:
        """A row for each sample; samples of one instruction are encoded together."""
        rows: list[np.ndarray | VLM2VecError] = [np.zeros(0, np.float32)] * len(contents)
        groups: dict[str, list[int]] = {}
        for place, content in enumerate(contents):
            groups.setdefault(content.instruction, []).append(place)
        for instruction, places in groups.items():
            vectors = self.model.encode(
                [_input_of(contents[place]) for place in places],
                prompt=f"{instruction} " if instruction else "",
                normalize_embeddings=True,
                show_progress_bar=show_progress_bar,
                **self.settings,
            )
            for place, vector in zip(places, vectors, strict=True):
                rows[place] = np.asarray(vector, dtype=np.float32)
        return rows


def _input_of(content: Content) -> Any:
    if content.frames:
        return _with_text("video", np.stack([np.asarray(_image(frame)) for frame in content.frames]), content)
    if content.image is not None:
        return _with_text("image", _image(content.image), content)
    return content.text


def _with_text(kind: str, medium: Any, content: Content) -> dict[str, Any]:
    return {kind: medium, "text": content.text} if content.text else {kind: medium}


def _image(given: Path | bytes) -> Image.Image:
    return Image.open(BytesIO(given) if isinstance(given, bytes) else given).convert("RGB")
