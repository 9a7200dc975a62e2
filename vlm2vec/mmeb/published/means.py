"""`published_means`: averages that were published for a model, or that follow from its published scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vlm2vec.errors import InputError
from vlm2vec.mmeb.averages import summarize
from vlm2vec.mmeb.published.reported import SOURCE, reported, reported_name
from vlm2vec.mmeb.published.scores import model_name, published

__all__ = ["PublishedMeans", "known_as", "published_means"]


@dataclass(frozen=True)
class PublishedMeans:
    """Averages of one model over the tasks of MMEB-V2.

    Attributes:
        name: Of the model.
        means: Average, as `summarize` names it, -> percentage.
        source: Where the numbers come from.
    """

    name: str
    means: Mapping[str, float]
    source: str


def known_as(name: str) -> str | None:
    """What a model is called among published numbers, or `None` where there are none of it.

    Args:
        name: As `published_means` takes it.

    Example:
        >>> known_as("VLM2Vec/VLM2Vec-V2.0"), known_as("Qwen/Qwen3-VL-Embedding-8B"), known_as("mine")
        ('VLM2Vec-V2.0', 'Qwen3-VL-Embedding-8B', None)
    """
    if (found := reported_name(name)) is not None:
        return found
    try:
        return model_name(name)
    except InputError:
        return None


def published_means(name: str) -> PublishedMeans:
    """Averages that were published for a model.

    Of models whose scores of single tasks were published, they follow from the newest of those. Of others the
    averages are all there is, and some of these models have no public weights.

    Args:
        name: Of the model: readable, or of its repository on the hub with or without its owner.

    Raises:
        InputError: Nothing was published for it.

    Example:
        >>> published_means("Qwen/Qwen3-VL-Embedding-2B").means["overall"]
        73.2
        >>> round(published_means("VLM2Vec-V2.0").means["overall"], 2)
        59.07
    """
    if (found := reported_name(name)) is not None:
        return PublishedMeans(found, MappingProxyType(reported()[found]), SOURCE)
    scores = published(name)
    return PublishedMeans(scores.name, MappingProxyType(summarize(scores.scores)), scores.source)
