"""What turns samples into vectors: one adapter for each kind of model."""

from __future__ import annotations

from vlm2vec.mmeb.encoders.choose import encoder_of
from vlm2vec.mmeb.encoders.protocol import Described, Encoder, Role

__all__ = ["Described", "Encoder", "Role", "encoder_of"]
