"""What `SentenceTransformer` takes for transformers' loaders, and what becomes of it here."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from vlm2vec.arguments import did_you_mean, whole_number
from vlm2vec.describe import describe_value, literal
from vlm2vec.errors import InputError

__all__ = ["check_load_settings", "device_of", "dtype_of", "pixel_budget_of", "without_placement"]

logger = logging.getLogger(__name__)

# Of `model_kwargs`: what vectors do not depend on here, and what has a name of its own.
_WITHOUT_EFFECT = ("attn_implementation", "low_cpu_mem_usage", "use_safetensors", "use_cache")
_OF_THE_MODEL = {
    "quantization_config": "Weights are in 4 bits under an adapter that is trained: LoRA(quantise=True).",
    "max_memory": "A model is on one device: choose it with device=.",
    "offload_folder": "A model is on one device: choose it with device=.",
    "trust_remote_code": "No code of a repository is run here: leave it out.",
    **dict.fromkeys(("revision", "token", "local_files_only"), "Pass it to VLM2Vec itself."),
    "cache_dir": "Pass cache_folder= to VLM2Vec itself.",
}
_OF_VLM2VEC = ("profile", "base_model", "limits", "allow_urls", "allow_files", "dtype")
# The same of `processor_kwargs`: nothing is padded here, and every tokenizer is a fast one.
_WITHOUT_EFFECT_ON_INPUTS = ("padding_side", "use_fast")
_OF_THE_PROCESSOR = {
    "model_max_length": "Set model.max_seq_length, and pass truncate=True to encode.",
    "truncation_side": "Pass truncate=True to encode: the end of a text is what is left out.",
    "size": "Pass min_pixels and max_pixels.",
    "num_frames": "Give it with an input: {'video': path, 'num_frames': 16}.",
    "fps": "Give it with an input: {'video': path, 'fps': 1}.",
}


def without_placement(model_kwargs: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What `model_kwargs` ask for beside the device and what has no effect here."""
    left = dict(model_kwargs or {})
    left.pop("device_map", None)
    ignored = [name for name in _WITHOUT_EFFECT if left.pop(name, None) is not None]
    if ignored:
        logger.info(
            "%s of model_kwargs is left out: vectors do not depend on it here.",
            ", ".join(ignored),
        )
    return left or None


def device_of(model_kwargs: Mapping[str, Any] | None, device: str | None) -> str | None:
    """The device that `model_kwargs["device_map"]` names; `device`, where it leaves the choice.

    Raises:
        InputError: It spreads one model over devices.
    """
    asked = (model_kwargs or {}).get("device_map")
    if isinstance(asked, Mapping) and set(asked) == {""}:
        asked = asked[""]
    if asked is None or asked == "auto":
        return device
    if isinstance(asked, Mapping) or asked in ("balanced", "balanced_low_0", "sequential"):
        raise InputError(
            f"device_map is {literal(asked)}, and a model is on one device here",
            fix='Pass one, such as "cuda:0". encode(inputs, device=["cuda:0", "cuda:1"]) has a copy on each.',
        )
    named = f"cuda:{asked}" if isinstance(asked, int) else str(asked)
    if device is not None and str(device) != named:
        logger.warning("device=%s is ignored: device_map of model_kwargs says %s.", device, named)
    return named


def pixel_budget_of(processor_kwargs: Mapping[str, Any] | None) -> dict[str, int]:
    """`min_pixels` and `max_pixels` of the `processor_kwargs` that sentence-transformers takes.

    Raises:
        InputError: They ask for something else too, which a profile says here.
    """
    left = {
        name: value
        for name, value in (processor_kwargs or {}).items()
        if name not in _WITHOUT_EFFECT_ON_INPUTS
    }
    budget: dict[str, int] = {
        name: whole_number(name, left.pop(name)) for name in ("min_pixels", "max_pixels") if name in left
    }
    for name in left:
        raise InputError(
            f"processor_kwargs has {name}",
            fix=_OF_THE_PROCESSOR.get(
                name, "min_pixels and max_pixels are taken; the profile says the rest."
            ),
        )
    return budget


def dtype_of(model_kwargs: Mapping[str, Any] | None) -> torch.dtype | None:
    """The type of weights that sentence-transformers' `model_kwargs` ask for; `None` is the checkpoint's own.

    Raises:
        InputError: They ask for something else too, which the packed forward cannot give; or what they ask
            for is no type of weights.
    """
    asked = dict(model_kwargs or {})
    dtype = asked.pop("dtype", asked.pop("torch_dtype", None))
    for name in asked:
        raise InputError(
            f"model_kwargs has {name}",
            fix=_OF_THE_MODEL.get(name, "dtype, device_map and attn_implementation are taken here."),
        )
    if isinstance(dtype, str) and dtype != "auto":
        dtype = getattr(torch, dtype, dtype)
    if dtype in (None, "auto"):
        return None
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise InputError(
            f"dtype is {literal(dtype)}, which is no type of weights",
            fix='Pass "float32", "bfloat16" or "float16".',
        )
    return dtype


def check_load_settings(settings: Mapping[str, Any]) -> None:
    """Refuse arguments that `SentenceTransformer` has not, and those of it that would have no effect here."""
    known = {*inspect.signature(SentenceTransformer).parameters, "tokenizer_kwargs", *_OF_VLM2VEC}
    for name in settings:
        if name not in known:
            raise InputError(
                f'VLM2Vec has no argument "{name}"',
                fix=did_you_mean(name, known, otherwise="Correct the name, or leave it out."),
            )
    # The one is the old name of the other, which sentence-transformers still takes.
    for name in ("processor_kwargs", "tokenizer_kwargs"):
        pixel_budget_of(settings.get(name))
    if settings.get("config_kwargs"):
        raise InputError(
            "config_kwargs have no effect here", fix="The network is what config.json of the checkpoint says."
        )
    if (backend := settings.get("backend", "torch")) != "torch":
        raise InputError(
            f"backend is {describe_value(backend)}",
            fix="Leave it out: the packed forward runs in torch alone.",
        )
