"""Rows of every layout go through a model: their prompts and media fit together."""

from __future__ import annotations

from pathlib import Path

import layout_making as making
import numpy as np

from vlm2vec import VLM2Vec
from vlm2vec.training.data.mixture import Mixture

FILE = """
defaults: {num_frames: 4}
sources:
  image: {loader: mmeb-train, subset: CIRR}
  page-qa: {loader: colpali-train, root: colpali}
  page: {loader: visrag-in-domain, root: visrag}
  caption: {loader: llava-hound-video-to-caption, root: video}
  clip: {loader: llava-hound-caption-to-video, root: video}
"""


def test_both_sides_of_every_source_can_be_embedded(tmp_path: Path, embedded: VLM2Vec) -> None:
    pair = (
        "<|image_1|>\nMake it red.\n",
        "images/CIRR/a.jpg",
        "<|image_1|>\nRepresent it.\n",
        "images/CIRR/b.jpg",
    )
    making.mmeb_train(tmp_path, "CIRR", "original", [pair])
    making.pages(tmp_path / "colpali", {"query": ["What?"], "answer": ["This."]})
    making.pages(tmp_path / "visrag", {"query": ["What?"], "source": ["PlotQA"]})
    clip = ("v_1", "<video>\nDescribe it.", "A red square.")
    making.llava_hound(tmp_path / "video", "video_caption_300k.jsonl", [clip])
    (tmp_path / "mix.yaml").write_text(FILE, encoding="utf-8")
    mixture = Mixture.from_yaml(tmp_path / "mix.yaml").checked(open_files=True)
    rows = [mixture[source, 0] for source in range(len(mixture.names))]
    for side in ("query", "document"):
        vectors = embedded.encode([row[side] for row in rows])
        assert np.isfinite(vectors).all()
        assert len(np.unique(vectors.round(4), axis=0)) == len(rows)
