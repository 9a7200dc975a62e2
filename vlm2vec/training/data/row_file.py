"""Training rows as a file of JSON lines, which the loader "rows" of a mixture reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vlm2vec.atomic_write import replacing
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parse import parse_input
from vlm2vec.inputs.replace import to_json
from vlm2vec.training.data.rows import check_row

__all__ = ["write_rows"]


def write_rows(rows: Iterable[Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    r"""Write training rows as JSON lines, media as paths relative to the file's folder.

    A mixture reads them back with the loader "rows", its `root` being that folder and its `file` the name.
    A file that is there is replaced once all rows are written, and left alone if one cannot be.

    Args:
        rows: Training rows.
        path: The file to write.

    Raises:
        InputError: A row is no training row, or holds media that have no path, such as a PIL image.
        MediaError: A file does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "rows.jsonl")
        ...     write_rows([{"query": "a cat", "document": "a photo", "negatives": ("a car",)}], file)
        ...     file.read_text()
        '{"query": "a cat", "document": "a photo", "negatives": ["a car"]}\n'
    """
    path = Path(path)
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            file.write(_line(row, path, number) + "\n")


def _line(row: Mapping[str, Any], path: Path, number: int) -> str:
    check_row(row, source=path.name, number=number, allow_urls=True)

    def written(value: Any) -> Any:
        return to_json(parse_input(value, allow_urls=True), path.parent)

    record: dict[str, Any] = {}
    for name, value in row.items():
        try:
            if name == "negatives":
                record[name] = [written(item) for item in value or ()]
            else:
                record[name] = written(value) if name in ("query", "document") else value
        except VLM2VecError as error:
            what = f"{name}: {error.cause}"
            raise type(error)(what, fix=error.fix, source=f"{path.name}, row {number}") from error
    return json.dumps(record, ensure_ascii=False, allow_nan=False)
