"""Candidates that are texts alone: answers and labels."""

from __future__ import annotations

from vlm2vec.mmeb.samples import Content

__all__ = ["text_candidate"]

_NOTHING = "  "
"""What the original's collators give the model in place of nothing (TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4,
`src/data/collator`). A text without any character would have no token there, and would spoil its batch."""


def text_candidate(text: str) -> Content:
    """A text as a candidate, which has no instruction; of an empty one two blanks.

    Example:
        >>> text_candidate("two cats").prompt, text_candidate("").prompt
        ('two cats', '  ')
    """
    said = text or _NOTHING
    return Content(said, text=said)
