"""Which tables a task's annotations are, and which files of a downloaded repository hold a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from vlm2vec.mmeb.tasks.task import Task

__all__ = ["annotation_files", "missing_shards", "tables_of"]

_SUFFIXES = (".parquet", ".jsonl", ".json")
_SHARD = re.compile(r"-\d{5}-of-(\d{5})(-[0-9a-f]+)?$")
_SPLITS = frozenset({"train", "test", "validation", "val", "dev"})


def tables_of(task: Task) -> Sequence[str | None]:
    """The tables that the task's loader reads; `None` for the one of a repository that has one only.

    Example:
        >>> from vlm2vec.mmeb.tasks import get_task
        >>> tables_of(get_task("ViDoRe_docvqa")), tables_of(get_task("MSVD"))
        (('queries', 'qrels', 'corpus'), (None,))
    """
    if task.layout.endswith("_documents"):
        return ("queries", "qrels", "corpus")
    tables: Sequence[str | None] = task.options.get("subsets", (task.subset,))
    return tables


def annotation_files(folder: Path, table: str | None, split: str) -> list[Path]:
    """Files of a table, in order; empty if there are none.

    What the README declares counts, as on the hub. Otherwise names tell, such as `queries/test.parquet`,
    `queries/test-00000-of-00001.parquet`, `data/queries-test.jsonl`, or without any split `queries.parquet`.

    Args:
        folder: A folder as `hf download --local-dir` leaves it.
        table: Name of the configuration, if the repository has several.
        split: Name of the split.

    Example:
        >>> annotation_files(Path("nowhere"), "queries", "test")
        []
    """
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix in _SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    found = (
        _declared(folder, table, split)
        or [file for file in files if _names_both(file.relative_to(folder), table, split)]
        or _without_split(files, folder, table, split)
    )
    for suffix in _SUFFIXES:  # a table that is there in several formats is read once
        if of_suffix := [file for file in found if file.suffix == suffix]:
            return of_suffix
    return []


def missing_shards(files: list[Path]) -> int:
    """How many files of a table are not there, as those that are tell by their names.

    Example:
        >>> missing_shards([Path("test-00000-of-00003.parquet"), Path("test-00002-of-00003.parquet")])
        1
    """
    counts = [int(match[1]) for file in files if (match := _SHARD.search(file.stem))]
    return max(counts, default=0) - len(counts)


def _declared(folder: Path, table: str | None, split: str) -> list[Path]:
    """What the README's front matter says."""
    card = folder / "README.md"
    parts = card.read_text(encoding="utf-8").split("---\n", 2) if card.is_file() else []
    if len(parts) < 3 or parts[0].strip():
        return []
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return []  # names of files still tell
    configs = front.get("configs") if isinstance(front, dict) else None
    return [
        file
        for config in configs or ()
        if config.get("config_name", "default") == (table or "default")
        for pattern in _patterns(config.get("data_files"), split)
        for file in sorted(folder.glob(pattern))
    ]


def _patterns(declared: Any, split: str) -> Iterator[str]:
    for entry in declared if isinstance(declared, list) else [declared]:
        if isinstance(entry, dict) and entry.get("split") == split:
            paths = entry.get("path") or []
            yield from [paths] if isinstance(paths, str) else paths


def _stem(file: Path) -> str:
    return _SHARD.sub("", file.stem)


def _names_both(file: Path, table: str | None, split: str) -> bool:
    """Whether folders and name of a file say the table and the split, and the name nothing else."""
    folders, stem = file.parts[:-1], _stem(file)
    if table is None:
        return split in (stem, *folders)
    together = {f"{first}{mark}{last}" for mark in "-_." for first, last in ((table, split), (split, table))}
    return (
        (table in folders and split in (stem, *folders))
        or (stem == table and split in folders)
        or stem in together
    )


def _without_split(files: list[Path], folder: Path, table: str | None, split: str) -> list[Path]:
    """Files of the table that name no split at all; without a table, those of a folder that holds but one."""
    plain = []
    for file in files:
        name = file.relative_to(folder)
        words = {_stem(file), *name.parts[:-1]}
        if not words & (_SPLITS - {split}) and (table is None or table in words):
            plain.append(file)
    return plain if table is not None or len({_stem(file) for file in plain}) == 1 else []
