"""Asks the hub what tasks need, and makes a plan of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm.auto import tqdm

from vlm2vec.errors import InputError
from vlm2vec.mmeb.data.hub import DownloadError, Listing, fetch, list_files
from vlm2vec.mmeb.data.plan import Annotations, Archive, Plan
from vlm2vec.mmeb.data.record import Record
from vlm2vec.mmeb.data.tables import tables_of
from vlm2vec.mmeb.loaders.annotation_files import annotation_files
from vlm2vec.mmeb.tasks import Task, list_tasks

__all__ = ["make_plan"]

_CARD = "README.md"


def make_plan(
    tasks: Sequence[Task],
    record: Record,
    *,
    revision: str | Mapping[str, str] | None = None,
    media: bool = True,
    page_archives: bool = False,
    delete_archives: bool = False,
    force: bool = False,
    show: bool = False,
) -> Plan:
    """Ask the hub what the chosen tasks need.

    Args:
        tasks: Which.
        record: What the data folder has already.
        revision: As `download`.
        media: Whether archives are wanted at all.
        page_archives: Whether those of visual documents are, whose pages the annotations hold too.
        delete_archives: Whether room is needed for one archive at a time only.
        force: Whether archives are wanted that were unpacked.
        show: Whether there is a progress bar.

    Raises:
        DownloadError: Repositories cannot be had, or lack files; all of them are named.
        InputError: `revision` names a repository that none of the tasks has.
    """
    wanted = {
        task.name for task in tasks if media and task.archives and (page_archives or not task.data_roots)
    }
    repos = dict.fromkeys([task.repo for task in tasks])
    repos |= dict.fromkeys([task.media_repo for task in tasks if task.name in wanted])
    revisions = _revisions(repos, tasks, revision, record)
    problems: list[DownloadError] = []
    listings: dict[str, Listing] = {}
    annotations: list[Annotations] = []
    for repo in tqdm(repos, desc="asking the hub", unit=" repositories", disable=not show):
        try:
            listings[repo] = list_files(repo, revisions[repo])
            if asking := [task for task in tasks if task.repo == repo]:
                annotations.append(_annotations(listings[repo], asking))
        except DownloadError as error:
            problems.append(error)
    patterns = dict.fromkeys(
        (task.media_repo, pattern) for task in tasks if task.name in wanted for pattern in task.archives
    )
    archives: list[Archive] = []
    for repo, pattern in patterns:
        try:
            if repo in listings:
                archives.append(_archive(pattern, listings[repo], tasks))
        except DownloadError as error:
            problems.append(error)
    _raise_all(problems)
    new = [one for one in archives if force or not record.unpacked(one.name, one.content)]
    return Plan.of(record, annotations, new, delete=delete_archives)


def _revisions(
    repos: Iterable[str], tasks: Sequence[Task], given: str | Mapping[str, str] | None, record: Record
) -> dict[str, str | None]:
    """Of each repository what was asked for, else what its tasks demand, else what is there already."""
    repos = list(repos)
    asked = dict.fromkeys(repos, given) if isinstance(given, str) else dict(given or {})
    if unknown := [repo for repo in asked if repo not in repos]:
        raise InputError(
            f"there is a revision for {unknown[0]}, which none of the chosen tasks needs",
            fix=f"They need {', '.join(repos)}.",
        )
    pinned = {task.repo: task.revision for task in tasks if task.revision}
    return {repo: asked.get(repo) or pinned.get(repo) or record.commit(repo) for repo in repos}


def _annotations(listing: Listing, tasks: Sequence[Task]) -> Annotations:
    """The files that loaders will read: the same rule, on empty files of the same names."""
    names: dict[str, None] = {}
    with TemporaryDirectory(prefix="vlm2vec-mmeb-") as made:
        folder = Path(made)
        for name in listing.files:
            if name.endswith((".parquet", ".json", ".jsonl")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).touch()
        if _CARD in listing.files:
            fetch(listing, [_CARD], folder, show=False)
            names[_CARD] = None
        for task in tasks:
            for table in tables_of(task):
                files = annotation_files(folder, table, task.split)
                if not files:
                    what = f'split "{task.split}"' + (f' of "{table}"' if table else "")
                    there = ", ".join(sorted(listing.files)[:9]) or "no files"
                    raise DownloadError(
                        f"there are no files of {task.name}, {what}, at commit {listing.commit}",
                        fix=f"Pass another revision; this one has {there}.",
                        source=listing.repo,
                    )
                names.update(dict.fromkeys(file.relative_to(folder).as_posix() for file in files))
    return Annotations(listing, tuple(task.name for task in tasks), tuple(names))


def _archive(pattern: str, listing: Listing, tasks: Sequence[Task]) -> Archive:
    name = pattern.removesuffix("*")
    parts = [name] if name in listing.files else sorted(
        (one for one in listing.files if fnmatchcase(one, pattern)), key=_number
    )  # fmt: skip
    if not parts or _gap([_number(part)[0] for part in parts]):
        only = f"only {', '.join(parts)} of it" if parts else "no such file"
        what = f"the archive {pattern} is not there, {only}"
        raise DownloadError(
            f"{what}, at commit {listing.commit}",
            fix="Pass another revision, or media=False (--no-media) for annotations alone.",
            source=listing.repo,
        )
    sharing = [
        task
        for task in (*list_tasks(), *tasks)
        if task.media_repo == listing.repo and pattern in task.archives
    ]
    roots = dict.fromkeys(root for task in sharing for root in (*task.roots, *task.data_roots))
    return Archive(name, listing, tuple(parts), tuple(roots))


def _number(part: str) -> tuple[int, str]:
    """Number at the end of a part's name; -1 without one, where names are in order, as `aa` and `ab`."""
    digits = re.search(r"\d+$", part)
    return (int(digits[0]) if digits else -1), part


def _gap(numbers: Sequence[int]) -> bool:
    """Whether some of the parts from 0 or 1 on are not there."""
    return numbers[0] >= 0 and len(numbers) > 1 and list(numbers) not in (
        list(range(len(numbers))), list(range(1, len(numbers) + 1))
    )  # fmt: skip


def _raise_all(problems: Sequence[DownloadError]) -> None:
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise DownloadError(
            f"{len(problems)} repositories cannot be had:\n"
            + "\n".join(f"  {one}" for one in problems).rstrip("."),
            fix="Choose other tasks, or mend these.",
        )
