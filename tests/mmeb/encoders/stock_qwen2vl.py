"""Vectors of a Qwen2-VL checkpoint from plain transformers, one input at a time: slow, and another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, Qwen2VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

PAD = "<|image_pad|>"


class StockQwen2VL:
    """The network and tokenizer as transformers loads them; positions count tokens, as in these models."""

    def __init__(self, folder: Path, *extra_tokens: str) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.tokenizer.add_tokens(list(extra_tokens))
        self.network = Qwen2VLModel.from_pretrained(folder, dtype=torch.float32).eval()

    def vector(
        self,
        prompt: str,
        image: Path | None = None,
        *,
        tokens: tuple[int, int] = (4, 1280),
        before: str | None = None,
    ) -> np.ndarray:
        """The state of the last token, or of that before a token, at unit length.

        Args:
            prompt: In full, with `<|image_pad|>` once if there is an image.
            image: Resized as qwen_vl_utils does it, and then by the processor.
            tokens: Budget of the processor.
            before: The token.
        """
        media = {}
        if image is not None:
            picture = Image.open(image).convert("RGB")
            height, width = smart_resize(picture.height, picture.width, 28, 4 * 28**2, 16384 * 28**2)
            processor = Qwen2VLImageProcessorPil(
                size={"shortest_edge": tokens[0] * 28**2, "longest_edge": tokens[1] * 28**2}
            )
            media = dict(processor([picture.resize((width, height))], return_tensors="pt"))
            prompt = prompt.replace(PAD, PAD * (int(media["image_grid_thw"].prod()) // 4))
        ids = self.tokenizer(prompt, return_tensors="pt")["input_ids"]
        positions = torch.arange(ids.shape[1]).expand(3, 1, -1)
        with torch.no_grad():
            states = self.network(input_ids=ids, position_ids=positions, **media).last_hidden_state[0]
        place = -1
        if before is not None:
            place = ids[0].tolist().index(self.tokenizer.convert_tokens_to_ids(before)) - 1
        vector = states[place].numpy()
        return vector / np.linalg.norm(vector)
