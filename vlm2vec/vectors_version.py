"""`VECTORS_VERSION`: which vectors of this package can be compared with those that were stored before."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vlm2vec.arguments import did_you_mean
from vlm2vec.errors import InputError

__all__ = ["VECTORS_VERSION", "versions_of"]

VECTORS_VERSION: Mapping[str, int] = MappingProxyType(
    {
        # networks, by their model_type
        "qwen2_vl": 1,
        "qwen2_5_vl": 1,
        "qwen3_vl": 1,
        "llava_next": 1,
        "phi3_v": 1,
        "llava_onevision": 1,
        "qwen3_5": 1,
        # readers, by the kind of what they read
        "text": 1,
        "image": 1,
        "video": 1,
        "pdf": 1,
    }
)
"""A whole number for each network and each reader.

It is raised with each entry of CHANGELOG.md after 0.2.0 that says *embeddings change*, for the network or
the readers that the entry is about: vectors that were stored under another number have to be computed again.
`tests/test_vectors_version.py` compares with vectors stored under each number, and fails where one should
have been raised.
"""


def versions_of(network: str) -> dict[str, int]:
    """The numbers that vectors of a network depend on: its own, and those of all readers.

    Args:
        network: Its `model_type`, as the checkpoint's `config.json` has it.

    Raises:
        InputError: There is no such network.

    Example:
        >>> sorted(versions_of("qwen2_vl"))
        ['image', 'pdf', 'qwen2_vl', 'text', 'video']
    """
    readers = ("text", "image", "video", "pdf")
    networks = [name for name in VECTORS_VERSION if name not in readers]
    if network not in networks:
        fix = did_you_mean(network, networks, otherwise=f"There are {', '.join(networks)}.")
        raise InputError(f"there is no network {network!r}", fix=fix)
    return {name: VECTORS_VERSION[name] for name in (network, *readers)}
