"""Which adapter a model gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlm2vec.describe import describe_value
from vlm2vec.errors import InputError
from vlm2vec.media.source import is_url
from vlm2vec.mmeb.encoders.protocol import Encoder

__all__ = ["encoder_of"]


def encoder_of(model: Any, *, name: str = "", **settings: Any) -> Encoder:
    """The adapter for a model.

    Args:
        model: An `Encoder`; a `VLM2Vec`; a path or hub id of one; the URL of a server; any
            `SentenceTransformer` or `MultiVectorEncoder`; or a function of `(contents, role)` that gives an
            array `(n, dim)`.
        name: What to call it in results; a function has to be given one.
        **settings: Of its `encode`: `batch_size`, `max_tokens_per_batch`, `device` and the like. `frames` of
            a `VLM2Vec` or `MultiVectorEncoder`, and `prompts` of a `VLM2Vec`, are those of its adapter. Of a
            URL, those of `ServedModel`.

    Raises:
        InputError: It is none of these, or has no such settings.
    """
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer
    from torch import nn

    from vlm2vec import VLM2Vec
    from vlm2vec.mmeb.encoders.function import FunctionEncoder
    from vlm2vec.mmeb.encoders.multi_vector import MultiVectorAdapter
    from vlm2vec.mmeb.encoders.sentence_transformer import SentenceTransformerEncoder
    from vlm2vec.mmeb.encoders.served import ServedModel
    from vlm2vec.mmeb.encoders.vlm2vec_model import VLM2VecEncoder

    if isinstance(model, Encoder) and not isinstance(model, SentenceTransformer):
        _refuse(settings)
        return model
    if isinstance(model, str) and is_url(model):
        return ServedModel(model, name=name, **settings)
    if isinstance(model, str) or hasattr(model, "__fspath__"):
        model = VLM2Vec(model)
    if isinstance(model, VLM2Vec):
        return VLM2VecEncoder(model, name, **_apart(settings, "prompts", "frames"))
    if isinstance(model, MultiVectorEncoder):
        return MultiVectorAdapter(model, name, **_apart(settings, "frames"))
    if isinstance(model, SentenceTransformer):
        return SentenceTransformerEncoder(model, name=name, settings=settings)
    if callable(model) and not isinstance(model, nn.Module):
        _refuse(settings)
        return FunctionEncoder(model, name=name)
    raise InputError(
        f"the model is {describe_value(model)}",
        fix="Pass a VLM2Vec, a SentenceTransformer, a MultiVectorEncoder, a folder or hub id, a URL, or a "
        "function (contents, role).",
    )


def _apart(settings: Mapping[str, Any], *own: str) -> dict[str, Any]:
    """Settings of an adapter itself, and under "settings" those of the model's `encode`."""
    others = {name: value for name, value in settings.items() if name not in own}
    return {"settings": others, **{name: settings[name] for name in own if name in settings}}


def _refuse(settings: Mapping[str, Any]) -> None:
    if settings:
        raise InputError(
            f"unknown settings: {', '.join(settings)}", fix="A function, or an Encoder, takes none here."
        )
