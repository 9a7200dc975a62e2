"""`download`: the data of tasks fetched from the hub, unpacked and checked."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from tqdm.auto import tqdm

from vlm2vec.errors import InputError
from vlm2vec.mmeb.data.archives import file_names, place_of, unpack
from vlm2vec.mmeb.data.completeness import Completeness, completeness_of
from vlm2vec.mmeb.data.frame_counts import note_counts, noted_counts
from vlm2vec.mmeb.data.hub import DownloadError, fetch, told
from vlm2vec.mmeb.data.plan import Annotations, Archive, Plan
from vlm2vec.mmeb.data.planning import make_plan
from vlm2vec.mmeb.data.record import Record
from vlm2vec.mmeb.tasks import list_tasks

__all__ = ["download"]

_PEEK = 100
"""Files of an archive that are looked at to tell where it belongs."""

logger = logging.getLogger(__name__)


def download(
    tasks: str | Sequence[str] = "all",
    *,
    data_dir: str | os.PathLike[str],
    revision: str | Mapping[str, str] | None = None,
    media: bool = True,
    page_archives: bool = False,
    compat: Literal["v2.0"] | None = None,
    delete_archives: bool = False,
    force: bool = False,
    dry_run: bool = False,
    report: Callable[[str], object] = logger.info,
    show_progress_bar: bool | None = None,
) -> Completeness:
    """Fetch annotations and media of tasks, unpack them, and check that all is there.

    Stopped anywhere, it goes on when it is called again. What was fetched, and from which commits, is noted
    in `data_dir/downloads.json`, and how many frames each clip has in `data_dir/unpacked_frames.json`. A
    folder stays with the commits that it was begun with, unless others are asked for: `revision="main"`
    fetches what is newest.

    Args:
        tasks: "all", a modality, a meta-task, names of tasks, or a list of these.
        data_dir: Where to; made if it is not there.
        revision: Commit, branch or tag to fetch: for all repositories, or by repository.
        media: Whether archives of pictures and frames are fetched, too.
        page_archives: Whether those of visual documents are. Pages come with the annotations without them.
        compat: "v2.0" for the data that `evaluate` reads with it.
        delete_archives: Remove each archive when it is unpacked.
        force: Fetch and unpack again what was unpacked.
        dry_run: Fetch nothing: only report the plan, check that there is room, and say what is there.
        report: Told, before anything is fetched, how much it will be and how much room there is.
        show_progress_bar: By default only in a terminal.

    Returns:
        What `check` says of these tasks afterwards.

    Raises:
        DownloadError: The hub does not give something, the disk has no room, or an archive is damaged.
        InputError: No task is chosen, or there is a revision for a repository that is not needed.
    """
    mini = {task.name for task in list_tasks("mini")}
    chosen = [task.as_of(compat) for task in list_tasks(tasks) if task.name not in mini]
    if not chosen:
        raise InputError("there is nothing to fetch", fix='Tasks of "mini" are drawn when they are needed.')
    show = sys.stderr.isatty() if show_progress_bar is None else show_progress_bar
    folder = Path(data_dir)
    with _alone(folder, dry_run):
        record = Record.load(folder)
        noted_counts(folder)  # may not be readable, which is better told before anything is fetched
        plan = make_plan(
            chosen,
            record,
            revision=revision,
            media=media,
            page_archives=page_archives,
            delete_archives=delete_archives,
            force=force,
            show=show,
        )
        report(str(plan))
        plan.require_room()
        if not dry_run:
            _carry_out(plan, record, delete_archives, force, show)
    return completeness_of(chosen, folder, compat=compat, show=show)


def _carry_out(plan: Plan, record: Record, delete: bool, force: bool, show: bool) -> None:
    fetched: list[Annotations | Archive] = [*plan.annotations, *plan.archives]
    record.begin(one.listing for one in fetched)
    for one in plan.annotations:
        _fetch_annotations(one, record, show)
    for archive in plan.archives:
        files = [record.folder / part for part in archive.parts]
        if force:
            for file in files:
                file.unlink(missing_ok=True)
        fetch(archive.listing, archive.parts, record.folder, show=show)
        record.fetched(archive.listing, archive.parts)
        _unpack(archive, files, record, show)
        if delete:  # now, as the next one may need the room
            record.delete_archives()
    if delete:
        record.delete_archives()


def _fetch_annotations(annotations: Annotations, record: Record, show: bool) -> None:
    listing = annotations.listing
    folder = record.folder / "annotations" / listing.repo
    fetch(listing, annotations.names, folder, show=show)
    for name in record.fetched(listing, annotations.names):
        (folder / name).unlink(missing_ok=True)  # a table in other files would be read twice
    for task in annotations.tasks:
        record.tasks.setdefault(task, {})[listing.repo] = listing.commit
    record.save()


def _unpack(archive: Archive, files: Sequence[Path], record: Record, show: bool) -> None:
    place = place_of(archive.name, file_names(files, _PEEK), archive.roots)
    known = {
        "repo": archive.listing.repo,
        "commit": archive.listing.commit,
        "content": archive.content,
        "parts": list(archive.parts),
        "into": place.as_posix(),
    }
    record.archives[archive.name] = {**known, "complete": False}
    record.save()
    name = Path(archive.name).name
    with tqdm(
        total=archive.size, desc=f"unpacking {name}", unit="B", unit_scale=True, disable=not show
    ) as bar:
        try:
            unpacked = unpack(files, record.folder / place, tick=bar.update)
        except OSError as error:
            raise told(error, archive.name) from error
    note_counts(record.folder, unpacked.folders)
    record.archives[archive.name] = {
        **known,
        "complete": True,
        "files": unpacked.files,
        "bytes": unpacked.size,
    }
    record.save()


@contextmanager
def _alone(folder: Path, dry_run: bool) -> Iterator[None]:
    """Keeps others from downloading into the same folder at the same time."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # not re-exported by name

    with ExitStack() as stack:
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(WeakFileLock(folder / ".downloads.lock", timeout=1))
            except TimeoutError as error:
                raise DownloadError(
                    "another download into this folder is running",
                    fix="Wait for it, or stop it.",
                    source=str(folder),
                ) from error
        yield
