"""Merging a LoRA or DoRA adapter, in the published layout, into its base network."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from transformers import Qwen2VLModel

from vlm2vec.errors import CheckpointError
from vlm2vec.modeling.completeness import require_complete

__all__ = ["ADAPTER_CONFIG", "merge_adapter"]

ADAPTER_CONFIG = "adapter_config.json"

# Adapters are saved with the module names of the transformers they were trained with. Up to 4.51 the language
# model was `model.layers`, then `model.language_model.layers`; the network here is the inner model itself.
_LANGUAGE = re.compile(r"^base_model\.model\.(?:model\.)?(?:language_model\.)?layers\.")
_VISION = re.compile(r"^base_model\.model\.(?:model\.)?visual\.")


def merge_adapter(network: Qwen2VLModel, folder: Path) -> Qwen2VLModel:
    """The network with the adapter's update added to its weights, DoRA magnitudes included.

    Args:
        network: The base, in float32.
        folder: Holds `adapter_config.json` and `adapter_model.safetensors` or `.bin`.

    Raises:
        CheckpointError: Files are missing, or the adapter has keys the network lacks, or the other way round.
    """
    try:
        config = PeftConfig.from_pretrained(str(folder))
        _require_lora(config, folder)
        config.inference_mode = True
        config.base_model_name_or_path = network.name_or_path
        wrapped: PeftModel = get_peft_model(network, config)
        weights = {_renamed(key): value for key, value in _read_weights(folder).items()}
        report = set_peft_model_state_dict(wrapped, weights)
    except CheckpointError:
        raise
    except Exception as error:  # peft, safetensors and pickle each have errors of their own
        raise CheckpointError(
            f"the adapter cannot be read, or does not fit its base model ({type(error).__name__}: {error})",
            fix="Download the folder again, or name the right base: VLM2Vec(path, base_model=...).",
            source=str(folder),
        ) from error
    expected = {name for name, _ in wrapped.named_parameters() if ".lora_" in name}
    require_complete(
        folder, missing=expected & set(report.missing_keys), unexpected=set(report.unexpected_keys)
    )
    merged: Qwen2VLModel = wrapped.merge_and_unload()
    return merged.requires_grad_(True)


def _require_lora(config: PeftConfig, folder: Path) -> None:
    if config.peft_type != "LORA":
        raise CheckpointError(
            f"the adapter is of type {config.peft_type}",
            fix="LoRA and DoRA adapters are merged; merge others with peft and load the result.",
            source=str(folder),
        )


def _read_weights(folder: Path) -> dict[str, Tensor]:
    safetensors, pickled = folder / "adapter_model.safetensors", folder / "adapter_model.bin"
    if safetensors.is_file():
        tensors: dict[str, Tensor] = load_file(safetensors)
        return tensors
    if pickled.is_file():
        # weights_only: a pickle may otherwise run any code it likes.
        weights: dict[str, Tensor] = torch.load(pickled, map_location="cpu", weights_only=True)
        return weights
    raise CheckpointError(
        f"there is neither {safetensors.name} nor {pickled.name} beside {ADAPTER_CONFIG}",
        fix="Download the folder again; it may be incomplete.",
        source=str(folder),
    )


def _renamed(key: str) -> str:
    key = _LANGUAGE.sub("base_model.model.language_model.layers.", key)
    return _VISION.sub("base_model.model.visual.", key)
