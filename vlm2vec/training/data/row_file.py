"""Training rows as a file of JSON lines, which the loader "rows" of a mixture reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.inputs.describe import describe_value
from vlm2vec.inputs.media import MEDIA_KEYS
from vlm2vec.inputs.pdf import PdfPage
from vlm2vec.inputs.sources import kind_of, read_text, source_of
from vlm2vec.inputs.video import Video
from vlm2vec.training.data.rows import check_row

__all__ = ["write_rows"]

_SAVE = "Save it as a file and give its path."
_APART = 'Give each as a part of its own: [{"video": ...}, {"image": ...}].'
_ELSEWHERE = ("path", "url", "image_url", "video_url")
"""Keys of a message's content under which a path may stand, which the loader does not look at."""


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
    unfinished = path.with_name(path.name + ".part")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            for number, row in enumerate(rows):
                file.write(_line(row, path, number) + "\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _line(row: Mapping[str, Any], path: Path, number: int) -> str:
    check_row(row, source=path.name, number=number, allow_urls=True)
    folder = path.parent
    record: dict[str, Any] = {}
    for name, value in row.items():
        try:
            if name == "negatives":
                record[name] = [_written(item, folder) for item in value or ()]
            else:
                record[name] = None if value is None else _written(value, folder)
        except VLM2VecError as error:
            what = f"{name}: {error.cause}"
            raise type(error)(what, fix=error.fix, source=f"{path.name}, row {number}") from error
    return json.dumps(record, ensure_ascii=False, allow_nan=False)


def _written(value: Any, folder: Path) -> Any:
    """An input, or a part of one, as JSON holds it."""
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        source = source_of(value)
        kind = kind_of(source, value)
        return read_text(source) if kind == "text" else {kind: _relative(value, folder)}
    if isinstance(value, Video):
        return _dict({"video": value}, folder)
    if isinstance(value, PdfPage):
        return _dict({"pdf": value}, folder)
    if isinstance(value, Mapping):
        return _dict(value, folder)
    if isinstance(value, (list, tuple, range)):
        return [_written(item, folder) for item in value]
    raise InputError(f"{describe_value(value)} has no path that could be written", fix=_SAVE)


def _dict(value: Mapping[Any, Any], folder: Path) -> dict[str, Any]:
    """A dict; the options of a clip or page in it, which are no JSON, stand beside it instead."""
    record: dict[str, Any] = {}
    for name, item in value.items():
        if name in _ELSEWHERE and isinstance(item, (str, os.PathLike)):
            record[name] = item if _is_address(item) else str(Path(item).absolute())
        elif name not in MEDIA_KEYS:
            record[name] = _written(item, folder)
        else:
            only = item[0] if isinstance(item, (list, tuple)) and len(item) == 1 else item
            if isinstance(only, (Video, PdfPage)) and len(value.keys() & set(MEDIA_KEYS)) > 1:
                raise InputError(f"{describe_value(only)} stands beside other media", fix=_APART)
            record |= _opened(only, folder) or {name: _media(item, folder)}
    return record


def _opened(value: Any, folder: Path) -> dict[str, Any]:
    """The dict that says the same as a clip or page."""
    if isinstance(value, Video):
        return {"video": _media(value.frames, folder), **value.options}
    if not isinstance(value, PdfPage):
        return {}
    options = {"page": value.page, "password": value.password, "max_pixels": value.max_pixels}
    given = {name: option for name, option in options.items() if option is not None}
    return {"pdf": _media(value if value.path is None else value.path, folder), **given}


def _media(value: Any, folder: Path) -> Any:
    """What stands under a media key: a path, or a list of them."""
    if isinstance(value, (list, tuple)):
        return [_media(item, folder) for item in value]
    if isinstance(value, (str, os.PathLike)):
        return value if _is_address(value) else _relative(value, folder)
    apart = isinstance(value, Video) or (isinstance(value, PdfPage) and value.path is not None)
    fix = _APART if apart else _SAVE
    raise InputError(f"{describe_value(value)} has no path that could be written", fix=fix)


def _is_address(value: str | os.PathLike[str]) -> bool:
    return isinstance(value, str) and (value[:5].lower() == "data:" or "://" in value[:32])


def _relative(path: str | os.PathLike[str], folder: Path) -> str:
    inside, outside = Path(path).absolute(), folder.absolute()
    if not inside.is_relative_to(outside) or ".." in inside.parts:
        # With links, ".." leads up from where a folder really is.
        inside, outside = inside.parent.resolve() / inside.name, outside.resolve()
    try:
        relative = Path(os.path.relpath(inside, outside)).as_posix()
    except ValueError:  # on another drive
        return inside.as_posix()
    # Only so does the loader take it for a path.
    return relative if relative.strip() and relative[:5].lower() != "data:" else f"./{relative}"
