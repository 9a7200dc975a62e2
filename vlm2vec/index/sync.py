"""`sync`: a folder is walked, compared with what is known of it, and what is new encoded and written.

walk -> compare by size and time -> by content where those differ -> encode_stream -> write a batch -> note it
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from vlm2vec.errors import MediaError, VLM2VecError
from vlm2vec.index.encoder import Encoder
from vlm2vec.index.manifest import Failure, FileRecord, Manifest
from vlm2vec.index.rows import Row
from vlm2vec.index.segments import Segment, is_ours, segments_of
from vlm2vec.index.walk import Found, Walk
from vlm2vec.index.writer import Writer
from vlm2vec.sameness import file_digest

__all__ = ["SyncReport", "Synchroniser"]

# A file that was written this short before it was looked at may change again without another time, in
# nanoseconds.
_TICK = 2_000_000_000
# What was encoded is written at least this often, in seconds, so that a stop costs little.
_OFTEN = 20.0


@dataclass
class SyncReport:
    """What a `sync` has done.

    Attributes:
        new: Files that were not there before.
        changed: Files with another content.
        moved: Files whose content was known under another name, and was not encoded again.
        removed: Files that are gone.
        unchanged: Files that are as they were.
        rows: Rows that were encoded.
        failures: What could not be embedded, of this time and of before: one for each file or part.
        unknown: Files of kinds that cannot be embedded, by suffix.
        unsettled: Files that changed while they were read; the next `sync` takes them.
        seconds: That it took.
    """

    new: int = 0
    changed: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    rows: int = 0
    failures: list[Failure] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    unsettled: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_news(self) -> bool:
        """Whether anything was done."""
        return bool(self.new or self.changed or self.moved or self.removed)

    def __str__(self) -> str:
        names = ("new", "changed", "moved", "removed", "unchanged")
        counts = [f"{getattr(self, name):,} {name}" for name in names if getattr(self, name)]
        said = ", ".join(counts) or "no files"
        broken = f"; {len(self.failures):,} could not be read" if self.failures else ""
        return f"{said}{broken}; {self.rows:,} rows encoded in {self.seconds:.1f} s"


@dataclass(eq=False)
class _Job:
    """A file that is being encoded.

    Attributes:
        found: The file as it was before it was read.
        old: What was known of it.
        content: Digest of its bytes.
        total: How many segments it has; `None` while that is not known.
        done: How many of them have come back.
        rows: Those that have a vector.
        failures: What was wrong.
    """

    found: Found
    old: FileRecord | None
    content: str | None
    total: int | None = None
    done: int = 0
    kind: str = "broken"
    rows: list[tuple[Segment, npt.NDArray[np.float32]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def fails(self, error: VLM2VecError, part: str = "") -> None:
        fix = f" {error.fix}" if error.fix else ""
        self.failures.append(Failure(self.found.path, part, f"{error.cause}.{fix}"))


class Synchroniser:
    """One `sync` of one folder.

    Args:
        writer: Of the index.
        root: Number of the folder.
        folder: The folder.
        encoder: Of the index.
        batch_size: Rows that are encoded and written at a time.
        retry_failed: Whether files that failed are tried again though they are as they were.
    """

    def __init__(
        self,
        writer: Writer,
        root: int,
        folder: Path,
        encoder: Encoder,
        *,
        batch_size: int,
        retry_failed: bool,
    ) -> None:
        self._writer = writer
        self._manifest: Manifest = writer.manifest
        self._root = root
        self._folder = folder
        self._encoder = encoder
        self._batch_size = batch_size
        self._failing = self._manifest.failing(root) if retry_failed else frozenset()
        self._finished: list[_Job] = []
        self._written = time.monotonic()
        self.report = SyncReport()

    def run(self, walk: Walk, *, show_progress_bar: bool) -> SyncReport:
        """Bring the index to what the folder holds."""
        start = time.perf_counter()
        known = self._manifest.files(self._root)
        work = self._compared(walk, known)
        if work:
            self._encode(work, show_progress_bar=show_progress_bar)
        self._note_unreadable(walk)
        report = self.report
        report.failures = self._manifest.failures(self._root)
        report.seconds = time.perf_counter() - start
        return report

    def _compared(self, walk: Walk, known: Mapping[str, FileRecord]) -> list[_Job]:
        """What is to be encoded; what is gone, was moved or only touched is written at once."""
        gone = {path: old for path, old in known.items() if path not in walk.files and not walk.hides(path)}
        by_size: dict[int, list[FileRecord]] = {}
        for record in known.values():
            if record.content is not None:
                by_size.setdefault(record.size, []).append(record)
        work: list[_Job] = []
        settled: list[tuple[FileRecord, FileRecord]] = []  # as it was, as it is
        copied: list[tuple[FileRecord, FileRecord]] = []
        for path, found in walk.files.items():
            old = known.get(path)
            if old is not None and self._is_unchanged(found, old):
                self._count_unchanged(old)
                continue
            now = time.time_ns()
            content = None
            if old is not None and old.size == found.size and old.content is not None:
                content = _content_of(self._folder / path)
                if content == old.content and old.id not in self._failing:
                    settled.append((old, replace(old, modified=found.modified, seen=now)))
                    self._count_unchanged(old)
                    continue
            source = None
            if found.size in by_size and (old is None or old.id not in self._failing):
                content = content or _content_of(self._folder / path)
                source = _alike(path, content, by_size[found.size])
            if source is not None:
                copy = FileRecord(
                    self._writer.new_file(), self._root, path, found.size, found.modified, now, content,
                    source.kind, source.rows,
                )  # fmt: skip
                copied.append((source, copy))
                if source.kind == "other":
                    self.report.unknown[Path(path).suffix.lower() or "no suffix"] += 1
                else:
                    self.report.moved += 1
                continue
            work.append(_Job(found, old, content))
        replaced = [known[copy.path] for _, copy in copied if copy.path in known]
        self._writer.move(settled, copied, [*gone.values(), *replaced])
        self.report.removed = sum(record.kind != "other" for record in gone.values())
        moved_away = sum(source.path in gone for source, _ in copied if source.kind != "other")
        self.report.removed -= min(self.report.removed, moved_away)
        return work

    def _is_unchanged(self, found: Found, old: FileRecord) -> bool:
        if (found.size, found.modified) != (old.size, old.modified):
            return False
        if old.id in self._failing or (old.kind == "broken" and old.content is None):
            return False
        # Written in the same tick of the clock in which it was looked at: it may have changed again.
        return old.seen - old.modified > _TICK or old.content is None

    def _count_unchanged(self, old: FileRecord) -> None:
        if old.kind == "other":
            self.report.unknown[Path(old.path).suffix.lower() or "no suffix"] += 1
        else:
            self.report.unchanged += 1

    def _encode(self, work: list[_Job], *, show_progress_bar: bool) -> None:
        pending: deque[tuple[_Job, Segment]] = deque()
        wrong: dict[int | None, VLM2VecError] = {}
        # A bar that is not shown would start tqdm's monitor thread all the same.
        bar = tqdm(total=len(work), desc="Indexing", unit=" files") if show_progress_bar else None
        try:
            rows = self._encoder.documents(
                self._inputs(work, pending, bar), on_error=wrong.__setitem__, window=self._batch_size
            )
            for index, vector in rows:
                job, segment = pending.popleft()
                error = wrong.pop(index, None)
                if error is None:
                    job.rows.append((segment, vector))
                else:
                    job.fails(error, segment.name)
                job.done += 1
                self._finish(job, bar)
                waiting = sum(len(done.rows) for done in self._finished)
                if waiting >= self._batch_size or time.monotonic() - self._written > _OFTEN:
                    self._write()
            self._write()
        finally:
            if bar is not None:
                bar.close()

    def _inputs(self, work: Iterable[_Job], pending: deque[tuple[_Job, Segment]], bar: Any) -> Iterator[Any]:
        """The inputs of all segments, read as they are asked for; each file's bytes are digested first."""
        encoder = self._encoder
        limits, context = encoder.limits, encoder.context
        for job in work:
            path, total = self._folder / job.found.path, 0
            try:
                job.content = job.content or file_digest(path)
                for segment in segments_of(
                    path, encoder.settings, limits=limits, count=encoder.count, context=context
                ):
                    total += 1
                    job.kind = segment.kind
                    pending.append((job, segment))
                    yield segment.content
            except VLM2VecError as error:
                if not total and not is_ours(path):
                    job.kind = "other"
                else:
                    job.fails(error)
            except OSError as error:
                job.fails(MediaError(f"the file cannot be read ({error.strerror or error})"))
            job.total = total
            self._finish(job, bar)

    def _finish(self, job: _Job, bar: Any) -> None:
        if job.done != job.total:
            return
        if bar is not None:
            bar.update()
        self._finished.append(job)

    def _write(self) -> None:
        """Write what is finished: rows first, then what is known of the files."""
        self._written = time.monotonic()
        jobs, self._finished = self._finished, []
        records: list[tuple[FileRecord, list[Failure]]] = []
        rows: list[Row] = []
        vectors: list[npt.NDArray[np.float32]] = []
        replaced: list[int] = []
        for job in jobs:
            found = job.found
            if not _is_as_found(self._folder / found.path, found):
                self.report.unsettled.append(found.path)
                continue
            whole = [] if any(not failure.part for failure in job.failures) else job.rows
            number = self._writer.new_file() if job.old is None else job.old.id
            kind = "broken" if job.failures and not whole else job.kind
            record = FileRecord(
                number, self._root, found.path, found.size, found.modified, time.time_ns(), job.content,
                kind, len(whole),
            )  # fmt: skip
            records.append((record, job.failures))
            replaced += [number] if job.old is not None and job.old.rows else []
            rows += [_row(segment, record) for segment, _ in whole]
            vectors += [vector for _, vector in whole]
            self._count(job, kind, len(whole))
        if records:
            self._writer.write(records, rows, np.array(vectors, dtype=np.float32), replaced=replaced)

    def _count(self, job: _Job, kind: str, rows: int) -> None:
        self.report.rows += rows
        if kind == "other":
            self.report.unknown[Path(job.found.path).suffix.lower() or "no suffix"] += 1
        elif job.old is None or job.old.kind == "other":
            self.report.new += 1
        else:
            self.report.changed += 1

    def _note_unreadable(self, walk: Walk) -> None:
        """Folders and links that cannot be read are told as broken files are, and looked at each time."""
        now = [Failure(path, "", reason) for path, reason in walk.unreadable.items()]
        before = [failure for failure in self._manifest.failures(self._root) if _is_of_folder(failure, walk)]
        if now or before:
            self._writer.note_unreadable(self._root, now)


def _is_of_folder(failure: Failure, walk: Walk) -> bool:
    return failure.path not in walk.files


def _alike(path: str, content: str | None, candidates: Iterable[FileRecord]) -> FileRecord | None:
    """A file with this content, read alike: FFmpeg may choose by the suffix how it reads a video."""
    suffix = Path(path).suffix.lower()
    return next(
        (
            old
            for old in candidates
            if old.content == content and Path(old.path).suffix.lower() == suffix and old.kind != "broken"
        ),
        None,
    )


def _content_of(path: Path) -> str | None:
    try:
        return file_digest(path)
    except OSError:
        return None


def _is_as_found(path: Path, found: Found) -> bool:
    try:
        status = path.stat()
    except OSError:
        return found.size < 0
    return (status.st_size, status.st_mtime_ns) == (found.size, found.modified)


def _row(segment: Segment, record: FileRecord) -> Row:
    folder = "" if record.root == 1 else f"{record.root}:"
    return Row(
        id=f"{folder}{record.path}{segment.fragment}",
        file=record.id,
        root=record.root,
        path=record.path,
        kind=segment.kind,
        part=segment.part,
        page=segment.page,
        start=segment.start,
        end=segment.end,
        modified=record.modified,
        text=segment.text,
    )
