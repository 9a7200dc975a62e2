"""`check`: what of the data of tasks is not there, known before anything runs."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from tqdm.auto import tqdm

from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.media.frames import is_image_file
from vlm2vec.mmeb.data.record import Record, count_frames, noted_counts
from vlm2vec.mmeb.loaders import load
from vlm2vec.mmeb.loaders.annotation_files import tables_of
from vlm2vec.mmeb.loaders.annotation_rows import Rows, check_columns
from vlm2vec.mmeb.loaders.data_folder import DataFolder, column_names
from vlm2vec.mmeb.loaders.documents import Pages
from vlm2vec.mmeb.samples import Content, TaskData
from vlm2vec.mmeb.tasks import Task, list_tasks

__all__ = ["Completeness", "TaskCompleteness", "check", "completeness_of"]

_SHOWN = 3


@dataclass(frozen=True)
class TaskCompleteness:
    """What there is of one task.

    Attributes:
        task: Its name.
        queries: How many there are; `None` where they cannot be read.
        expected: How many the published data have.
        files: Media files that are looked at, as far as annotations and folders tell.
        missing: Those that are not there. A folder stands for the frames of its clip.
        unreadable: Those that are empty, or not to be read by this user.
        short: Folders of clips that have fewer frames than when `download` unpacked them, or are gone.
        problems: What else is wrong, as sentences.
    """

    task: str
    queries: int | None
    expected: int
    files: int = 0
    missing: tuple[Path, ...] = ()
    unreadable: tuple[Path, ...] = ()
    short: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all is there, and as many queries as in the published data."""
        lacking = self.missing or self.unreadable or self.short or self.problems
        return self.queries == self.expected and not lacking

    def __str__(self) -> str:
        lines = [f"{self.task}: {self._counts()}"]
        lines += [f"  {problem}" for problem in _first(self.problems)]
        for what, paths in (
            (f"of {self.files:,} files missing", self.missing),
            (f"of {self.files:,} files empty or unreadable", self.unreadable),
            ("with fewer frames than were unpacked", self.short),
        ):
            if paths:
                lines.append(f"  {len(paths):,} {what}:")
                lines += [f"    {path}" for path in _first(paths)]
        return "\n".join(lines)

    def _counts(self) -> str:
        if self.queries is None:
            return f"published are {self.expected:,} queries"
        of = "" if self.queries == self.expected else f", published are {self.expected:,}"
        return f"{self.queries:,} queries{of}, {self.files:,} files"


def _first(things: Sequence[object]) -> list[str]:
    """Some of them, and how many there are besides."""
    more = [f"and {len(things) - _SHOWN:,} more"] if len(things) > _SHOWN else []
    return [*map(str, things[:_SHOWN]), *more]


@dataclass(frozen=True)
class Completeness:
    """What there is of several tasks; `str()` of it is a list.

    Attributes:
        folder: Where it was looked.
        tasks: What there is of each.
        compat: "v2.0" where its data were looked for.
    """

    folder: Path
    tasks: tuple[TaskCompleteness, ...]
    compat: str | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return all(task.complete for task in self.tasks)

    @property
    def incomplete(self) -> list[str]:
        """Names of tasks of which something is missing."""
        return [task.task for task in self.tasks if not task.complete]

    def __str__(self) -> str:
        lines = [("ok      " if task.complete else "not ok  ") + str(task) for task in self.tasks]
        many = len(self.tasks)
        if self.complete:
            return "\n".join([*lines, "", f"{many} of {many} tasks are complete."])
        lines += ["", f"{many - len(self.incomplete)} of {many} tasks are complete."]
        drawn = {task.name for task in list_tasks("mini")}
        if drawn & set(self.incomplete):
            lines.append("Tasks of the mini suite are drawn when they are needed: there is nothing to fetch.")
        if wanted := [name for name in self.incomplete if name not in drawn]:
            chosen = " ".join(f"-t {name}" for name in wanted)
            compat = f" --compat {self.compat}" if self.compat else ""
            lines += [
                "To fetch the others (with --force, where files of an unpacked archive are gone):",
                f"vlm2vec mmeb download {shlex.quote(str(self.folder))} {chosen}{compat}",
            ]
        return "\n".join(lines)


def check(
    tasks: str | Sequence[str] = "all",
    *,
    data_dir: str | os.PathLike[str],
    compat: Literal["v2.0"] | None = None,
    show_progress_bar: bool | None = None,
) -> Completeness:
    """Look whether all data of tasks are there: annotations, as many queries as published, and media files.

    Nothing is decoded, and of each file only whether it is there and holds anything; of each clip that
    `download` unpacked, whether it still has all frames. The hub is not asked.

    Args:
        tasks: "all", a modality, a meta-task, names of tasks, or a list of these.
        data_dir: Where the data lie.
        compat: "v2.0" for the data that `evaluate` reads with it.
        show_progress_bar: By default only in a terminal.

    Raises:
        InputError: There is no such folder, a word selects no task, or what `download` noted cannot be read.

    Example:
        >>> from tempfile import mkdtemp
        >>> from vlm2vec.mmeb.mini import write_mini
        >>> folder = Path(mkdtemp())
        >>> write_mini(folder, ["mini-I-CLS"])
        >>> print(check("mini-I-CLS", data_dir=folder))
        ok      mini-I-CLS: 80 queries, 80 files
        <BLANKLINE>
        1 of 1 tasks are complete.
        >>> next((folder / "image-tasks").rglob("*.png")).unlink()
        >>> check("mini-I-CLS", data_dir=folder).incomplete
        ['mini-I-CLS']
    """
    folder = Path(data_dir)
    if not folder.is_dir():
        raise InputError("there is no such folder", fix="Check its name.", source=str(folder))
    show = sys.stderr.isatty() if show_progress_bar is None else show_progress_bar
    chosen = [task.as_of(compat) for task in list_tasks(tasks)]
    return completeness_of(chosen, folder, compat=compat, show=show)


def completeness_of(
    tasks: Iterable[Task], folder: Path, *, compat: str | None = None, show: bool = False
) -> Completeness:
    """What `check` says of tasks, as the version of the benchmark has them that `compat` names."""
    record, counts = Record.load(folder), noted_counts(folder)
    found = []
    with tqdm(list(tasks), desc="checking", unit=" tasks", disable=not show) as bar:
        for task in bar:
            bar.set_description(task.name)
            found.append(_check(task, folder, record, counts, compat))
    return Completeness(folder, tuple(found), compat)


def _check(
    task: Task, folder: Path, record: Record, counts: Mapping[str, int], compat: str | None
) -> TaskCompleteness:
    source = _TablesOnly(folder, offline=True)
    problems = [f"unpacking {name} was stopped" for name in record.half_unpacked(task)]
    lacking = list(_lacking(task, source))
    if not lacking:
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                data = load(task, source, compat=compat)
        except VLM2VecError as error:
            lacking.append(_problem(error, task))
    if lacking:
        return TaskCompleteness(task.name, None, task.queries, problems=(*problems, *lacking))
    states = {file: _state(file) for file in _media(data)}
    return TaskCompleteness(
        task.name,
        queries=len(data.queries),
        expected=task.queries,
        files=len(states),
        missing=tuple(file for file, state in states.items() if state == "missing"),
        unreadable=tuple(file for file, state in states.items() if state == "unreadable"),
        short=tuple(_short_clips(data, folder, source.find_media_root(task), counts)),
        problems=(*problems, *(str(one.message) for one in warned)),
    )


class _TablesOnly(DataFolder):
    """Gives rows as a `DataFolder`; of columns too large for memory, pictures, only that they are there."""

    def lazy_rows(self, task: Task, table: str | None, *, columns: Sequence[str]) -> Rows:
        """One row, with nothing in it, for as many as there are.

        Raises:
            MissingDataError: They are not in the folder.
            InputError: They cannot be read, or a column is missing.
        """
        files = self._files(task, table)
        if not files:
            raise self._missing(task, table, "the hub is not asked")
        for file in files if files[0].suffix == ".parquet" else ():
            check_columns(column_names(file, source=task.name), columns, source=f"{task.name}, {table}")
        return [{}]


def _lacking(task: Task, source: _TablesOnly) -> Iterator[str]:
    """What is missing as a whole: the folder of the media, where pages are not in tables, and tables."""
    required: list[Callable[[], object]] = [
        partial(source.lazy_rows, task, table, columns=()) for table in tables_of(task)
    ]
    if not task.layout.endswith("_documents"):
        required.insert(0, partial(source.media_root, task))
    for find in required:
        try:
            find()
        except VLM2VecError as error:
            yield _problem(error, task)


def _media(data: TaskData) -> Iterator[Path]:
    """The files that samples are made of; pages without a file are in the corpus, if that has pictures."""
    if isinstance(data.candidates, Pages):
        pages = data.candidates
        yield from (file for key, file in pages.files.items() if not (pages.table and key in pages.rows))
    for content in _contents(data):
        yield from content.frames
        if isinstance(content.image, Path):
            yield content.image


def _contents(data: TaskData) -> Iterator[Content]:
    yield from (query.content for query in data.queries)
    if not isinstance(data.candidates, Pages):
        yield from data.candidates.values()


def _short_clips(
    data: TaskData, folder: Path, root: Path | None, counts: Mapping[str, int]
) -> Iterator[Path]:
    """Clips of which frames are gone since they were unpacked.

    Where each video has a folder of clips, all of them are candidates: one that is gone would not be missed.
    """
    contents = (content for content in _contents(data) if content.frames)
    clips = {content.frames[0].parent for content in contents if is_image_file(content.frames[0])}
    of_videos = {clip.parent for clip in clips} - {root}
    for name, had in counts.items():
        clip = folder / name
        if (clip in clips or clip.parent in of_videos) and count_frames(clip) < had:
            yield clip


def _state(file: Path) -> Literal["good", "missing", "unreadable"]:
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:
        return "unreadable"
    if not stat.S_ISREG(found.st_mode):
        return "missing"
    return "good" if found.st_size and os.access(file, os.R_OK) else "unreadable"


def _problem(error: VLM2VecError, task: Task) -> str:
    source = (error.source or "").removeprefix(task.name).lstrip(", ")
    return f"{source}: {error.cause}" if source else error.cause
