"""`download`: the data of tasks fetched from the hub, unpacked and checked."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from vlm2vec.errors import InputError
from vlm2vec.folder_lock import locked
from vlm2vec.mmeb.data.archives import file_names, target_folder, unpack
from vlm2vec.mmeb.data.completeness import Completeness, completeness_of
from vlm2vec.mmeb.data.hub import DownloadError, as_download_error, fetch
from vlm2vec.mmeb.data.needs import Need, needs_of
from vlm2vec.mmeb.data.record import Record, note_counts, noted_counts
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
    folder stays with the commits that it was started with, unless others are asked for: `revision="main"`
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
        report: Called, before anything is fetched, with how much it will be and how much room there is.
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
        noted_counts(folder)  # may not be readable, which is better known before anything is fetched
        needs = needs_of(
            chosen, record, revision=revision, media=media, page_archives=page_archives, show=show
        )
        needs = [one for one in needs if force or not record.unpacked(one.archive, one.content)]
        _check_room(needs, record, report, one_at_a_time=delete_archives)
        if not dry_run:
            record.start(one.listing for one in needs)
            for need in needs:
                if force and need.archive:
                    for file in need.files:
                        file.unlink(missing_ok=True)
                _fetch(need, record, show)
                if delete_archives:  # now, as the next one may need the room
                    record.delete_archives()
    return completeness_of(chosen, folder, compat=compat, show=show)


def _check_room(
    needs: Sequence[Need], record: Record, report: Callable[[str], object], *, one_at_a_time: bool
) -> None:
    """Report how much is to be fetched; an error if the disk has no room for it."""
    archives = [one for one in needs if one.archive]
    missing = [one.missing_bytes for one in archives]
    tables = sum(one.missing_bytes for one in needs if not one.archive)
    # Files take about as much as their archive. Those of archives whose unpacking was started may be there.
    started = {name for name, known in record.archives.items() if not known["complete"]}
    at_once = max(missing, default=0) if one_at_a_time else sum(missing)
    room = tables + at_once + sum(one.size for one in archives if one.archive not in started)
    existing = next(path for path in (record.folder, *record.folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(existing).free
    unpack = f", and unpack {len(archives)} archives of {_bytes(sum(one.size for one in archives))}"
    report(
        f"to fetch: {_bytes(tables + sum(missing))} of {sum(len(one.names) for one in needs)} files"
        f"{unpack if archives else ''}; needed: about {_bytes(room)}, free: {_bytes(free)}"
    )
    if room > free:
        raise DownloadError(
            f"about {_bytes(room)} are needed, and {_bytes(free)} are free",
            fix="Free some space, choose fewer tasks, or pass delete_archives=True (--delete-archives).",
            source=str(record.folder),
        )


def _fetch(need: Need, record: Record, show: bool) -> None:
    """Fetch what is not there, unpack it if it is an archive, and note that."""
    fetch(need.listing, need.names, need.folder, show=show)
    gone = record.fetched(need.listing, need.names)
    if need.archive:
        _unpack(need, record, show)
    else:
        for name in gone:
            (need.folder / name).unlink(missing_ok=True)  # a table in other files would be read twice
        for task in need.tasks:
            record.tasks.setdefault(task, {})[need.listing.repo] = need.listing.commit
    record.save()


def _unpack(need: Need, record: Record, show: bool) -> None:
    folder = record.folder / target_folder(need.archive, file_names(need.files, _PEEK), need.roots)
    noted: dict[str, Any] = {
        "repo": need.listing.repo,
        "commit": need.listing.commit,
        "content": need.content,
        "parts": list(need.names),
        "complete": False,
    }
    record.archives[need.archive] = noted
    record.save()
    description = f"unpacking {Path(need.archive).name}"
    with tqdm(total=need.size, desc=description, unit="B", unit_scale=True, disable=not show) as bar:
        try:
            folders = unpack(need.files, folder, on_read=bar.update)
        except OSError as error:
            raise as_download_error(error, need.archive) from error
    note_counts(record.folder, folders)
    noted["complete"] = True


def _bytes(count: int) -> str:
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "bytes" else f"{size:.1f} {units[0]}"


@contextmanager
def _alone(folder: Path, dry_run: bool) -> Iterator[None]:
    """Keeps others from downloading into the same folder at the same time."""
    with ExitStack() as stack:
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            refusal = DownloadError(
                "another download into this folder is running",
                fix="Wait for it, or stop it.",
                source=str(folder),
            )
            stack.enter_context(locked(folder / ".downloads.lock", refusal))
        yield
