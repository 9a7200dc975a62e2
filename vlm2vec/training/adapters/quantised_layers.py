"""QLoRA (arXiv:2305.14314): the frozen weights under an adapter held in 4 bits, by bitsandbytes."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vlm2vec.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["has_quantised_layers", "quantised_for_adapter"]


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
        raise InputError("bitsandbytes is not installed", fix='pip install "vlm2vec[qlora]"') from error
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
