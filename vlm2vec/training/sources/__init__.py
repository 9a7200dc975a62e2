"""Where training rows come from: your own files, and the papers' data in their public layouts.

Example:
    >>> from vlm2vec.training import sources
    >>> sources.names()
    ['colpali-train', 'llava-hound-caption-to-video', 'llava-hound-qa', 'llava-hound-video-to-caption',
     'mmeb-train', 'rows', 'visrag-in-domain', 'visrag-synthetic']
"""

from __future__ import annotations

from vlm2vec.arguments import did_you_mean
from vlm2vec.errors import InputError
from vlm2vec.training.sources import colpali, llava_hound, mmeb_train, own_rows, visrag
from vlm2vec.training.sources.json_lines import JsonLines
from vlm2vec.training.sources.lazy_rows import LazyRows
from vlm2vec.training.sources.loader import Loader
from vlm2vec.training.sources.source import TrainingSource

__all__ = ["TrainingSource", "Loader", "LazyRows", "JsonLines", "get", "names"]

_LOADERS: dict[str, Loader] = {
    loader.name: loader
    for module in (colpali, llava_hound, mmeb_train, own_rows, visrag)
    for loader in module.LOADERS
}


def names() -> list[str]:
    """The loaders that a mixture's file can name, sorted."""
    return sorted(_LOADERS)


def get(name: str) -> Loader:
    """The loader of that name.

    Raises:
        InputError: There is none.

    Example:
        >>> get("mmeb-train").options
        {'subset': None, 'split': 'original', 'media': '.'}
    """
    if name not in _LOADERS:
        fix = did_you_mean(name, _LOADERS, otherwise=f"There are {', '.join(names())}.")
        raise InputError(f'there is no loader "{name}"', fix=fix)
    return _LOADERS[name]
