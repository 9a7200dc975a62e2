"""What a saved folder carries so that stock transformers and sentence-transformers read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlm2vec.backbones.layout import Layout
from vlm2vec.backbones.registry import LAYOUTS
from vlm2vec.backbones.stock.layout import StockLayout
from vlm2vec.media.tiles import Tiling
from vlm2vec.profiles import Profile

__all__ = ["opens_in_sentence_transformers", "what_plain_code_lacks", "write_processor_files"]


def write_processor_files(
    folder: Path, profile: Profile, layout: Layout, *, tiling: Tiling | None = None
) -> None:
    """Write the stock processor's settings for this profile: pixel budget, means, class names.

    Args:
        folder: Of the model.
        profile: Of the model.
        layout: Of its network.
        tiling: How its pictures are cut into tiles, if they are.
    """
    files = _patch_files(profile, layout) if tiling is None else _tile_files(layout, tiling)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _tile_files(layout: Layout, tiling: Tiling) -> dict[str, dict[str, Any]]:
    """What stock processors of pictures in tiles read, by file."""
    assert isinstance(layout, StockLayout)  # noqa: S101  # no other has tiles
    files = {name: {**said, "processor_class": layout.processor} for name, said in layout.processor_files}
    pixels = {"image_mean": list(layout.mean), "image_std": list(layout.std), "do_convert_rgb": True}
    grids = {"image_grid_pinpoints": [list(grid) for grid in tiling.grids]} if tiling.grids else {}
    files["preprocessor_config.json"] |= pixels | grids | {"image_processor_type": layout.image_processor}
    return files


def _patch_files(profile: Profile, layout: Layout) -> dict[str, dict[str, Any]]:
    """What stock processors of pictures in patches read, by file."""
    rules, frames = profile.pixels, profile.pixels.frames
    budget = {"shortest_edge": rules.min_pixels, "longest_edge": rules.max_pixels}
    of_clips = budget
    if frames is not None:
        # Stock processors count the pixels of a clip, not of a frame.
        of_clips = {
            "shortest_edge": frames.min_pixels,
            "longest_edge": frames.total_pixels or frames.max_pixels,
        }
    settings = {
        "image_mean": list(layout.mean),
        "image_std": list(layout.std),
        "patch_size": rules.patch_size,
        "merge_size": rules.merge_size,
        "temporal_patch_size": rules.temporal_patch_size,
    }
    return {
        "preprocessor_config.json": {
            **settings,
            "size": budget,
            "image_processor_type": layout.image_processor,
            "processor_class": layout.processor,
        },
        "video_preprocessor_config.json": {
            **settings,
            "size": of_clips,
            "video_processor_type": layout.video_processor,
            "processor_class": layout.processor,
        },
    }


def opens_in_sentence_transformers(profile: Profile) -> bool:
    """Whether plain sentence-transformers can load a saved folder at all."""
    layout = LAYOUTS.get(profile.network)
    return not isinstance(layout, StockLayout) or layout.model_class.startswith("transformers.")


def what_plain_code_lacks(profile: Profile) -> list[str]:
    """What plain sentence-transformers needs for a saved folder, does with it, and cannot, in sentences.

    Args:
        profile: Of the model.
    """
    if not opens_in_sentence_transformers(profile):
        return ["Plain `SentenceTransformer` cannot open it: transformers has no such network."]
    said = [
        "Plain `SentenceTransformer` opens the folder too. It takes texts, pictures and messages, but "
        "no pages of PDFs and no `Path`."
    ]
    layout = LAYOUTS.get(profile.network)
    if layout is not None and layout.video_processor is not None:
        said.append(
            "It loads transformers' processor, even for texts alone: that needs torchvision, of the build "
            "that torch is: `pip install torchvision`. `vlm2vec` needs none."
        )
    differences = _differences(profile)
    said += [f"{difference} Use `vlm2vec.VLM2Vec` for those." for difference in differences]
    if not differences:
        said.append("Vectors are the same there as with `vlm2vec`.")
    return said


def _differences(profile: Profile) -> list[str]:
    """What plain sentence-transformers cannot express, in sentences."""
    found = []
    layout = LAYOUTS.get(profile.network)
    stock = layout if isinstance(layout, StockLayout) else None
    if stock is not None and profile.pixels.fixed_size is not None:
        found.append(
            "Its images are squeezed to one size first, which plain `SentenceTransformer` does not do: "
            "vectors of texts are the same there, vectors of images, videos and pages are not."
        )
    elif profile.positions == "1d" and stock is None:
        found.append(
            "Its media tokens have 1-D positions, which plain `SentenceTransformer` cannot express: vectors "
            "of texts are the same there, vectors of images, videos and pages are not."
        )
    elif profile.clip != "block" or profile.pixels.frames is not None or profile.positions != "mrope":
        found.append(
            "Its videos are sampled, resized or written in a way that plain `SentenceTransformer` does not "
            "know: vectors of texts, images and pages are the same there, vectors of videos are not."
        )
    if profile.query_suffix is not None:
        found.append(
            "Its queries end in tokens of their own, which plain `SentenceTransformer` does not write: "
            "vectors of `encode_query` are not the same there."
        )
    return found
