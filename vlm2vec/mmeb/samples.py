"""What a task is made of, before any model has a say: queries, candidates, and which belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

__all__ = ["Content", "Key", "Query", "TaskData"]

Key: TypeAlias = str | int
"""What identifies a candidate of a task; two with one key are one candidate."""


@dataclass(frozen=True)
class Content:
    """One query or candidate: what it shows and says, and how the original code words it.

    Attributes:
        prompt: The exact prompt of the original code for Qwen2-VL, `<|image_pad|>` or `<|video_pad|>` where
            the medium stands. Models of other families are given `instruction`, `text` and the medium.
        text: Text of its own, without instruction; "" for none.
        instruction: What the task asks for; "" for none.
        image: A picture: a file, which may be missing, or the bytes of one.
        frames: Files of the frames of a clip that are looked at, in order; they may be missing.
    """

    prompt: str
    text: str = ""
    instruction: str = ""
    image: Path | bytes | None = None
    frames: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Query:
    """A query, and which candidates are right.

    Attributes:
        content: What is looked for.
        labels: Keys of the right candidates.
        grades: How right each label is, in the same order; empty where all are alike.
        candidates: Keys of the candidates that it ranks, in order; `None` for all of the task.
    """

    content: Content
    labels: tuple[Key, ...]
    grades: tuple[float, ...] = ()
    candidates: tuple[Key, ...] | None = None


@dataclass(frozen=True)
class TaskData:
    """All of a task.

    Attributes:
        queries: In the order of the data.
        candidates: By key, in the order of the pool: those of the queries as they come, then the corpus.
    """

    queries: Sequence[Query]
    candidates: Mapping[Key, Content]
