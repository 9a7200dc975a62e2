"""The prompts of E5-V, to the character."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vlm2vec import profiles
from vlm2vec.encoding.prompt import Control, Plain, lay_out
from vlm2vec.inputs.parse import parse_input

PICTURE = np.zeros((28, 28, 3), np.uint8)
CLIP = np.zeros((2, 28, 28, 3), np.uint8)
START = "<|start_header_id|>user<|end_header_id|>\n\n"
END = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n \n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a cat", "a cat\nSummary above sentence in one word: "),
        (PICTURE, "<image>\nSummary above image in one word: "),
        ({"image": PICTURE, "text": "a cat"}, "<image>\na cat\nSummary above image and text in one word: "),
        ({"video": CLIP}, "<image>\nSummary above video in one word: "),
        ({"video": CLIP, "text": "a cat"}, "<image>\na cat\nSummary above video and text in one word: "),
    ],
)
def test_prompt(given: Any, said: str) -> None:
    segments = lay_out(parse_input(given), profiles.get("e5-v"))
    written = "".join(one.text if isinstance(one, Plain | Control) else "<image>" for one in segments)
    assert written == f"{START}{said}{END}"
