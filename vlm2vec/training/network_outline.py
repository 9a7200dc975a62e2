"""The network of a checkpoint without its weights: shapes on torch's meta device."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftConfig
from transformers import AutoConfig, Qwen2VLConfig, Qwen2VLModel

from vlm2vec.errors import CheckpointError

__all__ = ["network_outline"]


def network_outline(name: str | Path) -> Qwen2VLModel | None:
    """The network of a folder or repository, in no memory; of the hub, only its configuration is fetched.

    Args:
        name: Folder or repository, with weights or an adapter.

    Returns:
        The network, or `None` if there is no configuration at hand.

    Raises:
        CheckpointError: It is a network of another kind.

    Example:
        >>> from vlm2vec.model import EMBEDDED_MODEL
        >>> network_outline(EMBEDDED_MODEL).device.type
        'meta'
    """
    try:
        config = _config(str(name))
    except (OSError, ValueError):  # of transformers, peft and the hub
        return None
    if not isinstance(config, Qwen2VLConfig):
        raise CheckpointError(
            f"this is a {config.model_type!r} model",
            fix="Qwen2-VL checkpoints are what this version loads.",
            source=str(name),
        )
    with torch.device("meta"):
        return Qwen2VLModel(config)


def _config(name: str) -> AutoConfig:
    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError):
        # An adapter says which network it belongs to.
        return AutoConfig.from_pretrained(PeftConfig.from_pretrained(name).base_model_name_or_path)
