"""VisRAG's training data, in-domain and synthetic: questions to the page that answers them.

Both sets have the columns `query`, `image` and `source`; the source chooses the prompts. They stand in
`visrag_prompts.json` and come from TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4
(`src/data/dataset/visrag_dataset.py`), which uses other ones in evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from vlm2vec.encoding.prompt import IMAGE_TOKEN
from vlm2vec.training.sources.loader import Loader
from vlm2vec.training.sources.page_tables import PageTable
from vlm2vec.training.sources.prompt_pair import PromptPair

__all__ = ["LOADERS", "PROMPTS"]


PROMPTS: dict[str, dict[str, str]] = json.loads(
    files("vlm2vec.training.sources").joinpath("visrag_prompts.json").read_text(encoding="utf-8")
)
"""Per value of the column `source`, what stands before a query and what describes a page."""


def _pair(query: str, document: str) -> PromptPair:
    # A space too many here and there, and one at the end, as in the original: the model has learned them.
    return PromptPair(f"{query}{{query}} ", f"{document}{IMAGE_TOKEN}", medium="document", key="images")


_PAIRS = {
    source: _pair(f"{prompt['query']} ", f"{prompt['document']}  ") for source, prompt in PROMPTS.items()
}
_OF_OTHER_SOURCES = _pair("", " ")


def _pair_of(record: Mapping[str, Any]) -> PromptPair:
    return _PAIRS.get(record["source"], _OF_OTHER_SOURCES)


def _loader(name: str, kind: str) -> Loader:
    return Loader(
        name=name,
        summary=f"a question, to the page that answers it ({kind.lower()})",
        open=PageTable(("query", "source"), _pair_of),
        options={"file": "data/train-*.parquet"},
        homepage=f"https://huggingface.co/datasets/openbmb/VisRAG-Ret-Train-{kind}-data",
    )


LOADERS = (_loader("visrag-in-domain", "In-domain"), _loader("visrag-synthetic", "Synthetic"))
