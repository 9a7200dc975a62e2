"""Low-rank adapters that `fit` trains: their settings, and whether a model or a checkpoint has these.

LoRA (arXiv:2106.09685), and DoRA (arXiv:2402.09353), which the released VLM2Vec models were trained with.
QLoRA (arXiv:2305.14314) holds the frozen weights under an adapter in 4 bits, by bitsandbytes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig
from torch import nn

from vlm2vec.arguments import is_number, is_whole
from vlm2vec.checkpoints import adapter
from vlm2vec.checkpoints.adapter import has_adapter
from vlm2vec.checkpoints.folder import ADAPTER_CONFIG
from vlm2vec.describe import describe_value
from vlm2vec.errors import CheckpointError, InputError
from vlm2vec.extra import how_to_install
from vlm2vec.training.protocol import EmbeddingModel
from vlm2vec.training.setting_names import check_lora_names

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "LoRA",
    "add_adapter",
    "check_adapter",
    "check_saved_adapter",
    "has_quantised_layers",
    "merge_adapter",
    "quantised_for_adapter",
]


@dataclass(frozen=True)
class LoRA:
    """Settings of an adapter; by default those of the released VLM2Vec-V2.0.

    Attributes:
        r: Rank of the update.
        alpha: Its scale is `alpha / r`.
        dropout: On its inputs, while it is trained.
        use_dora: Also learn the length of each row of the updated weight.
        target_modules: Names of the linear layers, by their ends. The default ones are in the language model;
            in Qwen2.5-VL the `down_proj` of the vision tower is one of them too, as in the original code.
        quantise: Hold the frozen weights of these layers in 4 bits (QLoRA), which needs bitsandbytes. A
            saved adapter is loaded onto the weights as they were.

    Raises:
        InputError: A setting makes no sense.

    Example:
        >>> LoRA(r=8, use_dora=False).alpha
        64
    """

    r: int = 16
    alpha: int = 64
    dropout: float = 0.1
    use_dora: bool = True
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "down_proj")
    quantise: bool = False

    def __new__(cls, *_: Any, **settings: Any) -> LoRA:
        """As usual, once the names are known: Python's own error would not say what is called `r` here."""
        check_lora_names(settings, [field.name for field in fields(cls)])
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if not isinstance(self.target_modules, list | tuple | set | frozenset):
            raise InputError(
                f"lora's target_modules is {describe_value(self.target_modules)}",
                fix='Pass a list: ["q_proj", "v_proj"].',
            )
        object.__setattr__(self, "target_modules", tuple(self.target_modules))
        for name in ("r", "alpha"):
            value = getattr(self, name)
            if not is_whole(value, minimum=1):
                raise InputError(
                    f"lora's {name} is {describe_value(value)}", fix="Pass a positive whole number."
                )
        if not (is_number(self.dropout) and 0 <= self.dropout < 1):
            raise InputError(
                f"lora's dropout is {describe_value(self.dropout)}", fix="Pass a number from 0 up to 1."
            )
        if not self.target_modules or not all(isinstance(name, str) for name in self.target_modules):
            raise InputError(
                "lora has no target_modules", fix='Name linear layers, as in ["q_proj", "v_proj"].'
            )

    @classmethod
    def of(cls, settings: LoRA | Mapping[str, Any]) -> LoRA:
        """The settings, given as such or as a mapping of a recipe."""
        if isinstance(settings, cls):
            return settings
        if not isinstance(settings, Mapping):
            known = ", ".join(field.name for field in fields(cls))
            raise InputError(
                f"lora: {describe_value(settings)}", fix=f"Pass true, false, or some of {known}."
            )
        return cls(**settings)


def add_adapter(network: PreTrainedModel, lora: LoRA) -> None:
    """Add an adapter, whose weights are then all that learns.

    Raises:
        InputError: The network has an adapter already, or not all of the named layers.
    """
    if has_adapter(network):
        raise InputError("the model has an adapter already", fix="Train that one, or merge it first.")
    _check_targets(network, lora.target_modules)
    with quantised_for_adapter(network, lora.target_modules) if lora.quantise else nullcontext():
        adapter.add_adapter(network, _as_peft(lora))


def _check_targets(network: nn.Module, names: tuple[str, ...]) -> None:
    """Raise unless each name is that of linear layers; peft leaves out names that it does not find."""
    modules = dict(network.named_modules())
    for name in names:
        found = [module for path, module in modules.items() if f".{path}".endswith(f".{name}")]
        if not found:
            linear = {path.rpartition(".")[2] for path, one in modules.items() if isinstance(one, nn.Linear)}
            named = ", ".join(sorted(each for each in linear if not each.isdigit()))
            raise InputError(f"the network has no layer {name!r}", fix=f"Name layers of it: {named}.")
        kind = next((type(module).__name__ for module in found if not isinstance(module, nn.Linear)), None)
        if kind is not None:
            raise InputError(f"{name!r} is a {kind}", fix="Name linear layers of the network.")


def check_adapter(model: EmbeddingModel, wanted: bool | LoRA | Mapping[str, Any] | None) -> None:
    """Raise if the adapter that a model has is not the one that is wanted.

    Args:
        model: A model with an adapter.
        wanted: As `fit` takes it: `None` and `True` are any.

    Raises:
        InputError: None is wanted, or one of other settings.
    """
    fix = "Leave lora out to train the one that it has, or call merge_adapter() first."
    if wanted is False:
        raise InputError("the model has an adapter, and lora is False", fix=fix)
    if wanted is None or wanted is True:
        return
    for config in model[0].model.peft_config.values():
        if differing := _differing(LoRA.of(wanted), config.to_dict()):
            raise InputError(f"the model has an adapter of other {differing[0]}", fix=fix)


def check_saved_adapter(folder: Path, added: LoRA | None, *, expected: bool) -> None:
    """Raise if a checkpoint is not of the run that its weights are to be loaded for.

    Args:
        folder: The checkpoint.
        added: The adapter that the run adds.
        expected: Whether the run has an adapter.

    Raises:
        CheckpointError: It has an adapter and the run has none, or the other way round, or they differ.
    """
    fix = "Resume with the lora= of the run."
    file = folder / ADAPTER_CONFIG
    if file.is_file() != expected:
        what = "there is no adapter" if expected else "there is an adapter, and lora= asks for none"
        raise CheckpointError(what, fix=fix, source=str(folder))
    if added is not None and (differing := _differing(added, json.loads(file.read_text(encoding="utf-8")))):
        raise CheckpointError(f"its adapter is of other {differing[0]}", fix=fix, source=str(folder))


def merge_adapter(model: EmbeddingModel) -> None:
    """Add the adapter's update to the weights, in float32 before it is rounded, and take the adapter away.

    Vectors stay what they are, up to rounding; encoding is as fast as without adapter again.

    Raises:
        InputError: There is no adapter.
    """
    network = model[0].model
    if not has_adapter(network):
        raise InputError(
            "the model has no adapter",
            fix="Merge after training one. One that VLM2Vec(path) loads is merged already; "
            "load_adapter(path, is_trainable=True) keeps it beside the weights.",
        )
    if has_quantised_layers(network):
        raise InputError(
            "the weights under the adapter are held in 4 bits",
            fix="Save the adapter, and load it: VLM2Vec(folder) merges it into the weights as they were.",
        )
    adapter.merge_adapter(network)
    network.name_or_path = ""  # not the weights of that name any more


def _differing(lora: LoRA, config: Mapping[str, Any]) -> list[str]:
    """Names of the settings in which an adapter with this configuration of peft's is another one."""
    own = _as_peft(lora).to_dict()
    names = {"lora_alpha": "alpha", "lora_dropout": "dropout"}
    return [
        names.get(name, name)
        for name in ("r", "lora_alpha", "lora_dropout", "use_dora", "target_modules")
        if _unordered(own[name]) != _unordered(config[name])
    ]


def _unordered(value: Any) -> Any:
    return set(value) if isinstance(value, (list, tuple, set)) else value


def _as_peft(lora: LoRA) -> LoraConfig:
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_dora=lora.use_dora,
        target_modules=list(lora.target_modules),
        init_lora_weights="gaussian",  # as the original
    )


@contextmanager
def quantised_for_adapter(network: Any, target_modules: Collection[str]) -> Iterator[None]:
    """Hold the named linear layers in NF4, in place, computed in bfloat16; peft finds them so in the block.

    Args:
        network: The network, on a GPU: on a CPU, what bitsandbytes has encoded with it can no longer train.
        target_modules: Names of linear layers, by their ends.

    Raises:
        InputError: The network is not on a GPU, or bitsandbytes is not installed.
    """
    if network.device.type != "cuda":
        raise InputError("weights in 4 bits are trained on a GPU alone", fix="Leave quantise=True out.")
    try:
        from bitsandbytes.nn import Linear4bit, Params4bit
    except ImportError as error:
        raise InputError("bitsandbytes is not installed", fix=how_to_install("qlora")) from error
    for name, layer in list(network.named_modules()):
        if type(layer) is nn.Linear and name.rpartition(".")[2] in target_modules:
            weight = layer.weight.data
            held = Linear4bit(
                layer.in_features,
                layer.out_features,
                bias=layer.bias is not None,
                compute_dtype=torch.bfloat16,
                quant_type="nf4",
                device="meta",
            )
            held.weight = Params4bit(weight, requires_grad=False, quant_type="nf4", module=held)
            held.bias = layer.bias
            network.set_submodule(name, held.to(weight.device))
    network.is_loaded_in_4bit = True  # what peft asks before it takes them for what they are
    try:
        yield
    finally:
        del network.is_loaded_in_4bit


def has_quantised_layers(network: nn.Module) -> bool:
    """Whether any weight is held in 4 bits."""
    return any(type(module).__name__ == "Linear4bit" for module in network.modules())
