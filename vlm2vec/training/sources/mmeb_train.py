"""MMEB-train: 20 sets of pairs of texts and pictures, the image part of the papers' training data.

A folder per subset with one Parquet file per split, and the unpacked archives under `images/`. Texts carry
their instruction and the picture's place already; they are used to the letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vec.arguments import did_you_mean
from vlm2vec.encoding.prompt import IMAGE_TOKEN
from vlm2vec.errors import InputError
from vlm2vec.training.sources.lazy_rows import LazyRows
from vlm2vec.training.sources.loader import Loader
from vlm2vec.training.sources.table import open_table

__all__ = ["LOADERS", "SPLITS", "SUBSETS"]

SUBSETS = {
    "classification": ("ImageNet_1K", "N24News", "HatefulMemes", "VOC2007", "SUN397"),
    "question answering": ("OK-VQA", "A-OKVQA", "DocVQA", "InfographicsVQA", "ChartQA", "Visual7W"),
    "retrieval": (
        "VisDial",
        "CIRR",
        "VisualNews_t2i",
        "VisualNews_i2t",
        "MSCOCO_t2i",
        "MSCOCO_i2t",
        "NIGHTS",
        "WebQA",
    ),
    "grounding": ("MSCOCO",),
}
"""The subsets by the kind of task they train."""

SPLITS = ("original", "diverse_instruction")
"""`original` has one instruction per subset, `diverse_instruction` many wordings of it."""

_TOKEN = "<|image_1|>"  # noqa: S105  (how the files mark a picture, whatever the model: Phi-3.5-V's way)


@dataclass(frozen=True)
class _ToRow:
    """Makes a row of a record; paths of pictures are relative to `folder`."""

    folder: Path

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = {
            "query": self._side(record["qry"], record["qry_image_path"]),
            "document": self._side(record["pos_text"], record["pos_image_path"]),
        }
        negative = self._side(record.get("neg_text"), record.get("neg_image_path"))
        return row if negative is None else {**row, "negatives": [negative]}

    def _side(self, text: str | None, picture: str | None) -> dict[str, Any] | None:
        if (
            not text and not picture
        ):  # some of OK-VQA and A-OKVQA; the original drops such rows without a word
            return None
        side: dict[str, Any] = {"prompt": (text or "").replace(_TOKEN, IMAGE_TOKEN)}
        return {**side, "images": [self.folder / picture]} if picture else side


def _open(root: Path, options: Mapping[str, str], limit: int | None) -> LazyRows[dict[str, Any]]:
    subset, split = options["subset"], options["split"]
    for what, value, known in (
        ("subset", subset, [name for names in SUBSETS.values() for name in names]),
        ("split", split, SPLITS),
    ):
        if value not in known:
            fix = did_you_mean(value, known, otherwise=f"There are {', '.join(known)}.")
            raise InputError(f'MMEB-train has no {what} "{value}"', fix=fix)
    table = open_table(
        root,
        f"{subset}/{split}-*.parquet",
        columns=("qry", "qry_image_path", "pos_text", "pos_image_path"),
        optional=("neg_text", "neg_image_path"),
        limit=limit,
    )
    return LazyRows(table, _ToRow(root / options["media"]))


LOADERS = (
    Loader(
        name="mmeb-train",
        summary="one of the 20 subsets of MMEB-train",
        open=_open,
        options={"subset": None, "split": "original", "media": "."},
        homepage="https://huggingface.co/datasets/TIGER-Lab/MMEB-train",
    ),
)
