"""Checkpoint profiles: what differs between families is data, not branches.

Example:
    >>> from vlm2vec import profiles
    >>> "vlm2vec-v2" in profiles.names()
    True
    >>> profiles.get("vlm2vec-v2").positions
    '1d'
    >>> [known.model.repository for known in profiles.models() if known.checked == "original"]
    ['VLM2Vec/VLM2Vec-V2.0', 'Qwen/Qwen3-VL-Embedding-2B', 'Qwen/Qwen3-VL-Embedding-8B',
     'nomic-ai/nomic-embed-multimodal-3b', 'nomic-ai/nomic-embed-multimodal-7b',
     'TIGER-Lab/VLM2Vec-LLaVa-Next', 'TIGER-Lab/VLM2Vec-Full', 'TIGER-Lab/VLM2Vec-LoRA']
"""

from __future__ import annotations

from pathlib import Path

from vlm2vec.arguments import close_match, did_you_mean
from vlm2vec.errors import CheckpointError, ProfileError
from vlm2vec.profiles import (
    e5_v,
    embedded,
    gme_qwen2vl,
    lamra_ret,
    lamra_ret_qwen2_5_vl,
    nomic_multimodal,
    ops_mm_v1,
    qwen3_vl_embedding,
    rzenembed,
    ume_r1,
    unime_v2_llava_onevision,
    unime_v2_qwen2vl,
    vlm2vec_v1_llava_next,
    vlm2vec_v1_phi3v,
    vlm2vec_v1_qwen2vl,
    vlm2vec_v2,
    vlm2vec_v2_qwen2_5_vl,
    wemm,
)
from vlm2vec.profiles.profile import PROFILE_FILE, Profile
from vlm2vec.profiles.published import Checked, KnownModel, PublishedModel
from vlm2vec.profiles.refused import refusal_of

__all__ = [
    "Checked",
    "KnownModel",
    "Profile",
    "PROFILE_FILE",
    "PublishedModel",
    "checked",
    "get",
    "models",
    "names",
    "of_folder",
    "of_repository",
    "repository_like",
]

# In the order in which tables show them.
_FAMILIES = (
    vlm2vec_v2,
    vlm2vec_v1_qwen2vl,
    qwen3_vl_embedding,
    gme_qwen2vl,
    ops_mm_v1,
    rzenembed,
    ume_r1,
    unime_v2_qwen2vl,
    lamra_ret,
    lamra_ret_qwen2_5_vl,
    nomic_multimodal,
    vlm2vec_v2_qwen2_5_vl,
    vlm2vec_v1_llava_next,
    vlm2vec_v1_phi3v,
    e5_v,
    unime_v2_llava_onevision,
    wemm,
    embedded,
)

_PROFILES: dict[str, Profile] = {family.PROFILE.name: family.PROFILE for family in _FAMILIES}
_CHECKED: dict[str, Checked] = {family.PROFILE.name: family.CHECKED for family in _FAMILIES}
_MODELS: dict[str, KnownModel] = {
    model.repository: KnownModel(model, family.PROFILE, family.CHECKED)
    for family in _FAMILIES
    for model in family.MODELS
}


def names() -> list[str]:
    """The profiles that `VLM2Vec(path, profile=...)` knows, sorted."""
    return sorted(_PROFILES)


def get(name: str) -> Profile:
    """The profile of that name.

    Raises:
        ProfileError: There is none of that name.
    """
    if name in _PROFILES:
        return _PROFILES[name]
    if name in _MODELS:
        raise ProfileError(
            f"{name} is a repository, and follows the profile {_MODELS[name].profile.name}",
            fix="Pass the name of the profile.",
        )
    if refusal := refusal_of(name):
        raise ProfileError(f"there is no profile {name!r}: {refusal.cause}", fix=refusal.fix)
    raise ProfileError(
        f"there is no profile {name!r}",
        fix=did_you_mean(name, names(), otherwise=f"Choose one of {', '.join(names())}."),
    )


def checked(name: str) -> Checked:
    """What the vectors of a profile were compared with: see `Checked`.

    Raises:
        ProfileError: There is none of that name.

    Example:
        >>> checked("ume-r1")
        'no'
    """
    return _CHECKED[get(name).name]


def models() -> list[KnownModel]:
    """The published checkpoints that `VLM2Vec(repository)` loads without being told a profile."""
    return list(_MODELS.values())


def of_repository(repository: str) -> Profile | None:
    """The profile of a published repository on the hub, or `None` if it is not a known one.

    Raises:
        CheckpointError: It is known, and this version cannot load it.
    """
    if refusal := refusal_of(repository):
        raise CheckpointError(refusal.cause, fix=refusal.fix, source=repository)
    known = _MODELS.get(repository)
    return None if known is None else known.profile


def repository_like(name: str) -> str | None:
    """The repository of a known model that somebody may have meant, or `None`.

    Example:
        >>> repository_like("qwen3-vl-embedding-2b")
        'Qwen/Qwen3-VL-Embedding-2B'
        >>> repository_like("my-own") is None
        True
    """
    lower = {repository.lower(): repository for repository in _MODELS}
    ends = {repository.rpartition("/")[2]: known for repository, known in lower.items()}
    close = close_match(name.lower(), [*lower, *ends], cutoff=0.85)
    return None if close is None else lower.get(close) or ends[close]


def of_folder(folder: Path) -> Profile | None:
    """The profile of a local copy of a published repository, or `None` if its name is not that of one.

    Example:
        >>> of_folder(Path("models/Qwen3-VL-Embedding-2B")).name
        'qwen3-vl-embedding'
        >>> of_folder(Path("hub/models--Qwen--Qwen3-VL-Embedding-2B/snapshots/9f2e")).name
        'qwen3-vl-embedding'
        >>> of_folder(Path("models/my-own")) is None
        True
    """
    # The cache of huggingface_hub has the name of the repository two levels above the files.
    cached = folder.parent.parent.name if folder.parent.name == "snapshots" else ""
    for repository, known in _MODELS.items():
        if cached == f"models--{repository.replace('/', '--')}" or folder.name == repository.split("/")[1]:
            return known.profile
    return None
