"""The network of a checkpoint without its weights: shapes on torch's meta device."""

from __future__ import annotations

from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from transformers import AutoConfig, Qwen2VLConfig, Qwen2VLModel

from vlm2vec.errors import CheckpointError
from vlm2vec.modeling.checkpoint import named_base
from vlm2vec.modeling.model_folder import ADAPTER_CONFIG

__all__ = ["network_outline"]


def network_outline(name: str | Path) -> Qwen2VLModel | None:
    """The network of a folder or repository, in no memory; of the hub, only its configuration is fetched.

    Args:
        name: Folder or repository, with weights or an adapter.

    Returns:
        The network, or `None` if there is no configuration at hand.

    Raises:
        CheckpointError: It is a network of another kind, or its configuration cannot be read.

    Example:
        >>> from vlm2vec.model import EMBEDDED_MODEL
        >>> network_outline(EMBEDDED_MODEL).device.type
        'meta'
    """
    try:
        file = _file(name, "config.json") or _file_of_base(name)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None
    if file is None:
        return None
    try:
        config = AutoConfig.from_pretrained(file.parent)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the configuration cannot be read ({error})", fix="Download it again.", source=str(name)
        ) from error
    if not isinstance(config, Qwen2VLConfig):
        raise CheckpointError(
            f"this is a {config.model_type!r} model",
            fix="Qwen2-VL checkpoints are what this version loads.",
            source=str(name),
        )
    with torch.device("meta"):
        return Qwen2VLModel(config)


def _file(name: str | Path, file: str) -> Path | None:
    """A file of a folder or repository; `None` if that has none of the name."""
    if Path(name).is_dir():
        return Path(name, file) if Path(name, file).is_file() else None
    try:
        return Path(hf_hub_download(str(name), file))
    except LocalEntryNotFoundError:  # out of reach, though a kind of the next
        raise
    except EntryNotFoundError:
        return None


def _file_of_base(adapter: str | Path) -> Path | None:
    """The configuration of the network that an adapter belongs to."""
    file = _file(adapter, ADAPTER_CONFIG)
    base = None if file is None else named_base(file)
    return None if base is None else _file(base, "config.json")
