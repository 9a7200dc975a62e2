"""Archives, whole or in parts: what is in them, where they belong, and unpacking that stays in its folder."""

from __future__ import annotations

import gzip
import io
import os
import posixpath
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Self

from vlm2vec.mmeb.data.hub import DownloadError

__all__ = ["file_names", "target_folder", "unpack"]

_CHUNK = 2**20
_DAMAGES = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)


class _Member(NamedTuple):
    """A file in an archive: its content, or the other file that it is a link to."""

    path: PurePosixPath
    content: IO[bytes] | None
    link: PurePosixPath = PurePosixPath()


def unpack(
    parts: Sequence[Path], folder: Path, *, on_read: Callable[[int], object] | None = None
) -> set[Path]:
    """Write an archive's files, over those that are there.

    Links become copies, so that no file can be written through one. `tarfile`'s own "data" filter, which
    Python has from 3.11.4 on, makes links, and CVE-2025-4517 wrote through them until June 2025.

    Args:
        parts: Files that are the archive when they are joined: a tar, gzipped or not, or a zip.
        folder: Where to.
        on_read: Called with the number of bytes read, again and again.

    Returns:
        The folders that its files lie in.

    Raises:
        DownloadError: It is damaged, or a member would lie outside of the folder, is a device, or is a link
            to something else than a file before it.
    """
    folders: set[Path] = set()
    with _damage_explained(parts[0]):
        for path, content, link in _members(parts, on_read):
            target, linked = folder / path, folder / link
            if target.parent not in folders:
                target.parent.mkdir(parents=True, exist_ok=True)
                folders.add(target.parent)
            if content is not None:
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file, _CHUNK)
            elif not linked.is_file():
                raise tarfile.TarError(f"{path} is a link to something else than one of its files")
            elif linked != target:  # a file that is packed twice links to itself
                shutil.copyfile(linked, target)
        if not folders:
            raise EOFError("it holds no files")
    return folders


def file_names(parts: Sequence[Path], count: int) -> list[PurePosixPath]:
    """Names of the first files in an archive.

    Raises:
        DownloadError: It is damaged.
    """
    with _damage_explained(parts[0]):
        return [member.path for member in islice(_members(parts), count)]


def target_folder(archive: str, names: Iterable[PurePosixPath], roots: Sequence[str]) -> PurePosixPath:
    """The folder in which an archive's files come to lie where they are looked for.

    Archives differ in how many folders are above a task's own. The first file decides whose path starts as
    some root ends. Where none does, it is a folder named after the archive, if roots lie there, else that of
    the archive.

    Args:
        archive: Its name from the data folder.
        names: Of files in it.
        roots: Folders, from the data folder, where files are looked for.

    Example:
        >>> for name in ("K700/v1/1.png", "cls/K700/v1/1.png"):
        ...     print(target_folder("frames/cls.tar.gz", [PurePosixPath(name)], ["frames/cls/K700"]))
        frames/cls
        frames
    """
    paths = [PurePosixPath(root).parts for root in roots]
    for name in names:
        shared = [
            (count, path[: len(path) - count])
            for path in paths
            for count in range(1, len(path) + 1)
            if name.parts[:count] == path[-count:]
        ]
        if shared:
            return PurePosixPath(*max(shared)[1])
    own = PurePosixPath(archive)
    folder = own.parent / own.name.removesuffix(".zip").removesuffix(".gz").removesuffix(".tar")
    return folder if any(folder.parts == path[: len(folder.parts)] for path in paths) else own.parent


def _members(parts: Sequence[Path], on_read: Callable[[int], object] | None = None) -> Iterator[_Member]:
    with parts[0].open("rb") as file:
        magic = file.read(4)
    if magic == b"PK\3\4" and len(parts) == 1:
        yield from _members_of_zip(parts[0], on_read)
        return
    with _Joined(parts, on_read) as joined:
        stream = gzip.GzipFile(fileobj=joined) if magic[:2] == b"\x1f\x8b" else joined
        yield from _members_of_tar(stream, parts[0])
        while stream.read(_CHUNK):  # to the end, where a gzip has its checksum
            pass


def _members_of_tar(stream: io.RawIOBase | gzip.GzipFile, archive: Path) -> Iterator[_Member]:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_WholeHeader) as tar:
        while (one := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # there are millions
            path = _inside(one.name, archive)
            if one.isfile():
                yield _Member(path, tar.extractfile(one))
            elif one.issym():
                target = posixpath.join(posixpath.dirname(one.name), one.linkname)
                yield _Member(path, None, _inside(target, archive))
            elif one.islnk():
                yield _Member(path, None, _inside(one.linkname, archive))
            elif not one.isdir():
                raise tarfile.TarError(f"{one.name} is neither a file nor a folder")


def _members_of_zip(archive: Path, on_read: Callable[[int], object] | None) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for one in opened.infolist():
            if not one.is_dir():
                with opened.open(one) as content:
                    yield _Member(_inside(one.filename, archive), content)
            if on_read is not None:
                on_read(one.compress_size)


class _WholeHeader(tarfile.TarInfo):
    """A member whose header has to be whole: `tarfile` takes a broken one, or none, for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf and not any(buf):  # the zeros that end a tar
                raise
            raise tarfile.ReadError(f"it is cut off, or broken in the middle ({error})") from error


class _Joined(io.RawIOBase):
    """Files one after another, as one."""

    def __init__(self, files: Sequence[Path], on_read: Callable[[int], object] | None) -> None:
        self._files = [io.FileIO(file) for file in files]
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as io gives it
        while self._files:
            if count := self._files[0].readinto(buffer):
                if self._on_read is not None:
                    self._on_read(count)
                return count
            self._files.pop(0).close()
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def _inside(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(posixpath.normpath(name))
    on_windows = PurePosixPath(posixpath.normpath(name.replace("\\", "/")))
    if on_windows.is_absolute() or ".." in on_windows.parts or os.path.splitdrive(name)[0]:
        raise DownloadError(
            f"the archive wants to write outside of its folder: {name}",
            fix="Do not use it: it is not what the benchmark's authors put there.",
            source=str(archive),
        )
    return path


@contextmanager
def _damage_explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGES as error:
        raise DownloadError(
            f"the archive is damaged: {error}",
            fix="Fetch it again with force=True (--force). If it stays so, the one on the hub is damaged.",
            source=str(archive),
        ) from error
