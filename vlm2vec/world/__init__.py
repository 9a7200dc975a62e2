"""A drawn world with known truth: scenes of coloured shapes, the same shapes moving, typeset pages.

Everything follows from seeds, and nothing here needs torch.
"""

from __future__ import annotations

from vlm2vec.world.captions import describe, full_caption
from vlm2vec.world.clips import Clip, draw_clip, render_clip, write_clip
from vlm2vec.world.items import Item, draw_item
from vlm2vec.world.pages import Page, draw_page, render_pages, write_pages
from vlm2vec.world.samples import Sample, write_samples
from vlm2vec.world.scenes import Scene, draw_scene, render_scene
from vlm2vec.world.twins import twin

__all__ = [
    "Scene",
    "draw_scene",
    "render_scene",
    "Clip",
    "draw_clip",
    "render_clip",
    "write_clip",
    "Page",
    "draw_page",
    "render_pages",
    "write_pages",
    "Item",
    "draw_item",
    "twin",
    "describe",
    "full_caption",
    "Sample",
    "write_samples",
]
