"""Averages that were published for models without scores of single tasks."""

from __future__ import annotations

from functools import cache

from vlm2vec.mmeb.published.tables import read

__all__ = ["SOURCE", "reported", "reported_name", "reported_names"]

SOURCE = (
    "README of QwenLM/Qwen3-VL-Embedding, commit 8ce3aab (January 2026), one decimal; all but IFM-TTE on "
    "fixed page labels; prompts, frames and pixels of each model are its own"
)
"""Where they are from. Its row "RzenEmbed" is taken for qihoo360/RzenEmbed, for which another source has 71.6
overall, and its "Ops-MM-embedding-v1" of 8B for the repository that is called 7B."""


@cache
def reported() -> dict[str, dict[str, float]]:
    """Model -> average -> percentage."""
    return {
        row["model"]: {name: float(row[name]) for name in list(row)[2:]} for row in read("reported_means.csv")
    }


def reported_names() -> list[str]:
    """The models of which averages alone were published.

    Example:
        >>> reported_names()[0]
        'Qwen3-VL-Embedding-2B'
    """
    return list(reported())


def reported_name(name: str) -> str | None:
    """The readable name of such a model, or `None`.

    Args:
        name: Readable, or of its repository on the hub with or without its owner.

    Example:
        >>> reported_name("OpenSearch-AI/Ops-MM-embedding-v1-7B")
        'Ops-MM-v1-7B'
        >>> reported_name("GME-2B") is None
        True
    """
    bare = name.rsplit("/", 1)[-1].strip().lower()
    for row in read("reported_means.csv"):
        if bare in (row["model"].lower(), row["repository"].rsplit("/", 1)[-1].lower() or None):
            return row["model"]
    return None
