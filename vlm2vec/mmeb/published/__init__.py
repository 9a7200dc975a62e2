"""Scores that were published for MMEB-V2: the paper's Table 6 and the public score files, by version.

Of some models averages alone were published: `published_means` has those as well.

Example:
    >>> from vlm2vec.mmeb.published import published
    >>> published("VLM2Vec-V2.0").scores["ViDoSeek-page"]
    80.2972
    >>> published("VLM2Vec-V2.0", "table6").scores["ViDoSeek-page"]
    21.9
"""

from __future__ import annotations

from vlm2vec.mmeb.published.disagreement import Disagreement, disagreements
from vlm2vec.mmeb.published.means import PublishedMeans, published_means
from vlm2vec.mmeb.published.reported import reported_names
from vlm2vec.mmeb.published.scores import PublishedScores, Version, published, published_names, version_names

__all__ = [
    "published",
    "published_names",
    "published_means",
    "reported_names",
    "version_names",
    "PublishedMeans",
    "PublishedScores",
    "Version",
    "disagreements",
    "Disagreement",
]
