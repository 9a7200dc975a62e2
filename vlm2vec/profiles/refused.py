"""Published models that one might expect to load here, and why they do not."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = ["REFUSALS", "Refusal", "refusal_of"]


@dataclass(frozen=True)
class Refusal:
    """Why the repositories of these names are not loaded.

    Attributes:
        names: Patterns of repositories, or of a profile that there is none of, without regard to case.
        cause: What is wrong.
        fix: What to do instead.
    """

    names: tuple[str, ...]
    cause: str
    fix: str


_OTHER_NETWORK = (
    "this is a checkpoint on {}, and this version loads those on Qwen2-VL, Qwen2.5-VL and Qwen3-VL"
)
_USE_ANOTHER = "Use one of the repositories that vlm2vec.profiles.models() lists."
_LATE = (
    "Load it with MultiVectorEncoder of sentence-transformers, which mmeb.evaluate takes; "
    "`vlm2vec mmeb run --multi-vector` does."
)
_MANY_VECTORS = "this model gives a vector for each token, and this package one for each input"
_NO_WEIGHTS = "no weights of this model were published"

REFUSALS = (
    Refusal(("TIGER-Lab/VLM2Vec-LLaVa-Next",), _OTHER_NETWORK.format("LLaVA-NeXT"), _USE_ANOTHER),
    Refusal(
        ("TIGER-Lab/VLM2Vec-Full", "TIGER-Lab/VLM2Vec-LoRA", "DeepGlint-AI/UniME-Phi3.5-V-4.2B"),
        _OTHER_NETWORK.format("Phi-3.5-V"),
        _USE_ANOTHER,
    ),
    Refusal(
        ("DeepGlint-AI/UniME-LLaVA-1.6-7B", "BAAI/BGE-VL-MLLM-*", "BAAI/BGE-VL-v1.5-*", "royokong/e5-v"),
        _OTHER_NETWORK.format("LLaVA-NeXT"),
        _USE_ANOTHER,
    ),
    Refusal(
        ("TianchengGu/UniME-V2-LLaVA-OneVision-8B",), _OTHER_NETWORK.format("LLaVA-OneVision"), _USE_ANOTHER
    ),
    Refusal(("zhibinlan/LLaVE-*",), _OTHER_NETWORK.format("LLaVA"), _USE_ANOTHER),
    Refusal(("intfloat/mmE5-mllama-11b-instruct",), _OTHER_NETWORK.format("Llama-3.2-Vision"), _USE_ANOTHER),
    Refusal(("tencent/WeMM-Embedding-*",), _OTHER_NETWORK.format("Qwen3.5"), _USE_ANOTHER),
    Refusal(("vidore/colpali*",), _OTHER_NETWORK.format("PaliGemma"), _LATE),
    Refusal(("vidore/colqwen*", "nomic-ai/colnomic-*"), _MANY_VECTORS, _LATE),
    Refusal(
        ("jinaai/jina-embeddings-v4",),
        "this model is three adapters, one for each task, and the mean of all states of an input or a vector "
        "for each token; this package loads one adapter and takes the state of the last token",
        "Load it with its own code and give mmeb.evaluate a function. " + _USE_ANOTHER,
    ),
    Refusal(
        ("ume-r1-generative",),
        "the generative mode of UME-R1 writes a text, of up to thousands of tokens, before it embeds it, and "
        "this package computes vectors in one pass",
        'Use its discriminative mode, VLM2Vec("zhibinlan/UME-R1-2B"), or run its own code and give '
        "mmeb.evaluate a function.",
    ),
    Refusal(("IFM-TTE*", "*/IFM-TTE*"), _NO_WEIGHTS, _USE_ANOTHER),
    Refusal(("seed-*embedding*", "*/seed-*embedding*"), _NO_WEIGHTS, _USE_ANOTHER),
)


def refusal_of(repository: str) -> Refusal | None:
    """Why a repository is not loaded, or `None` if nothing is known against it.

    Example:
        >>> refusal_of("vidore/colqwen2-v1.0").cause
        'this model gives a vector for each token, and this package one for each input'
        >>> refusal_of("VLM2Vec/VLM2Vec-V2.0") is None
        True
    """
    name = repository.lower()
    return next(
        (
            refusal
            for refusal in REFUSALS
            if any(fnmatchcase(name, pattern.lower()) for pattern in refusal.names)
        ),
        None,
    )
