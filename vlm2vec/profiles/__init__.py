"""Checkpoint profiles: what differs between families is data, not branches.

Example:
    >>> from vlm2vec import profiles
    >>> profiles.names()
    ['gme-qwen2vl', 'lamra-ret', 'ops-mm-v1', 'rzenembed', 'vlm2vec-embedded', 'vlm2vec-v1-qwen2vl',
     'vlm2vec-v2']
    >>> profiles.get("vlm2vec-v2").positions
    '1d'
"""

from __future__ import annotations

from vlm2vec.errors import CheckpointError, ProfileError
from vlm2vec.profiles import (
    embedded,
    gme_qwen2vl,
    lamra_ret,
    ops_mm_v1,
    rzenembed,
    vlm2vec_v1_qwen2vl,
    vlm2vec_v2,
)
from vlm2vec.profiles.profile import PROFILE_FILE, Profile

__all__ = ["Profile", "PROFILE_FILE", "get", "names", "of_repository"]

_PROFILES: dict[str, Profile] = {
    module.PROFILE.name: module.PROFILE
    for module in (
        embedded,
        gme_qwen2vl,
        lamra_ret,
        ops_mm_v1,
        rzenembed,
        vlm2vec_v1_qwen2vl,
        vlm2vec_v2,
    )
}

# Published repositories, which carry no profile of their own.
_REPOSITORIES = {
    "VLM2Vec/VLM2Vec-V2.0": "vlm2vec-v2",
    "TIGER-Lab/VLM2Vec-Qwen2VL-2B": "vlm2vec-v1-qwen2vl",
    "TIGER-Lab/VLM2Vec-Qwen2VL-7B": "vlm2vec-v1-qwen2vl",
    "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct": "gme-qwen2vl",
    "Alibaba-NLP/gme-Qwen2-VL-7B-Instruct": "gme-qwen2vl",
    "code-kunkun/LamRA-Ret": "lamra-ret",
    "OpenSearch-AI/Ops-MM-embedding-v1-2B": "ops-mm-v1",
    "OpenSearch-AI/Ops-MM-embedding-v1-7B": "ops-mm-v1",
    "qihoo360/RzenEmbed": "rzenembed",
}

# Repositories that one might expect to load here, and what they are built on.
_ON_OTHER_NETWORKS = {
    "TIGER-Lab/VLM2Vec-LLaVa-Next": "LLaVA-NeXT",
    "TIGER-Lab/VLM2Vec-Full": "Phi-3.5-V",
    "TIGER-Lab/VLM2Vec-LoRA": "Phi-3.5-V",
    "code-kunkun/LamRA-Ret-Qwen2.5VL-7b": "Qwen2.5-VL",
    **{f"vidore/colpali{version}": "PaliGemma" for version in ("", "-v1.1", "-v1.2", "-v1.3")},
    **{f"vidore/colpali{version}-hf": "PaliGemma" for version in ("-v1.2", "-v1.3")},
}


def names() -> list[str]:
    """The profiles that `VLM2Vec(path, profile=...)` knows, sorted."""
    return sorted(_PROFILES)


def get(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ProfileError: There is none of that name.
    """
    if name not in _PROFILES:
        raise ProfileError(f"there is no profile {name!r}", fix=f"Choose one of {', '.join(names())}.")
    return _PROFILES[name]


def of_repository(repository: str) -> Profile | None:
    """The profile of a published repository on the hub, or `None` if it is not a known one.

    Raises:
        CheckpointError: It is known, and built on a network that this version does not load.
    """
    if network := _ON_OTHER_NETWORKS.get(repository):
        late = network == "PaliGemma"
        raise CheckpointError(
            f"this is a checkpoint on {network}, and this version loads those on Qwen2-VL",
            fix="Load it with MultiVectorEncoder of sentence-transformers, which mmeb.evaluate takes; "
            "`vlm2vec mmeb run --multi-vector` does."
            if late
            else "Use one of the repositories on Qwen2-VL.",
            source=repository,
        )
    name = _REPOSITORIES.get(repository)
    return None if name is None else get(name)
