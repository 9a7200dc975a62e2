"""Ray Data: an `Encoder` for its pipelines, and `encode_dataset` for corpora beyond one machine."""

from __future__ import annotations

from vlm2vec.extra import extra

with extra("ray"):
    import ray.data as _needed  # noqa: F401

from vlm2vec.integrations.ray.encode_dataset import encode_dataset
from vlm2vec.integrations.ray.encoder import Encoder

__all__ = ["Encoder", "encode_dataset"]
