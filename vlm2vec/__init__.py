"""One embedding space for text, images, videos and PDF pages, in the sentence-transformers style.

Names are loaded when they are first used, so that `import vlm2vec` is quick and needs no torch.

Example:
    >>> import vlm2vec
    >>> model = vlm2vec.VLM2Vec()
    >>> model.encode("a red circle").shape == (model.get_embedding_dimension(),)
    True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vlm2vec._version import __version__
from vlm2vec.notices import quiet_import

if TYPE_CHECKING:
    from vlm2vec import errors, profiles
    from vlm2vec.index import Index
    from vlm2vec.inputs.pdf import pdf_pages
    from vlm2vec.inputs.video import Video
    from vlm2vec.jobs.encode_to import encode_to
    from vlm2vec.jobs.read import read_vectors, stream_vectors
    from vlm2vec.media.limits import Limits
    from vlm2vec.model import VLM2Vec

__all__ = [
    "VLM2Vec",
    "Index",
    "Video",
    "pdf_pages",
    "Limits",
    "encode_to",
    "read_vectors",
    "stream_vectors",
    "errors",
    "profiles",
    "__version__",
]

_HOMES = {
    "VLM2Vec": "vlm2vec.model",
    "Index": "vlm2vec.index",
    "Video": "vlm2vec.inputs.video",
    "pdf_pages": "vlm2vec.inputs.pdf",
    "Limits": "vlm2vec.media.limits",
    "encode_to": "vlm2vec.jobs",
    "read_vectors": "vlm2vec.jobs",
    "stream_vectors": "vlm2vec.jobs",
}


def __getattr__(name: str) -> Any:
    if name in ("errors", "profiles"):
        return import_module(f"vlm2vec.{name}")
    if name in _HOMES:
        return getattr(quiet_import(_HOMES[name]), name)
    raise AttributeError(f"module 'vlm2vec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
