"""Repositories of the hub: what is in them, files fetched, and what can go wrong said with its fix."""

from __future__ import annotations

import errno
import glob
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vlm2vec.errors import VLM2VecError

__all__ = ["DownloadError", "HubFile", "Listing", "fetch", "list_files", "told"]


_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}  # not all systems have quotas


class DownloadError(VLM2VecError):
    """Data could not be fetched or unpacked."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository.

    Attributes:
        size: In bytes.
        content: What tells its content from another's: its git or LFS digest.
    """

    size: int
    content: str


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit.

    Attributes:
        repo: Its name.
        commit: The full hash that a revision stood for.
        files: By name.
    """

    repo: str
    commit: str
    files: Mapping[str, HubFile]


def list_files(repo: str, revision: str | None) -> Listing:
    """The files of a data set's repository, with their sizes.

    Args:
        repo: "OWNER/NAME".
        revision: A commit, branch or tag; the main branch with `None`.

    Raises:
        DownloadError: The hub does not give them.
    """
    from huggingface_hub import HfApi

    try:
        info = HfApi().dataset_info(repo, revision=revision, files_metadata=True)
    except Exception as error:  # of networks and of the hub; `told` says which it is
        raise told(error, repo, revision) from error
    files = {
        one.rfilename: HubFile(one.size or 0, one.lfs.sha256 if one.lfs else one.blob_id or "")
        for one in info.siblings or ()
        if ".." not in one.rfilename.split("/")
    }
    return Listing(repo, str(info.sha), files)


def fetch(listing: Listing, names: Collection[str], folder: Path, *, show: bool = True) -> None:
    """Fetch files into a folder, each under its name in the repository; those that are there stay.

    Args:
        listing: Where they are from.
        names: Which.
        folder: Where to.
        show: Whether there is a progress bar; only in a terminal even so.

    Raises:
        DownloadError: A file does not come, or not whole.
    """
    from huggingface_hub import snapshot_download

    for name in names:
        # The hub's client trusts a file whose commit it has noted, also when it was cut since.
        if _size(folder / name) not in (None, listing.files[name].size):
            (folder / name).unlink()
    _remove_leftovers(folder)
    try:
        with _progress(show):
            snapshot_download(
                listing.repo,
                repo_type="dataset",
                revision=listing.commit,
                local_dir=folder,
                allow_patterns=[glob.escape(name) for name in names],
            )
    except Exception as error:  # as above
        raise told(error, listing.repo, listing.commit) from error
    if missing := [name for name in names if _size(folder / name) != listing.files[name].size]:
        raise DownloadError(
            f"{missing[0]} did not come whole" + (f", and {len(missing) - 1} more" * (len(missing) > 1)),
            fix="Check the network and run it again: files that came are kept.",
            source=listing.repo,
        )


def told(error: BaseException, repo: str, revision: str | None = None) -> DownloadError:
    """What went wrong with a repository, in our words.

    Example:
        >>> print(told(OSError(28, "No space left on device"), "VLM2Vec/MVBench"))
        VLM2Vec/MVBench: the disk is full. Free some space and run it again: files that came are kept.
    """
    from huggingface_hub import errors

    cause = f"the hub did not give it ({error})"
    fix = "Check the network and run it again: files that came are kept."
    at = f" at revision {revision}" if revision else ""
    if isinstance(error, errors.GatedRepoError):
        cause = "its owners give it only to those who accept its terms"
        fix = f"Accept them at https://huggingface.co/datasets/{repo}, and run `hf auth login`."
    elif isinstance(error, errors.RevisionNotFoundError):
        cause, fix = f"it has no revision {revision}", "Pass a commit, branch or tag that it has."
    elif isinstance(error, errors.RepositoryNotFoundError):
        cause = "there is no such data set on the hub, or this account may not see it"
        fix = "Run `hf auth login` if it is private; HF_ENDPOINT says which hub is asked."
    elif isinstance(error, errors.RemoteEntryNotFoundError):
        cause, fix = f"a file is not there{at} ({error})", "Pass another revision."
    elif isinstance(error, errors.OfflineModeIsEnabled) or isinstance(
        error.__cause__, errors.OfflineModeIsEnabled
    ):
        cause, fix = "the hub is not asked, as HF_HUB_OFFLINE is set", "Set HF_HUB_OFFLINE=0."
    elif isinstance(error, OSError) and error.errno in _FULL:
        cause, fix = "the disk is full", "Free some space and run it again: files that came are kept."
    elif isinstance(error, OSError) and error.filename is not None:  # of this machine, not of the network
        cause = f"{error.filename} cannot be read or written ({error.strerror})"
        fix = "Look at what is there, and whether this user may write it."
    return DownloadError(cause, fix=fix, source=repo)


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed process had of a file: the hub's client would begin it anew, beside that."""
    for file in (folder / ".cache" / "huggingface").rglob("*.incomplete"):
        if re.search(r"\.[0-9a-f]{8}\.incomplete$", file.name):  # named for one process; older clients share
            file.unlink(missing_ok=True)


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


@contextmanager
def _progress(show: bool) -> Iterator[None]:
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented, but not re-exported
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if show or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
