"""Small data in the public layouts of the papers' sources, with pictures drawn by PIL."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import PIL.Image

MMEB_COLUMNS = ("qry", "qry_image_path", "pos_text", "pos_image_path", "neg_text", "neg_image_path")


def picture(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (40, 32), colour).save(path)
    return path


def mmeb_train(root: Path, subset: str, split: str, records: list[tuple[str | None, ...]]) -> None:
    """`records` are columns in order; the last two may be left out. Each picture that is named is drawn."""
    columns = MMEB_COLUMNS[: len(records[0])]
    table = datasets.Dataset.from_dict(
        {name: [record[i] for record in records] for i, name in enumerate(columns)},
        features=datasets.Features({name: datasets.Value("string") for name in columns}),
    )
    (root / subset).mkdir(parents=True, exist_ok=True)
    table.to_parquet(root / subset / f"{split}-00000-of-00001.parquet")
    for record in records:
        for i, name in enumerate(columns):
            if name.endswith("image_path") and record[i]:
                picture(root / record[i])


def llava_hound(root: Path, file: str, records: list[tuple[str, str, str]], *, frames: int = 10) -> None:
    """`records` are (video, human turn, answer)."""
    path = root / "video_instruction" / "train" / "sft" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for video, human, answer in records:
        turns = [{"from": "human", "value": human}, {"from": "gpt", "value": answer}]
        lines.append(json.dumps({"id": video, "video": video, "conversations": turns}))
        for i in range(frames):
            picture(root / "train_300k" / video / f"c01_{i + 1:04d}.jpeg")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def pages(root: Path, columns: dict[str, list[Any]], *, shards: int = 1) -> None:
    """A table with a picture in each row, in files named as the hub names them."""
    count = len(next(iter(columns.values())))
    colours = ["red", "green", "blue", "white"]
    drawn = []
    for i in range(count):
        data = io.BytesIO()
        PIL.Image.new("RGB", (40, 32), colours[i % 4]).save(data, "PNG")
        drawn.append({"bytes": data.getvalue(), "path": f"{i}.png"})
    table = datasets.Dataset.from_dict({**columns, "image": drawn}).cast_column("image", datasets.Image())
    (root / "data").mkdir(parents=True, exist_ok=True)
    for i in range(shards):
        shard = table.shard(shards, i, contiguous=True)
        shard.to_parquet(root / "data" / f"train-{i:05d}-of-{shards:05d}.parquet")
