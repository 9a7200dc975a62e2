"""What the embedded model learns from: a source for each task, with its weight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from embedded_model.world_sources.rows import Draw, WorldRows
from vlm2vec import profiles
from vlm2vec.training.sources.source import TrainingSource
from vlm2vec.world.tasks.classification import classify_clip, classify_image
from vlm2vec.world.tasks.grounding import find_part
from vlm2vec.world.tasks.moments import find_moment
from vlm2vec.world.tasks.page_questions import find_page
from vlm2vec.world.tasks.questions import (
    question_about_clip,
    question_about_page,
    question_about_scene,
)
from vlm2vec.world.tasks.retrieval import item_to_text, text_to_item

__all__ = ["TASKS", "WorldTask", "world_sources"]


@dataclass(frozen=True)
class WorldTask:
    """One kind of row.

    Attributes:
        name: Of its source.
        draw: Makes a row.
        weight: How often it is drawn from, relative to the others.
    """

    name: str
    draw: Draw
    weight: float


# A picture as a document and texts as queries, though the picture is what looks: captions that nearly fit are
# hard negatives of it then, where those of a query would each be a picture, and cost as much.
_PROFILE = profiles.get("vlm2vec-embedded")
_EXCHANGED = {
    "query_instruction": _PROFILE.document_instruction or "",
    "document_instruction": _PROFILE.query_instruction or "",
}

TASKS = (
    WorldTask("text-to-image", partial(text_to_item, "scene"), 4.0),
    WorldTask("image-to-text", partial(item_to_text, "scene"), 2.5),
    WorldTask("text-to-clip", partial(text_to_item, "clip"), 1.0),
    WorldTask("clip-to-text", partial(item_to_text, "clip"), 1.0),
    WorldTask("text-to-page", partial(text_to_item, "page"), 1.5),
    WorldTask("page-to-text", partial(item_to_text, "page"), 1.5),
    WorldTask("image-classification", classify_image, 1.5),
    WorldTask("clip-classification", classify_clip, 0.7),
    WorldTask("image-questions", question_about_scene, 3.0),
    WorldTask("clip-questions", question_about_clip, 0.7),
    WorldTask("page-questions", question_about_page, 1.5),
    WorldTask("grounding", find_part, 0.5),
    WorldTask("moments", find_moment, 0.5),
    WorldTask("question-to-page", find_page, 0.5),
    WorldTask("image-to-query-text", partial(item_to_text, "scene", instructions=_EXCHANGED), 3.0),
)
"""All tasks. Retrieval weighs most: it is what the others build on."""


def world_sources(seed: int = 0, *, size: int = 100_000) -> list[TrainingSource]:
    """A source of rows for each task, drawn when they are asked for.

    Args:
        seed: Of all rows. Whatever it is, held-out draws have others.
        size: Rows of each source.

    Example:
        >>> sources = world_sources(size=1000)
        >>> row = sources[0][7]
        >>> sorted(row)[:2], row["document"].size in {(112, 112), (448, 448)}
        (['document', ...], True)
    """
    # Training has even seeds, held-out draws have odd ones.
    return [
        TrainingSource(task.name, WorldRows(task.draw, (2 * seed, number), size), weight=task.weight)
        for number, task in enumerate(TASKS)
    ]
