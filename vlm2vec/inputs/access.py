"""Whether the files and URLs that an input names may be read: what a client names is not always one's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypedDict

from vlm2vec.describe import describe_media, describe_value
from vlm2vec.errors import InputError
from vlm2vec.media.source import Source, url_refusal

__all__ = ["Allowed", "FileAccess", "allowed_source", "check_file_access"]

FileAccess: TypeAlias = "bool | Sequence[str | os.PathLike[str]]"
"""Whether files are read: all, none, or what is below some folders."""


class Allowed(TypedDict, total=False):
    """What `parse_input` is told about it.

    Attributes:
        allow_urls: Whether a string under a media key may be a URL; by default none may.
        allow_files: Whether paths are read: all (the default), none, or what lies below these folders.
    """

    allow_urls: bool
    allow_files: FileAccess


def check_file_access(allow_files: object) -> FileAccess:
    """The value of `allow_files`, its folders as they are now found.

    Raises:
        InputError: It is neither a bool nor a list of folders.

    Example:
        >>> check_file_access(False), check_file_access([])
        (False, ())
    """
    if isinstance(allow_files, bool):
        return allow_files
    if isinstance(allow_files, (list, tuple)) and all(
        isinstance(root, (str, os.PathLike)) for root in allow_files
    ):
        return tuple(Path(os.path.realpath(root)) for root in allow_files)
    raise InputError(
        f"allow_files is {describe_value(allow_files)}",
        fix="Pass True, False, or a list of the folders from which files are read.",
    )


def allowed_source(source: Source, allow_urls: bool, allow_files: FileAccess) -> Source:
    """The source, if it may be read; a path below a folder comes without links and `..`.

    A path that is refused is neither opened nor looked up, so that nobody learns whether it is there.

    Raises:
        InputError: It may not.
    """
    if source.url is not None and not allow_urls:
        error = url_refusal()
        error.source = describe_media(source.url)
        raise error
    if source.path is None or allow_files is True:
        return source
    found = None if allow_files is False else _found_below(source.path, allow_files)
    if found is None:
        where = "here" if allow_files is False else "from there"
        raise InputError(
            f"this is a path, and files are not read {where}",
            fix="Pass the bytes, or a data-URI, data:image/png;base64,...",
            source=describe_media(source.shown or str(source.path)),
        )
    return replace(source, path=found, shown=source.shown or str(source.path))


def _found_below(path: Path, roots: Sequence[str | os.PathLike[str]]) -> Path | None:
    """Where a path below one of some folders leads to, if it and the frames in it stay below them."""
    resolved = [os.path.realpath(root) for root in roots]

    def below(place: str | Path) -> Path | None:
        found = Path(os.path.realpath(place))
        return found if any(found.is_relative_to(root) for root in resolved) else None

    try:
        # Its folder first: of a path that leads elsewhere, not even the file itself is looked up.
        if below(path.absolute().parent) is None or (found := below(path)) is None:
            return None
        if found.is_dir():
            with os.scandir(found) as entries:
                if not all(below(entry.path) for entry in entries if entry.is_symlink()):
                    return None
    except (OSError, ValueError):  # a null character, or a folder that cannot be listed
        return None
    return found
