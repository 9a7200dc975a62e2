"""The small tokenizer: byte-level BPE of the drawn world's captions, with Qwen2-VL's special tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from vlm2vec.world import describe, draw_clip, draw_page, draw_scene

__all__ = ["SPECIAL_TOKENS", "build_tokenizer"]

SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
"""Qwen2-VL's control tokens, in its order."""

_CAPTIONS = 3000
_GREATEST_VOCABULARY = 2048
_CONTEXT = 4096


def build_tokenizer(instructions: tuple[str, ...], texts: Iterable[str] | None = None) -> Qwen2Tokenizer:
    """Learn merges from texts; bytes are tokens too, so every text has a tokenisation.

    Args:
        instructions: Texts that should take few tokens as well.
        texts: What to learn from; captions of plain scenes, clips and pages by default.

    Returns:
        A tokenizer in the stock layout of Qwen2.
    """
    learned = Tokenizer(models.BPE())
    learned.normalizer = normalizers.NFC()
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=_GREATEST_VOCABULARY - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learned.train_from_iterator(_corpus(_captions() if texts is None else texts, instructions), trainer)
    bpe = json.loads(learned.to_str())["model"]
    vocabulary = bpe["vocab"] | {token: len(bpe["vocab"]) + k for k, token in enumerate(SPECIAL_TOKENS)}
    return Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[tuple(merge) for merge in bpe["merges"]],
        unk_token=None,
        eos_token="<|im_end|>",  # noqa: S106  # no password
        pad_token="<|endoftext|>",  # noqa: S106
        extra_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=_CONTEXT,
    )


def _corpus(texts: Iterable[str], instructions: tuple[str, ...]) -> Iterator[str]:
    yield from texts
    for _ in range(_CAPTIONS):
        yield from instructions


def _captions() -> Iterator[str]:
    rng = np.random.default_rng(0)
    for _ in range(_CAPTIONS):
        for draw in (draw_scene, draw_clip, draw_page):
            yield describe(draw(rng), rng)
