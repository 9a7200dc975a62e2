"""Whether a profile fits a network and its tokenizer: vectors of a model under another are wrong.

And whether what stands behind the network in a saved folder makes vectors of its states.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from huggingface_hub.errors import HfHubHTTPError
from sentence_transformers.sentence_transformer.modules import Normalize
from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from vlm2vec import profiles
from vlm2vec.backbones.registry import LAYOUTS
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.describe import shorten
from vlm2vec.errors import CheckpointError, VLM2VecError
from vlm2vec.profiles import Profile

__all__ = ["check_modules", "check_network", "check_tokenizer", "reading_files"]


_UNIT = 1e-3


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
    if isinstance(layout, StockLayout) and layout.tiles is not None:
        refused = profile.positions != "1d" or (profile.clip == "block" and layout.video_token is None)
        if refused:
            wrong_field = "positions" if profile.positions != "1d" else "clip"
            raise CheckpointError(
                f"{wrong_field} of the profile {profile.name} is "
                f'"{getattr(profile, wrong_field)}", which {layout.label} does not know',
                fix='Give the profile positions="1d"'
                + ("." if layout.video_token else ', and clip="images" or "seconds".'),
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


def check_tokenizer(profile: Profile, tokenizer: PreTrainedTokenizerBase, *, source: str) -> None:
    """Refuse a tokenizer that does not know a control token as one.

    Args:
        profile: What writes them.
        tokenizer: Of the checkpoint.
        source: What the user calls the checkpoint.

    Raises:
        CheckpointError: It lacks one.
    """
    known = tokenizer.get_added_vocab()
    unknown = [token for token in profile.control_tokens if token not in known]
    if profile.bos != "none" and tokenizer.bos_token is None:
        unknown.append("token that begins a text (bos_token)")
    if unknown:
        raise CheckpointError(
            f"the tokenizer has no {shorten(unknown[0])}, which the profile writes",
            fix="Use the tokenizer that the model was trained with, or the profile that it follows.",
            source=source,
        )


_OF_NAMES = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)


@contextmanager
def reading_files(source: str) -> Iterator[None]:
    """What other libraries raise on the files of a saved model becomes an error of this package.

    Their settings (`modules.json`, `config_sentence_transformers.json`, those of each module) are checked by
    nobody before they are used. What a disk, the hub or a device's memory says goes on as it is, unless it is
    that a file of the model names another in a way that no system can follow.

    Args:
        source: What the user calls the checkpoint.

    Raises:
        CheckpointError: The files make no sense.
    """
    try:
        yield
    except (VLM2VecError, HfHubHTTPError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _OF_NAMES:
            raise
        raise CheckpointError(
            f"the files of the model cannot be read ({type(error).__name__}: {shorten(str(error), 300)})",
            fix="Download the folder again, or save the model again.",
            source=source,
        ) from error


@torch.no_grad()
def check_modules(modules: Sequence[nn.Module], *, states: int, width: int, device: torch.device) -> None:
    """Raise, in any way, unless modules make a vector of the states of two tokens.

    Args:
        modules: What stands behind the network, in order.
        states: Components of a state.
        width: Components that a vector is said to have.
        device: Where they are.

    Raises:
        ValueError: The vector has another shape, or is not normalised where it should be.
    """
    features = {
        "token_embeddings": torch.ones(1, 2, states, device=device),
        "cu_seq_lens_q": torch.tensor([0, 2], dtype=torch.int32, device=device),
    }
    for module in modules:
        features = module(features)
    vector = features["sentence_embedding"]
    if tuple(vector.shape) != (1, width):
        raise ValueError(f"a vector is said to have {width} components, and the shape is {vector.shape}")
    if modules and isinstance(modules[-1], Normalize) and abs(float(vector.norm()) - 1) > _UNIT:
        raise ValueError("the last module is to give vectors unit length, and does not")
