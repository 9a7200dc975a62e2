"""What the published models are called: in tables, in score files, and on the hub."""

from __future__ import annotations

from difflib import get_close_matches

from vlm2vec.errors import InputError

__all__ = ["model_name", "published_names"]

# The columns of the tables. Aliases: name of the score file, of the repository on the hub, of Table 2.
_ALIASES = {
    "ColPali v1.3": ("colpali-v1.3", "ColPali", "ColPali v1.3 (3B)"),
    "GME-2B": ("gme-Qwen2-VL-2B-Instruct", "GME (2B)"),
    "GME-7B": ("gme-Qwen2-VL-7B-Instruct", "GME (7B)"),
    "LamRA-Qwen2": ("LamRA-Ret", "LamRA-Qwen2 (7B)"),
    "LamRA-Qwen2.5": ("LamRA-Ret-Qwen2.5VL-7b", "LamRA-Qwen2.5 (7B)"),
    "VLM2Vec-2B": ("VLM2Vec-V1-Qwen2VL-2B", "VLM2Vec-Qwen2VL-2B", "VLM2Vec-Qwen2VL (2B)"),
    "VLM2Vec-7B": ("VLM2Vec-V1-Qwen2VL-7B", "VLM2Vec-Qwen2VL-7B", "VLM2Vec-Qwen2VL (7B)"),
    "VLM2Vec-V2.0": ("VLM2Vec-V2.0-Qwen2VL-2B", "VLM2Vec-V2", "VLM2Vec-V2 (2B)"),
}
_NAMES = {
    alias.lower(): name for name, aliases in _ALIASES.items() for alias in (name, *aliases)
}  # without regard to case


def published_names() -> list[str]:
    """The models whose scores were published, in the order of the paper's Table 6.

    Example:
        >>> published_names()[-1]
        'VLM2Vec-V2.0'
    """
    return list(_ALIASES)


def model_name(name: str) -> str:
    """The readable name of a published model.

    Args:
        name: Readable, of a score file, or of a repository on the hub with or without its owner.

    Raises:
        InputError: There is no such model.

    Example:
        >>> model_name("Alibaba-NLP/gme-Qwen2-VL-7B-Instruct")
        'GME-7B'
    """
    bare = name.rsplit("/", 1)[-1].strip().lower()
    if bare not in _NAMES:
        close = _NAMES[get_close_matches(bare, _NAMES, n=1, cutoff=0.0)[0]]
        raise InputError(
            f"no scores were published for {name!r}",
            fix=f"Did you mean {close!r}? There are {', '.join(_ALIASES)}.",
        )
    return _NAMES[bare]
