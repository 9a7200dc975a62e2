"""Ours, sentence-transformers and the reference around one network, which is drawn and never written."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import torch
from encode import OURS, Encoders
from models import copy_of, draw_network
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from vlm2vec import VLM2Vec
from vlm2vec.blocks.attention import use_packed_attention
from vlm2vec.checkpoints.load import load_tokenizer
from vlm2vec.module import InputModule
from vlm2vec.profiles import Profile


class Drawn(Encoders):
    """Encoders that share their weights: at two billions, files of them would take most of a short run.

    Args:
        settings: A saved model without weights.
        device: Where weights are drawn, and everything computes.
        dtype: Of the weights.
    """

    def __init__(self, settings: Path, device: str, dtype: torch.dtype) -> None:
        super().__init__(settings, device)
        self.network = draw_network(settings, dtype=dtype, device=device)

    def ours(self, dtype: torch.dtype) -> VLM2Vec:
        """A model of its own, which may get an adapter."""
        network = copy_of(self.network, dtype)
        use_packed_attention(network.config)
        tokenizer = load_tokenizer(self.folder, network.config)
        first = InputModule(network, tokenizer, Profile.load(self.folder))
        pooling = Pooling(first.get_embedding_dimension(), "lasttoken")
        return VLM2Vec(modules=[first, pooling, Normalize()], device=self.device)

    def _load(self, way: str, dtype: torch.dtype) -> Any:
        if way == OURS:
            return self.ours(dtype)
        with mock.patch.object(
            type(self.network), "from_pretrained", lambda *_, **__: copy_of(self.network, dtype)
        ):
            return super()._load(way, dtype)
