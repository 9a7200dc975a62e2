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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO

from vlm2vec.mmeb.data.hub import DownloadError

__all__ = ["Unpacked", "file_names", "place_of", "unpack"]

_BLOCK = 512
_CHUNK = 2**20
_DAMAGES = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)


@dataclass(frozen=True)
class _Member:
    """A file in an archive: its content, or which other file it is a link to."""

    name: str
    size: int
    content: IO[bytes] | None
    link: str = ""


@dataclass(frozen=True)
class Unpacked:
    """What came out of an archive.

    Attributes:
        files: How many files.
        size: Their bytes.
        folders: Where they lie.
    """

    files: int
    size: int
    folders: frozenset[Path]


def unpack(parts: Sequence[Path], folder: Path, *, tick: Callable[[int], object] | None = None) -> Unpacked:
    """Write an archive's files, over those that are there.

    Links become copies, so that no file can be written through one.

    Args:
        parts: Files that are the archive when they are joined: a tar, gzipped or not, or a zip.
        folder: Where to.
        tick: Called with the number of bytes read, again and again.

    Raises:
        DownloadError: It is damaged, or a member would lie outside of the folder or is a device.
    """
    with _telling(parts[0]):
        unpacked = _write(parts, folder, tick)
        if not unpacked.files:
            raise EOFError("it holds no files")
    return unpacked


def _write(parts: Sequence[Path], folder: Path, tick: Callable[[int], object] | None) -> Unpacked:
    links: dict[Path, Path] = {}
    files = size = 0
    folders: set[Path] = set()
    for member in _members(parts, tick):
        target = folder / _inside(member.name, parts[0])
        if target.parent not in folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            folders.add(target.parent)
        if member.content is None:
            source = folder / _inside(member.link, parts[0])
            if source != target or not target.is_file():  # a file that is packed twice links to itself
                links[target] = source
            continue
        links.pop(target, None)  # of two members of one name the later counts
        with target.open("wb") as file:
            shutil.copyfileobj(member.content, file, _CHUNK)
            if file.tell() != member.size:
                raise EOFError(f"{member.name} is cut off")
        files, size = files + 1, size + member.size
    for target in links:
        end = _end_of(links, target)
        if end is None or not end.is_file():
            name = target.relative_to(folder).as_posix()
            raise tarfile.TarError(f"{name} is a link to something else than one of its files")
        shutil.copyfile(end, target)
        files, size = files + 1, size + target.stat().st_size
    return Unpacked(files, size, frozenset(folders))


def _end_of(links: Mapping[Path, Path], link: Path) -> Path | None:
    """Where a link leads, also over other links, later ones too; `None` if that is in a circle."""
    passed = {link}
    while (link := links[link]) in links:
        if link in passed:
            return None
        passed.add(link)
    return link


def file_names(parts: Sequence[Path], count: int) -> list[PurePosixPath]:
    """Names of the first files in an archive.

    Raises:
        DownloadError: It is damaged.
    """
    with _telling(parts[0]):
        return [_inside(member.name, parts[0]) for member in islice(_members(parts, None), count)]


def place_of(archive: str, names: Iterable[PurePosixPath], roots: Sequence[str]) -> PurePosixPath:
    """The folder in which an archive's files come to lie where they are looked for.

    Archives differ in how many folders are above a task's own. The first file tells whose path begins as some
    root ends. Where none does, it is a folder named after the archive, if roots lie there, else that of the
    archive.

    Args:
        archive: Its name from the data folder.
        names: Of files in it.
        roots: Folders, from the data folder, where files are looked for.

    Example:
        >>> for name in ("K700/v1/1.png", "cls/K700/v1/1.png"):
        ...     print(place_of("frames/cls.tar.gz", [PurePosixPath(name)], ["frames/cls/K700"]))
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


class _Joined(io.RawIOBase):
    """Files one after another, as one."""

    def __init__(self, files: Sequence[Path], tick: Callable[[int], object] | None) -> None:
        self._rest = list(files)
        self._tick = tick
        self._file: io.FileIO | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # as io gives it
        while True:
            if self._file is None:
                if not self._rest:
                    return 0
                self._file = io.FileIO(self._rest.pop(0))
            count = self._file.readinto(buffer)
            if count:
                if self._tick is not None:
                    self._tick(count)
                return count
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


class _Tape:
    """Blocks of one or more tars, one after another as joined parts may be."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._ahead = b""
        self.at_zeros = False
        """Whether the last block was all zeros, as the one is that ends a tar."""

    def read(self, size: int) -> bytes:
        block = self._ahead or self._stream.read(size)
        self._ahead = b""
        self.at_zeros = bool(block) and not block.strip(b"\0")
        return block

    def more(self) -> bool:
        """Whether anything but zeros is left; then the next `read` gives it. Reads a gzip's checksum."""
        while block := self._stream.read(_BLOCK):
            if block.strip(b"\0"):
                self._ahead = block
                return True
        return False


def _members(parts: Sequence[Path], tick: Callable[[int], object] | None) -> Iterator[_Member]:
    with parts[0].open("rb") as file:
        magic = file.read(4)
    if magic == b"PK\3\4" and len(parts) == 1:
        yield from _of_zip(parts[0], tick)
        return
    with io.BufferedReader(_Joined(parts, tick), _CHUNK) as joined:
        if magic[:2] == b"\x1f\x8b":
            unzipped = gzip.GzipFile(fileobj=joined)
            yield from _of_tar(io.BufferedReader(unzipped, _CHUNK))  # type: ignore[arg-type,type-var]
        else:
            yield from _of_tar(joined)


def _of_tar(stream: io.BufferedIOBase) -> Iterator[_Member]:
    tape = _Tape(stream)
    while tape.more():
        # By blocks, as what is read too much would be missing from the tar that may follow.
        with tarfile.open(fileobj=tape, mode="r|", bufsize=_BLOCK) as tar:  # type: ignore[call-overload]
            while (one := tar.next()) is not None:
                tar.members.clear()  # of which there are millions
                if one.isfile():
                    yield _Member(one.name, one.size, tar.extractfile(one))
                elif one.issym():
                    yield _Member(
                        one.name, 0, None, posixpath.join(posixpath.dirname(one.name), one.linkname)
                    )
                elif one.islnk():
                    yield _Member(one.name, 0, None, one.linkname)
                elif not one.isdir():
                    raise tarfile.TarError(f"{one.name} is neither a file nor a folder")
        if not tape.at_zeros:  # `tarfile` takes a header that is broken for the end
            raise EOFError("it is cut off, or broken in the middle")


def _of_zip(file: Path, tick: Callable[[int], object] | None) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for one in archive.infolist():
            if not one.is_dir():
                with archive.open(one) as content:
                    yield _Member(one.filename, one.file_size, content)
            if tick is not None:
                tick(one.compress_size)


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
def _telling(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGES as error:
        raise DownloadError(
            f"the archive is damaged: {error}",
            fix="Fetch it again with force=True (--force). If it stays so, the one on the hub is damaged.",
            source=str(archive),
        ) from error
