"""A few rows of each source as digests, by which a run that goes on knows whether its data are the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlm2vec.describe import describe_value
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parts import Document, Input, Part, Text
from vlm2vec.media.source import Source
from vlm2vec.training.data.mixture import Mixture

__all__ = ["another_row", "sample_of"]

_ROWS = 8  # of a source, spread over it


def sample_of(mixture: Mixture) -> dict[str, dict[str, str]]:
    """Digests of rows: source -> number of the row, as text -> digest.

    They are of strings, of names of files without their folder where these are given as paths, and of sizes:
    no media are read.

    Example:
        >>> pets = [{"query": "a cat", "document": "a photo of a cat"}]
        >>> list(sample_of(Mixture.of({"pets": pets}))["pets"])
        ['0']
    """
    found: dict[str, dict[str, str]] = {}
    for index, source in enumerate(mixture.sources):
        rows = len(source)
        for number in sorted({step * (rows - 1) // (_ROWS - 1) for step in range(_ROWS)}):
            try:
                row = mixture[index, number]
            except VLM2VecError:  # a bad one, which is skipped when it is drawn
                continue
            digest = hashlib.sha256(json.dumps(_plain(row), sort_keys=True).encode()).hexdigest()
            found.setdefault(source.name, {})[str(number)] = digest[:16]
    return found


def another_row(before: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> str | None:
    """Source and number of a row that is another now, or `None`.

    Example:
        >>> another_row({"pets": {"0": "aa", "7": "bb"}}, {"pets": {"0": "aa", "7": "cc"}})
        'pets, row 7'
    """
    for source, rows in before.items():
        for number, digest in rows.items():
            if now.get(source, {}).get(number, digest) != digest:
                return f"{source}, row {number}"
    return None


def _plain(value: Any) -> Any:
    """What of a value is the same in each run, as JSON has it."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, os.PathLike):
        return Path(value).name
    if isinstance(value, Input):  # what loaders of a mixture make of media
        return [value.instruction, value.prompt, *map(_plain_part, value.parts)]
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return describe_value(value)


def _plain_part(part: Part) -> Any:
    if isinstance(part, Text):
        return part.text
    path = part.content.path if isinstance(part.content, Source) else None
    pages = part.pages if isinstance(part, Document) else None
    return [part.describe() if path is None else path.name, pages]
