"""A file of an index, opened only where it lies below a folder that is indexed, at the time of opening."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vlm2vec.media.signature import HEAD_BYTES, recognise

__all__ = ["FileGoneError", "StoredFile", "media_type", "open_below"]

ATTACHMENT = "application/octet-stream"
"""The type of all that a browser must not show."""

_TEXT_SUFFIXES = (".txt", ".md")
# Only these are shown. What may hold scripts that run in a page, such as SVG and HTML, is not among them.
_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WebP": "image/webp",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "PDF": "application/pdf",
    "MP4": "video/mp4",
    "QuickTime": "video/quicktime",
    "AVI": "video/x-msvideo",
    "Ogg": "video/ogg",
    "MPEG-TS": "video/mp2t",
    "MPEG-PS": "video/mpeg",
    "MPEG video": "video/mpeg",
    "FLV": "video/x-flv",
    "ASF": "video/x-ms-asf",
}


class FileGoneError(Exception):
    """The file is not there any more, or not below a folder that is indexed, or no regular file."""


@dataclass(frozen=True)
class StoredFile:
    """An open file.

    Attributes:
        file: Its content; close it.
        path: Where it is, without links.
        size: In bytes.
        version: Which content it has, as far as number, size and time of a file say.
        head: Its first bytes.
    """

    file: BinaryIO
    path: Path
    size: int
    version: tuple[int, int, int, int]
    head: bytes

    def is_still_there(self) -> bool:
        """Whether its path leads to the same content still."""
        try:
            return version_of(self.path.lstat()) == self.version
        except OSError:
            return False


def version_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """What tells one content of a file from another."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def open_below(path: Path, folders: Collection[Path], *, store: Path | None = None) -> StoredFile:
    """Open a file that lies below one of the folders, links followed.

    It is opened one folder after the other, without following any link: what becomes a link between looking
    and opening is refused.

    Args:
        path: The file.
        folders: The folders, without links in their paths.
        store: A folder of which nothing is opened, though it may lie in one of them.

    Raises:
        FileGoneError: It lies elsewhere, is no regular file, or cannot be opened.
    """
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise FileGoneError from error
    root = next((folder for folder in folders if folder in real.parents), None)
    if root is None or (store is not None and store.resolve() in real.parents):
        raise FileGoneError
    try:
        file = _opened(root, real)
    except (OSError, ValueError) as error:
        raise FileGoneError from error
    try:
        status = os.fstat(file.fileno())
        head = file.read(HEAD_BYTES)
        file.seek(0)
    except OSError as error:
        file.close()
        raise FileGoneError from error
    return StoredFile(file, real, status.st_size, version_of(status), head)


def media_type(path: Path, head: bytes) -> str:
    """The type that a file is served with, by its first bytes; `ATTACHMENT` for what is not shown.

    Args:
        path: Its name, which texts alone are known by.
        head: Its first bytes.

    Example:
        >>> media_type(Path("a.png"), b"%PDF-1.7"), media_type(Path("a.png"), b"<svg onload=alert(1)>")
        ('application/pdf', 'application/octet-stream')
    """
    if path.suffix.lower() in _TEXT_SUFFIXES:
        return "text/plain; charset=utf-8"
    signature = recognise(head)
    if signature is None:
        return ATTACHMENT
    if signature.label == "Matroska":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return _TYPES.get(signature.label, ATTACHMENT)


def _opened(root: Path, real: Path) -> BinaryIO:
    # A pipe in the place of the file would wait for its other end.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
        return _opened_at_once(real, flags)
    *inner, name = real.relative_to(root).parts
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in inner:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        return _regular(os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder))
    finally:
        os.close(folder)


def _opened_at_once(real: Path, flags: int) -> BinaryIO:
    """The same on systems that open by whole paths alone: the path is looked at once more."""
    file = _regular(os.open(real, flags | getattr(os, "O_BINARY", 0)))
    if real.resolve(strict=True) != real or not os.path.samestat(os.fstat(file.fileno()), real.stat()):
        file.close()
        raise FileGoneError
    return file


def _regular(number: int) -> BinaryIO:
    """The open file of that number, closed where it is no regular one: `fdopen` leaves a folder open."""
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise FileGoneError
    return os.fdopen(number, "rb")
