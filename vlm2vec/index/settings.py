"""`IndexSettings`: how an index cuts files into rows, and stores their vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from vlm2vec.arguments import is_finite, one_of, whole_number
from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError

__all__ = ["IndexSettings", "Storage"]

Storage = Literal["float32", "float16"]


@dataclass(frozen=True)
class IndexSettings:
    """What is fixed when an index is made.

    Attributes:
        instruction: What documents are encoded for; `None` is the model's own.
        dimensions: Components that are kept of each vector, for models trained so (Matryoshka); `None` for
            all.
        storage: Type of the stored vectors: "float16" takes half the room, and moves a score by about 1e-4.
        segment_seconds: Length of the pieces of a video that have a row each.
        passage_tokens: Most tokens of a passage of a text file.
        num_frames: Frames taken from each piece of a video; `None` is the profile's own rule.
        max_pixels: Greatest area of a picture, page or frame; `None` is the profile's own.

    Raises:
        InputError: A setting has a value that it cannot have.
    """

    instruction: str | None = None
    dimensions: int | None = None
    storage: Storage = "float32"
    segment_seconds: float = 10.0
    passage_tokens: int = 512
    num_frames: int | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        one_of("storage", self.storage, ("float32", "float16"))
        if not (is_finite(self.segment_seconds) and self.segment_seconds > 0):
            raise InputError(
                f"segment_seconds is {describe_value(self.segment_seconds)}", fix="Pass a number of seconds."
            )
        whole_number("passage_tokens", self.passage_tokens)
        for name in ("dimensions", "num_frames", "max_pixels"):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name))
        if not isinstance(self.instruction, str | None):
            raise InputError(f"instruction is {describe_value(self.instruction)}", fix="Pass a string.")

    @property
    def deciding(self) -> dict[str, Any]:
        """What decides rows and vectors beside model, instruction and dimensions, as plain values."""
        return {
            name: value for name, value in asdict(self).items() if name not in ("instruction", "dimensions")
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> IndexSettings:
        """What `dataclasses.asdict` gave; fields of later versions are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})
