"""`Plan`: what a download will fetch and unpack, known before it begins."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlm2vec.mmeb.data.hub import DownloadError, Listing
from vlm2vec.mmeb.data.record import Record

__all__ = ["Annotations", "Archive", "Plan"]


@dataclass(frozen=True)
class Annotations:
    """Files of a repository, and the tasks whose annotations they are."""

    listing: Listing
    tasks: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Archive:
    """An archive, whole or in parts.

    Attributes:
        name: From the data folder, without the parts' numbers.
        listing: The repository that it is in.
        parts: Names of its files there, in order.
        roots: Where files of it are looked for, by all tasks that share it.
    """

    name: str
    listing: Listing
    parts: tuple[str, ...]
    roots: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(self.listing.files[part].size for part in self.parts)

    @property
    def content(self) -> list[str]:
        """What tells its content from that of another commit."""
        return [self.listing.files[part].content for part in self.parts]


@dataclass(frozen=True)
class Plan:
    """What is to be fetched; `str()` of it says how much, and how much room there is.

    Attributes:
        folder: The data folder.
        annotations: Whether there already or not.
        archives: Those not unpacked yet.
        fetched: Bytes that have to come over the network.
        unpacked: Bytes of the archives; their files will take about as much again.
        room: Bytes that are needed, at least: those of archives that were begun to be unpacked are not in it.
        free: Bytes that the disk has.
    """

    folder: Path
    annotations: tuple[Annotations, ...]
    archives: tuple[Archive, ...]
    fetched: int
    unpacked: int
    room: int
    free: int

    @classmethod
    def of(
        cls, record: Record, annotations: Sequence[Annotations], archives: Sequence[Archive], *, delete: bool
    ) -> Plan:
        """The plan that fetches these.

        Args:
            record: Of the data folder.
            annotations: Those wanted.
            archives: Those wanted and not unpacked.
            delete: Whether each archive is removed before the next one comes.
        """
        folder = record.folder
        tables = sum(
            _left(one.listing, one.names, folder / "annotations" / one.listing.repo) for one in annotations
        )
        left = [_left(one.listing, one.parts, folder) for one in archives]
        begun = {name for name, known in record.archives.items() if not known["complete"]}
        unpacked = sum(one.size for one in archives if one.name not in begun)
        existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        return cls(
            folder=folder,
            annotations=tuple(annotations),
            archives=tuple(archives),
            fetched=tables + sum(left),
            unpacked=sum(one.size for one in archives),
            room=tables + (max(left, default=0) if delete else sum(left)) + unpacked,
            free=shutil.disk_usage(existing).free,
        )

    def require_room(self) -> None:
        """Check that the disk has room.

        Raises:
            DownloadError: It has not.
        """
        if self.room > self.free:
            raise DownloadError(
                f"about {_bytes(self.room)} are needed, and {_bytes(self.free)} are free",
                fix="Free some space, choose fewer tasks, or pass delete_archives=True (--delete-archives).",
                source=str(self.folder),
            )

    def __str__(self) -> str:
        files = sum(len(one.names) for one in self.annotations) + sum(len(one.parts) for one in self.archives)
        unpack = (
            f", and unpack {len(self.archives)} archives of {_bytes(self.unpacked)}" if self.archives else ""
        )
        return (
            f"to fetch: {_bytes(self.fetched)} of {files} files{unpack}; "
            f"needed: about {_bytes(self.room)}, free: {_bytes(self.free)}"
        )


def _left(listing: Listing, names: Iterable[str], folder: Path) -> int:
    """Bytes of the files that are not there in their size."""
    sizes = {name: listing.files[name].size for name in names}
    return sum(
        size
        for name, size in sizes.items()
        if not (folder / name).is_file() or (folder / name).stat().st_size != size
    )


def _bytes(count: int) -> str:
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" else f"{size:.1f} {units[0]}"
