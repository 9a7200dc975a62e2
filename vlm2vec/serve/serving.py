"""`Serving`: what the routes of a server work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlm2vec.checkpoints.load import EMBEDDED_MODEL
from vlm2vec.serve.batcher import Batcher
from vlm2vec.serve.metrics import Metrics
from vlm2vec.serve.settings import ServeSettings

if TYPE_CHECKING:
    from vlm2vec.index import Index
    from vlm2vec.model import VLM2Vec

__all__ = ["Serving", "model_name"]


@dataclass(frozen=True)
class Serving:
    """What the routes find at `request.app.state.serving`.

    Attributes:
        model: The model.
        batcher: Encodes what requests ask for.
        settings: Of the server.
        metrics: What it counts.
        index: What is searched; `None` where vectors alone are served.
        name: Of the model, as clients see it.
    """

    model: VLM2Vec
    batcher: Batcher
    settings: ServeSettings
    metrics: Metrics
    index: Index | None
    name: str


def model_name(model: VLM2Vec) -> str:
    """What clients see: the repository, or the last name of a folder: no path of this machine."""
    path = str(model[0].model.name_or_path or "")
    if not path or path == str(EMBEDDED_MODEL):
        return "vlm2vec"
    return Path(path).name if Path(path).exists() else path
