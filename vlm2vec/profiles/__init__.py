"""Checkpoint profiles: what differs between families is data, not branches.

Example:
    >>> from vlm2vec import profiles
    >>> profiles.names()
    ['vlm2vec-embedded', 'vlm2vec-v1-qwen2vl', 'vlm2vec-v2']
    >>> profiles.get("vlm2vec-v2").positions
    '1d'
"""

from __future__ import annotations

from vlm2vec.errors import ProfileError
from vlm2vec.profiles import embedded, vlm2vec_v1_qwen2vl, vlm2vec_v2
from vlm2vec.profiles.profile import PROFILE_FILE, Profile

__all__ = ["Profile", "PROFILE_FILE", "get", "names", "of_repository"]

_PROFILES: dict[str, Profile] = {
    module.PROFILE.name: module.PROFILE for module in (embedded, vlm2vec_v1_qwen2vl, vlm2vec_v2)
}

# Published repositories, which carry no profile of their own.
_REPOSITORIES = {
    "VLM2Vec/VLM2Vec-V2.0": "vlm2vec-v2",
    "TIGER-Lab/VLM2Vec-Qwen2VL-2B": "vlm2vec-v1-qwen2vl",
    "TIGER-Lab/VLM2Vec-Qwen2VL-7B": "vlm2vec-v1-qwen2vl",
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
    """The profile of a published repository on the hub, or `None` if it is not a known one."""
    name = _REPOSITORIES.get(repository)
    return None if name is None else get(name)
