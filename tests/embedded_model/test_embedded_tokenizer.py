"""The small tokenizer."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer, Qwen2Tokenizer

from embedded_model.tokenizer import SPECIAL_TOKENS, build_tokenizer
from embedded_model.world_sources import world_texts
from vlm2vec.world.vocabulary import ALL_WORDS, COLOURS, COUNTS, SHAPES, WORDS


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(("Find what is described.\n",))


@pytest.mark.parametrize("text", ["Größe 漢字 🙂", "a\tb\r\n c  ", "\u0000\u200b", "1,024 <tags> {}", ""])
def test_any_text_survives(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=False) == text


def test_words_of_the_world_are_single_tokens(tokenizer):
    for word in (*COLOURS, *SHAPES, *WORDS):
        assert len(tokenizer.encode(f"x {word}")) == 2


def test_special_tokens_are_in_the_order_of_qwen2_vl(tokenizer):
    numbers = tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))
    assert numbers == list(range(numbers[0], numbers[0] + len(SPECIAL_TOKENS)))
    assert max(numbers) == len(tokenizer) - 1
    assert tokenizer.encode("<|image_pad|>") == [numbers[SPECIAL_TOKENS.index("<|image_pad|>")]]


def test_it_is_saved_in_the_stock_layout(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(loaded, Qwen2Tokenizer)
    text = "a small red circle left of a blue square<|im_end|>"
    assert loaded.encode(text) == tokenizer.encode(text)


def test_learned_from_the_rows_of_the_world_all_its_words_are_single_tokens():
    tokenizer = build_tokenizer(("Find what is described.\n",), world_texts(rows=300))
    for word in (*COLOURS, *SHAPES, *ALL_WORDS, *COUNTS[1:], "then", "heading"):
        assert len(tokenizer.encode(f"x {word}")) == 2
    assert len(tokenizer) < 2000
