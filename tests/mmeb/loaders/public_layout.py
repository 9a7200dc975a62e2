"""Small copies of the public layouts of images and documents: Parquet as on the hub, pictures as unpacked.

`write_task(folder, task)` is enough where only something that loads is needed; the other functions take rows.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

COLOURS = ("red", "green", "blue", "white", "black", "yellow")
SHARD = "00000-of-00001"


def encoded_picture(colour: str = "red", kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    PIL.Image.new("RGB", (40, 32), colour).save(data, kind)
    return data.getvalue()


def picture(path: Path, colour: str = "red") -> Path:
    """A picture of the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded_picture(colour, "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"))
    return path


def mirror(folder: Path, task: Any) -> Path:
    """Where a copy of the hub's repository of annotations lies."""
    return folder / "annotations" / task.repo


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


# Images: one table; paths in it begin with the task's folder.


def write_image_rows(
    folder: Path, task: Any, rows: Sequence[Mapping[str, Any]], *, draw: bool = True
) -> None:
    """The table of a task, and the pictures that its rows name."""
    write_parquet(mirror(folder, task) / task.subset / f"{task.split}-{SHARD}.parquet", rows)
    root = folder / task.roots[0]
    root.mkdir(parents=True, exist_ok=True)
    if draw:
        paths = [row["qry_img_path"] for row in rows if row.get("qry_img_path")]
        paths += [path for row in rows for path in row.get("tgt_img_path", ())]
        for number, path in enumerate(dict.fromkeys(paths)):
            picture(root / path, COLOURS[number % len(COLOURS)])


def image_rows(task: Any) -> list[dict[str, Any]]:
    """Three rows that share candidates; the right one is always the first."""
    kind = task.options["kind"]
    labels = ["a dog", "two cats", "a red kite"]
    rows = []
    for i in range(3):
        turned = labels[i:] + labels[:i]
        row: dict[str, Any] = {"qry_inst": f"<|image_1|>\n{task.query_instruction}", "qry_text": ""}
        if kind == "qa":
            row["qry_text"] = f"what is in picture {i}?"
        if kind in ("t2i", "i2i"):
            row["qry_text"] = turned[0]
            row["tgt_inst"] = f"<|image_1|>\n{task.target_instruction}"
            row["tgt_img_path"] = [f"{task.name}/target {label}.jpg" for label in turned]
            row["tgt_text"] = ["" for _ in turned]
        else:
            row["tgt_text"] = turned
        if kind == "t2i":
            row["qry_inst"] = task.query_instruction
        else:
            row["qry_img_path"] = f"{task.name}/query_{i}.jpg"
        rows.append(row)
    return rows


# Visual documents: three tables, the corpus with its pictures; pages as files besides.


def write_documents(
    folder: Path,
    task: Any,
    *,
    queries: Sequence[tuple[Any, str]],
    qrels: Sequence[tuple[Any, Any, int]],
    corpus: Sequence[Any],
    files: Iterable[str] = (),
    annotations: Path | None = None,
    with_pictures: bool = True,
) -> None:
    """The tables of a task: (id, text), (query's id, page's id, score), pages' ids; and pages as files."""
    base = annotations or mirror(folder, task)
    tables = {
        "queries": [{"query-id": one, "query": text} for one, text in queries],
        "qrels": [{"query-id": one, "corpus-id": page, "score": score} for one, page, score in qrels],
    }
    for name, rows in tables.items():
        write_parquet(base / name / f"{task.split}-{SHARD}.parquet", rows)
    pages: dict[str, Any] = {"corpus-id": list(corpus)}
    if with_pictures:
        pages["image"] = [page_picture(number) for number in range(len(corpus))]
    table = datasets.Dataset.from_dict(pages)
    if with_pictures:
        table = table.cast_column("image", datasets.Image())
    (base / "corpus").mkdir(parents=True, exist_ok=True)
    pq.write_table(table.data.table, base / "corpus" / f"{task.split}-{SHARD}.parquet")
    for number, name in enumerate(files):
        picture(folder / task.roots[0] / name, COLOURS[number % len(COLOURS)])


def page_picture(number: int) -> dict[str, Any]:
    """The picture of a row of the corpus, as the hub stores it."""
    return {"bytes": encoded_picture(COLOURS[number % len(COLOURS)]), "path": f"{number}.png"}


def write_task(folder: Path, task: Any, page_file: Callable[[Any], str] | None = None) -> None:
    """A small copy of a task of images or documents; pages are files besides if their names are told."""
    if task.modality == "image":
        write_image_rows(folder, task, image_rows(task))
        return
    number = task.layout == "beir_documents"
    corpus = [one if number else f"report {one}.pdf_{one}.png" for one in range(4)]
    write_documents(
        folder,
        task,
        queries=[(0 if number else "q0", "what is in figure 3"), (1 if number else "q1", "how much")],
        qrels=[(0 if number else "q0", corpus[2], 1), (1 if number else "q1", corpus[0], 1)],
        corpus=corpus,
        files=[page_file(page) for page in corpus] if page_file else (),
    )
