"""Adapters of a network: adding, loading, saving and merging them, through peft alone.

transformers has methods for this too, but each of them refuses to work beside a peft that it holds to be too
old; transformers 5.24.0 asked for a peft that was not released. peft's own functions have no such gate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig
from peft.functional import (
    cast_adapter_dtype,
    delete_adapter,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_adapter,
    set_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import AuxiliaryTrainingWrapper
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlm2vec.backbones.registry import layout_of
from vlm2vec.checkpoints.folder import ADAPTER_CONFIG, require_complete
from vlm2vec.compat import flag_adapters
from vlm2vec.describe import shorten
from vlm2vec.errors import CheckpointError, InputError, VLM2VecError

__all__ = [
    "active_adapters",
    "add_adapter",
    "changes_base",
    "check_not_base",
    "has_adapter",
    "load_adapter",
    "load_adapter_weights",
    "merge_adapter",
    "remove_adapter",
    "remove_adapter_files",
    "save_adapter",
]

_WEIGHTS = "adapter_model.safetensors"
_PICKLED = "adapter_model.bin"

_PREFIX = "base_model.model."


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


def add_adapter(network: PreTrainedModel, config: PeftConfig, name: str = "default") -> None:
    """Add an adapter, whose weights are then all that learns.

    Args:
        network: Changed in place.
        config: Of the adapter, such as a `peft.LoraConfig`; it gets the name of the network as its base.
        name: Of the adapter.

    Raises:
        InputError: There is an adapter of that name, or none can have it.
        ValueError: peft cannot add it; the network is as it was.
    """
    with _undone_on_error(network, config, name):
        inject_adapter_in_model(config, network, name)
        cast_adapter_dtype(network, name)  # to float32, whatever the weights below are


def load_adapter(network: PreTrainedModel, folder: Path, name: str = "default") -> None:
    """Add a saved LoRA or DoRA adapter, frozen.

    Args:
        network: Changed in place.
        folder: Holds `adapter_config.json` and `adapter_model.safetensors` or `.bin`.
        name: Of the adapter.

    Raises:
        CheckpointError: Files are missing, or the adapter has keys the network lacks, or the other way round;
            the network is as it was.
        InputError: There is an adapter of that name, or none can have it.
    """
    config = _read_config(folder, network)
    config.inference_mode = True
    try:
        with _undone_on_error(network, config, name):
            # Without first weights, where they do not matter: those of DoRA take as long as merging it.
            inject_adapter_in_model(config, network, name, low_cpu_mem_usage=not changes_base(folder))
            _materialise(network)
            load_adapter_weights(network, folder, name)
    except (VLM2VecError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # peft has no error of its own for a configuration that makes no sense
        raise _unreadable(error, folder) from error


def changes_base(folder: Path) -> bool:
    """Whether an adapter needs more of its base than plain layers: it copies some, or rewrites them first.

    Raises:
        CheckpointError: The folder has no LoRA or DoRA adapter.
    """
    config = _read_config(folder)
    return bool(
        config.modules_to_save
        or config.trainable_token_indices
        or config.bias != "none"
        or (isinstance(config.init_lora_weights, str) and config.init_lora_weights != "gaussian")
    )


def load_adapter_weights(network: PreTrainedModel, folder: Path, name: str = "default") -> None:
    """Give an adapter of the network the weights that were saved from one like it.

    Raises:
        CheckpointError: The folder has no such adapter, or not all of its weights.
    """
    weights = _read_weights(folder)
    try:
        report = set_peft_model_state_dict(
            network, {_renamed(key, network): value for key, value in weights.items()}, adapter_name=name
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of weights that do not fit, peft, torch and Python each say it in their way
        raise _unreadable(error, folder) from error
    own = {key for key in network.state_dict() if name in key.split(".") and _is_of_adapter(key)}
    require_complete(folder, missing=own & set(report.missing_keys), unexpected=set(report.unexpected_keys))


def save_adapter(network: PreTrainedModel, folder: Path) -> None:
    """Write the active adapter in the published layout, without the weights that it belongs to.

    Args:
        network: Has an adapter.
        folder: Gets `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        InputError: No adapter is active, or more than one; or the folder is that of its base; or its base
            is saved nowhere.
    """
    check_not_base(network, folder)
    if not network.name_or_path:
        raise InputError(
            "the weights under the adapter were trained and are saved nowhere, so none could load it",
            fix="Call merge_adapter() and save the whole model, or save it before an adapter is added.",
        )
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


def check_not_base(network: PreTrainedModel, folder: Path) -> None:
    """Raise if a folder holds the weights below the adapter: beside them, it would name itself as its base.

    Raises:
        InputError: It does.
    """
    base = Path(network.name_or_path or "")
    if network.name_or_path and base.is_dir() and base.resolve() == folder.resolve():
        raise InputError(
            "the folder holds the weights that the adapter belongs to",
            fix="Name another folder; to go on with a run, load its base and pass resume=True.",
            source=str(folder),
        )


def remove_adapter_files(folder: Path) -> None:
    """Remove an adapter from a folder, where whole weights beside it would be ignored."""
    for name in (ADAPTER_CONFIG, _WEIGHTS, _PICKLED):
        (folder / name).unlink(missing_ok=True)


def remove_adapter(network: PreTrainedModel, name: str) -> None:
    """Take an adapter away, and peft's layers that no other needs; without the last one all weights learn.

    Raises:
        InputError: There is none of that name.
    """
    config = getattr(network, "peft_config", {}).pop(name, None)
    if config is None:
        raise InputError(f"the model has no adapter {name!r}", fix="peft_config has the names.")
    delete_adapter(network, name, prefix=_prefix(config))
    for path, module in _peft_layers(network):
        if isinstance(module, BaseTunerLayer):
            unused = not any(len(getattr(module, names)) for names in module.adapter_layer_names)
            plain = module.get_base_layer()
        else:
            unused = not (network.peft_config and getattr(module, "modules_to_save", True))
            plain = module.original_module
        if unused:
            network.set_submodule(path, plain)
    if not network.peft_config:
        del network.peft_config
        network.requires_grad_(True)
    flag_adapters(network)


def merge_adapter(network: PreTrainedModel, dtype: torch.dtype | None = None) -> None:
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

    for path, module in _peft_layers(network):
        if isinstance(module, BaseTunerLayer):
            base: Any = module.get_base_layer()
            kept = dtype or base.weight.dtype
            module.float().merge()
            network.set_submodule(path, base.to(kept))
        elif not module.active_adapters:
            network.set_submodule(path, module.original_module)
        else:  # a layer that was trained as a whole, or some tokens of an embedding
            plain = module.unload_and_optionally_merge_module(
                merge=True, safe_merge=False, adapter_names=None
            )
            network.set_submodule(path, plain)
    del network.peft_config
    flag_adapters(network)
    network.requires_grad_(True)


@contextmanager
def _undone_on_error(network: PreTrainedModel, config: PeftConfig, name: str) -> Iterator[None]:
    """Adds the adapter in the block, and leaves nothing of it where the block fails."""
    if name in getattr(network, "peft_config", {}):
        raise InputError(f"the model has an adapter {name!r} already", fix="Choose another name.")
    if not name or "." in name:
        raise InputError(f"an adapter cannot be called {name!r}", fix="Choose a name without a dot.")
    active = active_adapters(network) if has_adapter(network) else []
    modules = dict(network.named_modules())
    learned = {id(weight) for weight in network.parameters() if weight.requires_grad}
    config.base_model_name_or_path = network.name_or_path
    try:
        yield
    except Exception:
        delete_adapter(network, name, prefix=_prefix(config))
        for path, module in modules.items():
            if path and network.get_submodule(path) is not module:
                network.set_submodule(path, module)
        configs = getattr(network, "peft_config", {})
        configs.pop(name, None)
        if active:
            set_adapter(network, active)
        elif hasattr(network, "peft_config"):
            del network.peft_config
        for weight in network.parameters():
            weight.requires_grad_(id(weight) in learned)
        raise
    finally:
        flag_adapters(network)


def _prefix(config: PeftConfig) -> str:
    return f"{config.peft_type.value.lower()}_"


def _peft_layers(network: nn.Module) -> list[tuple[str, Any]]:
    """Paths and modules that peft has put in the place of layers, none of them within another."""
    found: list[tuple[str, Any]] = []
    for path, module in network.named_modules():
        within = found and path.startswith(found[-1][0] + ".")
        if isinstance(module, (BaseTunerLayer, AuxiliaryTrainingWrapper)) and not within:
            found.append((path, module))
    return found


def _read_config(folder: Path, network: PreTrainedModel | None = None) -> PeftConfig:
    """The configuration of a LoRA adapter, its layers named as those of the network, where that is given."""
    try:
        config = PeftConfig.from_pretrained(str(folder))
        if network is not None and config.peft_type == "LORA":
            _rename_layers(config, network)
    except Exception as error:  # peft has no error of its own for a file that is damaged
        raise _unreadable(error, folder) from error
    if config.peft_type != "LORA":
        raise CheckpointError(
            f"the adapter is of type {config.peft_type}",
            fix="LoRA and DoRA adapters are loaded; merge others with peft and load the result.",
            source=str(folder),
        )
    if config.megatron_config is not None:  # peft imports the module that it names, whichever that is
        raise CheckpointError(
            "the adapter is for layers of Megatron", fix="Convert it to plain LoRA.", source=str(folder)
        )
    return config


def _rename_layers(config: Any, network: PreTrainedModel) -> None:
    """Layers are named by the network that the adapter was trained in, and may be by their whole path."""
    for field in ("target_modules", "exclude_modules"):
        names = getattr(config, field)
        if isinstance(names, (list, set)):
            setattr(config, field, type(names)(_renamed(name, network) for name in names))
    for field in ("rank_pattern", "alpha_pattern"):
        patterns = getattr(config, field).items()
        setattr(config, field, {_renamed(key, network): value for key, value in patterns})


def _materialise(network: PreTrainedModel) -> None:
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


def _renamed(key: str, network: PreTrainedModel) -> str:
    key = key.removeprefix(_PREFIX)
    for pattern, name in layout_of(network).adapter_names:
        key = re.sub(pattern, name, key)
    return key


def _is_of_adapter(key: str) -> bool:
    return any(part in key for part in ("lora_", "modules_to_save", "token_adapter.trainable_tokens"))


def _unreadable(error: Exception, folder: Path) -> CheckpointError:
    reason = shorten(str(error), 300)
    return CheckpointError(
        f"the adapter cannot be read, or does not fit its base model ({type(error).__name__}: {reason})",
        fix="Download the folder again, or name the right base: VLM2Vec(path, base_model=...).",
        source=str(folder),
    )
