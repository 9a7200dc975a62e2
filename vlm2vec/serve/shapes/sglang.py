"""SGLang's shape: `POST /v1/embeddings {"model", "input": [{"text", "image"}]}`; one object, one vector.

Source: sgl-project/sglang#3693. It is OpenAI's with objects as inputs, each with text, media, or both.
"""

from __future__ import annotations

from vlm2vec.serve.shapes.openai import FIELDS, ROUTE, read, write
from vlm2vec.serve.shapes.shape import Shape

__all__ = ["SHAPE"]

_PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGklEQVR42mM8ISfH"
    "QApgYiARjGoY1TB0NAAATx8BJMixHB8AAAAASUVORK5CYII="
)

SHAPE = Shape(
    "sglang",
    ROUTE,
    read,
    write,
    FIELDS.schema() | {"title": "SGLang"},
    {
        "model": "vlm2vec",
        "input": [
            {"text": "what colour is it?", "image": _PICTURE},
        ],
    },
    truncation='"truncate_prompt_tokens": -1',
)
