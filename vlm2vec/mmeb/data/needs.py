"""`needs_of`: which files of the hub's repositories tasks need, tables and archives of media."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm.auto import tqdm

from vlm2vec.errors import InputError
from vlm2vec.mmeb.data.hub import DownloadError, Listing, fetch, list_files, missing_bytes
from vlm2vec.mmeb.data.record import Record
from vlm2vec.mmeb.loaders.annotation_files import annotation_files, tables_of
from vlm2vec.mmeb.tasks import Task, list_tasks

__all__ = ["Need", "needs_of"]

_CARD = "README.md"


@dataclass(frozen=True)
class Need:
    """Files of a repository that are needed: tables of annotations, or all parts of an archive.

    Attributes:
        listing: The repository.
        names: Of the files in it, in order.
        folder: Where they are fetched into.
        tasks: Whose annotations they are; empty for an archive.
        archive: Its name without the parts' numbers; "" for tables.
        roots: Folders in which files of the archive are looked for, by all tasks that share it.
    """

    listing: Listing
    names: tuple[str, ...]
    folder: Path
    tasks: tuple[str, ...] = ()
    archive: str = ""
    roots: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Where each file is, or will be."""
        return [self.folder / name for name in self.names]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.listing.sizes[name] for name in self.names)

    @property
    def missing_bytes(self) -> int:
        """Bytes of the files that are not there in their size."""
        return missing_bytes(self.listing, self.names, self.folder)

    @property
    def content(self) -> list[str]:
        """What tells the files' content from that of another commit."""
        return [self.listing.digests[name] for name in self.names]


def needs_of(
    tasks: Sequence[Task],
    record: Record,
    *,
    revision: str | Mapping[str, str] | None,
    media: bool,
    page_archives: bool,
    show: bool,
) -> list[Need]:
    """Ask the hub what the chosen tasks need, whether it is there already or not: tables, then archives.

    Raises:
        DownloadError: Repositories cannot be had, or lack files; all of them are named.
        InputError: `revision` names a repository that none of the tasks has.
    """
    patterns = dict.fromkeys(
        (task.media_repo, pattern)
        for task in tasks
        if media and (page_archives or not task.data_roots)
        for pattern in task.archives
    )
    repos = list(dict.fromkeys([task.repo for task in tasks] + [repo for repo, _ in patterns]))
    revisions = _revisions(repos, tasks, revision, record)
    needs: list[Need] = []
    problems: list[DownloadError] = []
    for repo in tqdm(repos, desc="asking the hub", unit=" repositories", disable=not show):
        try:
            listing = list_files(repo, revisions[repo])
            if asking := [task for task in tasks if task.repo == repo]:
                needs.append(_tables(listing, asking, record.folder))
            archives = [pattern for media_repo, pattern in patterns if media_repo == repo]
            needs += [_archive(pattern, listing, tasks, record.folder) for pattern in archives]
        except DownloadError as error:
            problems.append(error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DownloadError(
            f"{len(problems)} repositories cannot be had:\n"
            + "\n".join(f"  {one}" for one in problems).rstrip("."),
            fix="Choose other tasks, or mend these.",
        )
    return needs


def _revisions(
    repos: Sequence[str], tasks: Iterable[Task], given: str | Mapping[str, str] | None, record: Record
) -> dict[str, str | None]:
    """Of each repository what was asked for, else what its tasks demand, else what is there already."""
    asked = dict.fromkeys(repos, given) if isinstance(given, str) else dict(given or {})
    if unknown := [repo for repo in asked if repo not in repos]:
        raise InputError(
            f"there is a revision for {unknown[0]}, which none of the chosen tasks needs",
            fix=f"They need {', '.join(repos)}.",
        )
    pinned = {task.repo: task.revision for task in tasks if task.revision}
    return {repo: asked.get(repo) or pinned.get(repo) or record.commit(repo) for repo in repos}


def _tables(listing: Listing, tasks: Sequence[Task], data_dir: Path) -> Need:
    """The files that loaders will read: the same rule, on empty files of the same names."""
    with TemporaryDirectory(prefix="vlm2vec-mmeb-") as made:
        folder = Path(made)
        for name in listing.sizes:
            if name.endswith((".parquet", ".json", ".jsonl")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).touch()
        names = [_CARD] if _CARD in listing.sizes else []
        if names:
            fetch(listing, names, folder, show=False)
        for task in tasks:
            for table in tables_of(task):
                files = annotation_files(folder, table, task.split)
                if not files:
                    what = f'split "{task.split}"' + (f' of "{table}"' if table else "")
                    there = ", ".join(sorted(listing.sizes)[:9]) or "no files"
                    raise DownloadError(
                        f"there are no files of {task.name}, {what}, at commit {listing.commit}",
                        fix=f"Pass another revision; this one has {there}.",
                        source=listing.repo,
                    )
                names += [file.relative_to(folder).as_posix() for file in files]
    target = data_dir / "annotations" / listing.repo
    return Need(listing, tuple(dict.fromkeys(names)), target, tasks=tuple(task.name for task in tasks))


def _archive(pattern: str, listing: Listing, tasks: Sequence[Task], data_dir: Path) -> Need:
    """An archive in one file, or in parts numbered from 0 or 1 on or lettered, as `aa` and `ab`."""
    name = pattern.removesuffix("*")
    found = [name] if name in listing.sizes else [one for one in listing.sizes if fnmatchcase(one, pattern)]
    parts = sorted(found, key=lambda part: (_number(part), part))
    numbers = [_number(part) for part in parts]
    numbered = len(parts) > 1 and numbers[0] >= 0
    if not parts or (numbered and numbers not in [list(range(i, i + len(parts))) for i in (0, 1)]):
        only = f"only {', '.join(parts)} of it" if parts else "no such file"
        raise DownloadError(
            f"the archive {pattern} is not there, {only}, at commit {listing.commit}",
            fix="Pass another revision, or media=False (--no-media) for annotations alone.",
            source=listing.repo,
        )
    sharing = [
        task
        for task in (*list_tasks(), *tasks)
        if task.media_repo == listing.repo and pattern in task.archives
    ]
    roots = dict.fromkeys(root for task in sharing for root in (*task.roots, *task.data_roots))
    return Need(listing, tuple(parts), data_dir, archive=name, roots=tuple(roots))


def _number(part: str) -> int:
    """The number at the end of a part's name; -1 without one."""
    digits = re.search(r"\d+$", part)
    return int(digits[0]) if digits else -1
