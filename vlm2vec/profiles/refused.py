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


_OTHER_NETWORK = "this is a checkpoint on {}, and this version has no such network"
_NAME_A_PROFILE = (
    "Load a folder of it with a Profile of your own that has its prompt (docs/add_a_family.md), or use one "
    "of the repositories that vlm2vec.profiles.models() lists."
)
_FIRST_LLAVA = (
    "{} is on LLaVA-OneVision in the layout of the first LLaVA (`model.mm_projector`), whose weights are not "
    "renamed here, and {}"
)
_USE_ANOTHER = "Use one of the repositories that vlm2vec.profiles.models() lists."
_LATE = (
    "Load it with MultiVectorEncoder of sentence-transformers, which mmeb.evaluate takes; "
    "`vlm2vec mmeb run --multi-vector` does."
)
_MANY_VECTORS = "this model gives a vector for each token, and this package one for each input"
_NO_WEIGHTS = "no weights of this model were published"

REFUSALS = (
    Refusal(
        ("DeepGlint-AI/UniME-LLaVA-1.6-7B", "DeepGlint-AI/UniME-Phi3.5-V-4.2B"),
        "its published scores were made with another prompt than the one of its card, and neither is a "
        "profile here",
        _NAME_A_PROFILE,
    ),
    Refusal(
        ("BGE-VL", "BAAI/BGE-VL-MLLM-*", "BAAI/BGE-VL-v1.5-*"),
        "BGE-VL is LLaVA-NeXT with code of its own, whose prompts (`<instruct>`, `<query>`) and pictures of "
        "512 x 512 pixels are no profile here",
        _NAME_A_PROFILE,
    ),
    Refusal(
        ("CAFe", "interestFM-UIR-CAFe-7B", "*/*CAFe-7B"),
        _FIRST_LLAVA.format("CAFe", "no public weights of it are known"),
        _USE_ANOTHER,
    ),
    Refusal(
        ("LLaVE", "zhibinlan/LLaVE-*"),
        _FIRST_LLAVA.format("LLaVE", "its prompt is no profile"),
        "Convert it with transformers' script for LLaVA-OneVision, and load that with a Profile that has its "
        "prompt. " + _USE_ANOTHER,
    ),
    Refusal(
        ("mmE5", "intfloat/mmE5-mllama-11b-instruct"),
        "mmE5 is on Llama-3.2-Vision, which looks at pictures by cross-attention: it has no image features "
        "that stand among the tokens, and a forward for that is missing here",
        "Load it with sentence-transformers, for which its repository has files. " + _USE_ANOTHER,
    ),
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
