"""Any `SentenceTransformer` in the benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm2vec.errors import MediaError
from vlm2vec.mmeb.encoders.protocol import Role, Row, deciding
from vlm2vec.mmeb.samples import Content
from vlm2vec.sameness import weights_digest

__all__ = ["SentenceTransformerEncoder", "card_name", "read_picture"]

_DECODED_AT_ONCE = 32


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
        self.name = self.name or card_name(self.model)

    def identity(self) -> Mapping[str, Any]:
        """Weights, modules, prompts and settings."""
        return {
            "weights": weights_digest(self.model.state_dict()),
            "modules": str(self.model),
            "prompts": dict(self.model.prompts),
            "truncate_dim": self.model.truncate_dim,
            "settings": deciding(self.settings),
        }

    def encode(self, contents: Sequence[Content], *, role: Role) -> list[Row]:
        """A row for each sample; samples of one instruction are encoded together."""
        rows: list[Row] = [np.zeros(0, np.float32)] * len(contents)
        encode = self.model.encode_query if role == "query" else self.model.encode_document
        for instruction, indices in _by_instruction(contents):
            inputs = {}
            for index in indices:
                try:
                    inputs[index] = _input_of(contents[index])
                except (OSError, ValueError) as error:
                    rows[index] = MediaError(f"its picture cannot be read ({error})")
            if not inputs:
                continue
            vectors = encode(
                list(inputs.values()),
                prompt=f"{instruction} " if instruction else "",
                normalize_embeddings=True,
                show_progress_bar=False,
                **self.settings,
            )
            for index, vector in zip(inputs, vectors, strict=True):
                rows[index] = np.asarray(vector, dtype=np.float32)
        return rows


def card_name(model: Any) -> str:
    """What the card of a model of sentence-transformers calls it, without its owner."""
    return Path(model.model_card_data.base_model or type(model).__name__).name


def _by_instruction(contents: Sequence[Content]) -> Iterator[tuple[str, Sequence[int]]]:
    """Indices of samples with one instruction, some at a time: all their pictures are in memory together."""
    groups: dict[str, list[int]] = {}
    for index, content in enumerate(contents):
        groups.setdefault(content.instruction, []).append(index)
    for instruction, indices in groups.items():
        for start in range(0, len(indices), _DECODED_AT_ONCE):
            yield instruction, indices[start : start + _DECODED_AT_ONCE]


def _input_of(content: Content) -> Any:
    if content.frames:
        return _with_text(
            "video", np.stack([np.asarray(read_picture(frame)) for frame in content.frames]), content
        )
    if content.image is not None:
        return _with_text("image", read_picture(content.image), content)
    return content.text


def _with_text(kind: str, medium: Any, content: Content) -> dict[str, Any]:
    return {kind: medium, "text": content.text} if content.text else {kind: medium}


def read_picture(given: Path | bytes) -> Image.Image:
    """A picture in RGB; transparency is dropped.

    Raises:
        OSError: It cannot be read.
    """
    return Image.open(BytesIO(given) if isinstance(given, bytes) else given).convert("RGB")
