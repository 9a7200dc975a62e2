"""How many files each unpacked folder holds: with frames missing, others of a clip would be looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from vlm2vec.errors import InputError
from vlm2vec.mmeb.atomic_write import write_text

__all__ = ["count_files", "note_counts", "noted_counts"]

_NAME = "unpacked_folders.json"


def count_files(folder: Path) -> int:
    """How many files lie in a folder itself; 0 where there is none."""
    try:
        with os.scandir(folder) as found:
            return sum(entry.is_file() for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def note_counts(data_dir: Path, folders: Iterable[Path]) -> None:
    """Note how many files lie in each folder now, beside what was noted of others.

    Example:
        >>> from tempfile import mkdtemp
        >>> data_dir = Path(mkdtemp())
        >>> (data_dir / "frames").mkdir()
        >>> (data_dir / "frames" / "1.png").touch()
        >>> note_counts(data_dir, [data_dir / "frames"])
        >>> noted_counts(data_dir)
        {'frames': 1}
    """
    counts = noted_counts(data_dir)
    counts |= {folder.relative_to(data_dir).as_posix(): count_files(folder) for folder in folders}
    write_text(data_dir / _NAME, json.dumps(counts, indent=0, sort_keys=True) + "\n")


def noted_counts(data_dir: Path) -> dict[str, int]:
    """What is noted of a data folder, by path from there; empty where nothing is.

    Raises:
        InputError: The file is not one of these.
    """
    file = data_dir / _NAME
    if not file.is_file():
        return {}
    try:
        return {str(folder): int(count) for folder, count in json.loads(file.read_text("utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"the record of unpacked folders cannot be read ({error})",
            fix="Remove it: what is missing of a clip is not seen then.",
            source=str(file),
        ) from error
