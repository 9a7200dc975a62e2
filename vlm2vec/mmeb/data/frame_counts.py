"""How many frames each unpacked clip has: with some gone, others would be looked at in their place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from vlm2vec.errors import InputError
from vlm2vec.media.frames import is_image_file
from vlm2vec.mmeb.atomic_write import write_text

__all__ = ["count_frames", "note_counts", "noted_counts"]

_NAME = "unpacked_frames.json"


def count_frames(folder: Path) -> int:
    """How many frames a folder holds; 0 where there is none, or it cannot be read."""
    try:
        return sum(is_image_file(file) for file in folder.iterdir())
    except OSError:
        return 0


def note_counts(data_dir: Path, folders: Iterable[Path]) -> None:
    """Note how many frames each folder holds now, beside what was noted of others.

    Example:
        >>> from tempfile import mkdtemp
        >>> data_dir = Path(mkdtemp())
        >>> (data_dir / "clip").mkdir()
        >>> (data_dir / "clip" / "1.png").touch()
        >>> note_counts(data_dir, [data_dir / "clip"])
        >>> noted_counts(data_dir)
        {'clip': 1}
    """
    counts = noted_counts(data_dir)
    counts |= {folder.relative_to(data_dir).as_posix(): count_frames(folder) for folder in folders}
    write_text(data_dir / _NAME, json.dumps(counts, indent=0, sort_keys=True) + "\n")


def noted_counts(data_dir: Path) -> dict[str, int]:
    """What is noted of the folders in a data folder, by path from there; empty where nothing is.

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
            f"the record of unpacked frames cannot be read ({error})",
            fix="Remove it. Until archives are unpacked again, lost frames are not noticed.",
            source=str(file),
        ) from error
