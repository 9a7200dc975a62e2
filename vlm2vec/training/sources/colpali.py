"""The ColPali training set: pages with questions and answers.

As in the original code a row asks the page for the answer; it does not look for the page. The column `prompt`
is not used: TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4, `src/data/dataset/vidore_dataset.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlm2vec.encoding.prompt import IMAGE_TOKEN
from vlm2vec.training.sources.loader import Loader
from vlm2vec.training.sources.page_tables import PageTable
from vlm2vec.training.sources.prompt_pair import PromptPair

__all__ = ["LOADERS"]

_PAIR = PromptPair(f"{IMAGE_TOKEN} {{query}}", "{answer}", medium="query", key="images")


def _pair_of(record: Mapping[str, Any]) -> PromptPair:
    return _PAIR


LOADERS = (
    Loader(
        name="colpali-train",
        summary="a page and a question about it, to the answer",
        open=PageTable(("query", "answer"), _pair_of),
        options={"file": "data/train-*.parquet"},
        homepage="https://huggingface.co/datasets/vidore/colpali_train_set",
    ),
)
