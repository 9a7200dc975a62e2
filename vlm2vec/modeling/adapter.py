"""Adapters of a network: adding, loading, saving and merging them, through peft alone.

transformers has methods for this too, but each of them refuses to work beside a peft that is older than the
one it asks for, which has been one that did not exist. What peft offers to integrations (`peft.functional`)
always fits itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from peft.functional import (
    cast_adapter_dtype,
    delete_adapter,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Qwen2VLModel

from vlm2vec.compat import flag_adapters
from vlm2vec.errors import CheckpointError, InputError
from vlm2vec.modeling.completeness import require_complete

__all__ = [
    "ADAPTER_CONFIG",
    "active_adapters",
    "add_adapter",
    "check_not_base",
    "has_adapter",
    "load_adapter",
    "load_adapter_weights",
    "merge_adapter",
    "remove_adapter",
    "remove_adapter_files",
    "save_adapter",
]

ADAPTER_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_PICKLED = "adapter_model.bin"

# Adapters are saved with the module names of the transformers they were trained with. Up to 4.51 the language
# model was `model.layers`, then `model.language_model.layers`; the network here is the inner model itself.
_PREFIX = "base_model.model."
_LANGUAGE = re.compile(r"^(?:model\.)?(?:language_model\.)?(?=(?:layers|norm|embed_tokens)\.)")
_VISION = re.compile(r"^(?:model\.)?visual\.")


def has_adapter(network: nn.Module) -> bool:
    """Whether there is an adapter, not merged."""
    return any(isinstance(module, BaseTunerLayer) for module in network.modules())


def active_adapters(network: nn.Module) -> list[str]:
    """Names of the adapters that take part in the forward pass.

    Raises:
        InputError: There is no adapter.
    """
    for module in network.modules():
        if isinstance(module, BaseTunerLayer):
            return list(module.active_adapters)
    raise InputError("the model has no adapter", fix="Add one, or train one with fit(lora=True).")


def add_adapter(network: Qwen2VLModel, config: PeftConfig, name: str = "default") -> None:
    """Add an adapter, whose weights are then all that learns.

    Args:
        network: Changed in place.
        config: Of the adapter, such as a `peft.LoraConfig`; it gets the name of the network as its base.
        name: Of the adapter.

    Raises:
        InputError: There is an adapter of that name.
        ValueError: peft cannot add it.
    """
    _inject(network, config, name)
    cast_adapter_dtype(network, name)  # to float32, whatever the weights below are


def load_adapter(network: Qwen2VLModel, folder: Path, name: str = "default") -> None:
    """Add a saved LoRA or DoRA adapter, frozen.

    Args:
        network: Changed in place.
        folder: Holds `adapter_config.json` and `adapter_model.safetensors` or `.bin`.
        name: Of the adapter.

    Raises:
        CheckpointError: Files are missing, or the adapter has keys the network lacks, or the other way round.
    """
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # peft has no error of its own for a file that is damaged
        raise _unreadable(error, folder) from error
    if config.peft_type != "LORA":
        raise CheckpointError(
            f"the adapter is of type {config.peft_type}",
            fix="LoRA and DoRA adapters are loaded; merge others with peft and load the result.",
            source=str(folder),
        )
    config.inference_mode = True
    try:
        # Without first weights: those of DoRA take as long as merging it.
        _inject(network, config, name, low_cpu_mem_usage=True)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _unreadable(error, folder) from error
    _materialise(network)
    try:
        load_adapter_weights(network, folder, name)
    except CheckpointError:
        remove_adapter(network, name)
        raise


def load_adapter_weights(network: Qwen2VLModel, folder: Path, name: str = "default") -> None:
    """Give an adapter of the network the weights that were saved from one like it.

    Raises:
        CheckpointError: The folder has no such adapter, or not all of its weights.
    """
    weights = _read_weights(folder)
    try:
        report = set_peft_model_state_dict(
            network, {_renamed(key): value for key, value in weights.items()}, adapter_name=name
        )
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise _unreadable(error, folder) from error
    own = {key for key in network.state_dict() if f".{name}" in key and _is_of_adapter(key)}
    require_complete(folder, missing=own & set(report.missing_keys), unexpected=set(report.unexpected_keys))


def save_adapter(network: Qwen2VLModel, folder: Path) -> None:
    """Write the active adapter in the published layout, without the weights that it belongs to.

    Args:
        network: Has an adapter.
        folder: Gets `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        InputError: No adapter is active, or more than one; or the folder is that of its base.
    """
    check_not_base(network, folder)
    names = active_adapters(network)
    if len(names) != 1:
        raise InputError(
            f"{len(names)} adapters are active", fix="set_adapter(name) chooses the one that is saved."
        )
    # Otherwise peft looks for the base on the hub, to see whether the vocabulary has grown.
    weights = get_peft_model_state_dict(network, adapter_name=names[0], save_embedding_layers=False)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {_PREFIX + key: value.contiguous() for key, value in weights.items()},
        folder / _WEIGHTS,
        metadata={"format": "pt"},
    )
    network.peft_config[names[0]].save_pretrained(str(folder))


def check_not_base(network: Qwen2VLModel, folder: Path) -> None:
    """Raise if a folder holds the weights below the adapter: beside them, it would name itself as its base.

    Raises:
        InputError: It does.
    """
    base = Path(network.name_or_path or "")
    if network.name_or_path and base.is_dir() and base.resolve() == folder.resolve():
        raise InputError(
            "the folder holds the weights that the adapter belongs to",
            fix="Name another.",
            source=str(folder),
        )


def remove_adapter_files(folder: Path) -> None:
    """Remove an adapter from a folder, of which whole weights beside it would not be seen."""
    for name in (ADAPTER_CONFIG, _WEIGHTS, _PICKLED):
        (folder / name).unlink(missing_ok=True)


def remove_adapter(network: Qwen2VLModel, name: str) -> None:
    """Take an adapter away as if it had never been added; all weights learn once the last one is gone.

    Raises:
        InputError: There is none of that name.
    """
    config = getattr(network, "peft_config", {}).pop(name, None)
    if config is None:
        raise InputError(f"the model has no adapter {name!r}", fix="peft_config has the names.")
    delete_adapter(network, name, prefix=f"{config.peft_type.value.lower()}_")
    if not network.peft_config:
        _unwrap(network, lambda module: module.get_base_layer(), merge=False)


def merge_adapter(network: Qwen2VLModel, dtype: torch.dtype | None = None) -> None:
    """Add the active adapters' updates to the weights, layer by layer, and take the adapters away.

    A layer is merged in float32 and then rounded, so that one layer at a time is held in float32.

    Args:
        network: Changed in place; all its weights learn afterwards.
        dtype: Type of the merged layers; by default that of their weights.

    Raises:
        CheckpointError: The adapter has weights that are not finite; nothing is merged.
    """
    if not all(
        weight.isfinite().all() for name, weight in network.named_parameters() if _is_of_adapter(name)
    ):
        raise CheckpointError(
            "the adapter has weights that are NaN or infinite",
            fix="Go back to one that was saved before its training diverged.",
        )

    def merged(module: BaseTunerLayer) -> nn.Module:
        base: Any = module.get_base_layer()
        kept = dtype or base.weight.dtype
        module.float().merge()
        plain: nn.Module = base.to(kept)
        return plain

    _unwrap(network, merged, merge=True)


def _unwrap(
    network: Qwen2VLModel, plain_layer: Callable[[BaseTunerLayer], nn.Module], *, merge: bool
) -> None:
    """Put plain layers in the place of peft's."""
    for name, module in list(network.named_modules()):
        if isinstance(module, BaseTunerLayer):
            network.set_submodule(name, plain_layer(module))
        elif hasattr(module, "unload_and_optionally_merge_module"):  # a layer that was trained as a whole
            plain = module.unload_and_optionally_merge_module(
                merge=merge, safe_merge=merge, adapter_names=None
            )
            network.set_submodule(name, plain)
    del network.peft_config
    flag_adapters(network)
    network.requires_grad_(True)


def _inject(network: Qwen2VLModel, config: PeftConfig, name: str, *, low_cpu_mem_usage: bool = False) -> None:
    if name in getattr(network, "peft_config", {}):
        raise InputError(f"the model has an adapter {name!r} already", fix="Choose another name.")
    config.base_model_name_or_path = network.name_or_path
    inject_adapter_in_model(config, network, name, low_cpu_mem_usage=low_cpu_mem_usage)
    flag_adapters(network)


def _materialise(network: Qwen2VLModel) -> None:
    """Give weights without memory float32 memory, whose values are still to come."""
    for module in network.modules():
        for name, weight in module.named_parameters(recurse=False):
            if weight.is_meta:
                memory = torch.empty_like(weight, device=network.device, dtype=torch.float32)
                setattr(module, name, nn.Parameter(memory, requires_grad=weight.requires_grad))


def _read_weights(folder: Path) -> dict[str, Tensor]:
    safetensors, pickled = folder / _WEIGHTS, folder / _PICKLED
    try:
        if safetensors.is_file():
            tensors: dict[str, Tensor] = load_file(safetensors)
            return tensors
        if pickled.is_file():
            # weights_only: a pickle may otherwise run any code it likes.
            weights: dict[str, Tensor] = torch.load(pickled, map_location="cpu", weights_only=True)
            return weights
    except Exception as error:  # safetensors and pickle each have errors of their own
        raise _unreadable(error, folder) from error
    raise CheckpointError(
        f"there is neither {safetensors.name} nor {pickled.name} beside {ADAPTER_CONFIG}",
        fix="Download the folder again; it may be incomplete.",
        source=str(folder),
    )


def _renamed(key: str) -> str:
    key = key.removeprefix(_PREFIX)
    return _VISION.sub("visual.", _LANGUAGE.sub("language_model.", key))


def _is_of_adapter(key: str) -> bool:
    return "lora_" in key or "modules_to_save" in key


def _unreadable(error: Exception, folder: Path) -> CheckpointError:
    reason = str(error).strip().partition("\n")[0]
    return CheckpointError(
        f"the adapter cannot be read, or does not fit its base model ({type(error).__name__}: {reason})",
        fix="Download the folder again, or name the right base: VLM2Vec(path, base_model=...).",
        source=str(folder),
    )
