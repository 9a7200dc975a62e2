"""Digests of samples: equal while a sample is what it was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from vlm2vec.atomic_write import write_text
from vlm2vec.errors import MediaError
from vlm2vec.mmeb.samples import Content
from vlm2vec.sameness import digest, digest_of, file_digest

__all__ = ["Digests"]

_DIGEST = re.compile("[0-9a-f]{32}")


class Digests:
    """Digests of samples, each file read once while it stays as it is.

    Args:
        file: Where digests of files are remembered between runs, by path, size and time of change.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, str] = {}
        self._unshared: dict[str, str] = {}
        self._changed = False
        if file is not None and file.is_file():
            self._known = _read(file)

    def content(self, content: Content) -> str:
        """Digest of all that a model could be given of a sample.

        Raises:
            MediaError: A file is missing, or cannot be read.
        """
        media: list[str] = []
        if isinstance(content.image, bytes):
            media.append(digest([content.image]))
        elif content.image is not None:
            media.append(self._of_file(content.image))
        media += [self._of_file(frame) for frame in content.frames]
        return digest_of([content.prompt, content.text, content.instruction, media, bool(content.frames)])

    def read_here(self) -> dict[str, str]:
        """Digests of files that were read here since it was asked last, for other processes to `learn`."""
        unshared, self._unshared = self._unshared, {}
        return unshared

    def learn(self, digests: Mapping[str, str]) -> None:
        """Take over digests of files that another process has read."""
        self._changed = self._changed or not digests.keys() <= self._known.keys()
        self._known.update(digests)

    def save(self) -> None:
        """Remember the digests of files."""
        if self._file is not None and self._changed:
            write_text(self._file, json.dumps(self._known))
            self._changed = False

    def _of_file(self, path: Path) -> str:
        try:
            state = path.stat()
            name = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
            known = self._known.get(name)
            if known is None:
                known = self._known[name] = self._unshared[name] = file_digest(path)
                self._changed = True
        except OSError as error:
            raise _unreadable(path, error) from error
        return known


def _read(file: Path) -> dict[str, str]:
    """The digests in a file; none where it is damaged: what they are of is read once more."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    # Texts of another form would do worse than end the run: two files with one digest share a vector.
    whole = isinstance(found, dict) and all(_DIGEST.fullmatch(str(digest)) for digest in found.values())
    return found if whole else {}


def _unreadable(path: Path, error: OSError) -> MediaError:
    if isinstance(error, FileNotFoundError):
        return MediaError(f"there is no {path}")
    if isinstance(error, IsADirectoryError):  # it stands for frames, or for a picture, that are not there
        return MediaError(f"there are no pictures in {path}")
    return MediaError(f"{path} cannot be read ({error.strerror or error})")
