"""`Serving`: what the routes of a server work with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import CapacityLimiter

from vlm2vec.checkpoints.load import EMBEDDED_MODEL
from vlm2vec.serve.batcher import Batcher
from vlm2vec.serve.links import Links
from vlm2vec.serve.metrics import Metrics
from vlm2vec.serve.settings import ServeSettings
from vlm2vec.serve.thumbnails import Thumbnails

if TYPE_CHECKING:
    from vlm2vec.index import Index
    from vlm2vec.model import VLM2Vec

__all__ = ["Serving", "model_name"]

_SEARCHES_AT_ONCE = 4
_DRAWN_AT_ONCE = 2


@dataclass(frozen=True)
class Serving:
    """What the routes of one application work with, at `request.app.state.serving`.

    Attributes:
        model: The model.
        batcher: Encodes what requests ask for.
        settings: Of the server.
        metrics: What it counts.
        links: Signs the addresses of files and thumbnails.
        thumbnails: Draws them.
        index: What is searched; `None` where vectors alone are served.
        name: Of the model, as clients see it.
    """

    model: VLM2Vec
    batcher: Batcher
    settings: ServeSettings
    metrics: Metrics
    links: Links
    thumbnails: Thumbnails
    index: Index | None
    name: str

    @cached_property
    def searching(self) -> CapacityLimiter:
        """How many requests read the index at once."""
        return CapacityLimiter(_SEARCHES_AT_ONCE)

    @cached_property
    def drawing(self) -> CapacityLimiter:
        """How many thumbnails are drawn at once."""
        return CapacityLimiter(_DRAWN_AT_ONCE)


def model_name(model: VLM2Vec) -> str:
    """What clients see: the repository, or the last name of a folder: no path of this machine."""
    path = str(model[0].model.name_or_path or "")
    if not path or path == str(EMBEDDED_MODEL):
        return "vlm2vec"
    return Path(path).name if Path(path).exists() else path
