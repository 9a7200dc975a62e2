"""Training rows drawn from the world: retrieval, classification, questions, grounding, moments, pages.

Example:
    >>> from embedded_model.world_sources import world_sources
    >>> [source.name for source in world_sources(size=10)][:3]
    ['text-to-image', 'image-to-text', 'text-to-clip']
"""

from __future__ import annotations

from embedded_model.world_sources.rows import WorldRows
from embedded_model.world_sources.sources import TASKS, WorldTask, world_sources
from embedded_model.world_sources.texts import world_texts

__all__ = ["TASKS", "WorldRows", "WorldTask", "world_sources", "world_texts"]
