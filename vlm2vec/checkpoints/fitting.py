"""Whether a profile fits a network and its tokenizer: vectors of a model under another are wrong."""

from __future__ import annotations

from collections.abc import Iterable

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from vlm2vec import profiles
from vlm2vec.backbones.registry import LAYOUTS
from vlm2vec.errors import CheckpointError
from vlm2vec.profiles import Profile

__all__ = ["check_network", "check_tokenizer"]


def check_network(profile: Profile, config: PreTrainedConfig, *, source: str) -> None:
    """Refuse a profile that is for another network.

    Args:
        profile: The profile.
        config: Of the network, one of `LAYOUTS`.
        source: What the user calls the checkpoint.

    Raises:
        CheckpointError: It is for another network, or its patches have other sizes.
    """
    layout = LAYOUTS[config.model_type]
    if profile.network != config.model_type:
        meant = LAYOUTS.get(profile.network)
        fitting = [name for name in profiles.names() if profiles.get(name).network == config.model_type]
        raise CheckpointError(
            f"this is a checkpoint on {layout.label}, and the profile {profile.name} is for "
            f"{profile.network if meant is None else meant.label}",
            fix=f"Choose one of {', '.join(fitting)}, whichever it was trained with.",
            source=source,
        )
    sizes = ("patch_size", "merge_size", "temporal_patch_size")
    wrong = [size for size in sizes if getattr(profile.pixels, size) != getattr(layout, size)]
    if wrong:
        raise CheckpointError(
            f"{wrong[0]} of the profile {profile.name} is {getattr(profile.pixels, wrong[0])}, and that of "
            f"{layout.label} is {getattr(layout, wrong[0])}",
            fix="Give the profile's pixels the sizes of the network.",
            source=source,
        )


def check_tokenizer(
    control_tokens: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, source: str
) -> None:
    """Refuse a tokenizer that does not know a control token as one.

    Args:
        control_tokens: Those that a profile writes.
        tokenizer: Of the checkpoint.
        source: What the user calls the checkpoint.

    Raises:
        CheckpointError: It lacks one.
    """
    known = tokenizer.get_added_vocab()
    if unknown := [token for token in control_tokens if token not in known]:
        raise CheckpointError(
            f"the tokenizer has no {unknown[0]}, which the profile writes",
            fix="Use the tokenizer that the model was trained with, or the profile that it follows.",
            source=source,
        )
