"""Repositories of the hub: what is in them, files fetched, and what can go wrong explained with its fix."""

from __future__ import annotations

import glob
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from vlm2vec.atomic_write import FULL
from vlm2vec.errors import VLM2VecError

__all__ = ["DownloadError", "Listing", "as_download_error", "fetch", "list_files", "missing_bytes"]


class DownloadError(VLM2VecError):
    """Data could not be fetched or unpacked."""


@dataclass(frozen=True)
class Listing:
    """The files of a repository at one commit.

    Attributes:
        repo: Its name.
        commit: The full hash that a revision stood for.
        sizes: Of each file its bytes.
        digests: Of each file what tells its content from another's: its git or LFS digest.
    """

    repo: str
    commit: str
    sizes: Mapping[str, int]
    digests: Mapping[str, str]


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
    except Exception as error:  # of networks and of the hub; `as_download_error` says which it is
        raise as_download_error(error, repo, revision) from error
    files = [one for one in info.siblings or () if ".." not in one.rfilename.split("/")]
    return Listing(
        repo,
        str(info.sha),
        {one.rfilename: one.size or 0 for one in files},
        {one.rfilename: one.lfs.sha256 if one.lfs else one.blob_id or "" for one in files},
    )


def missing_bytes(listing: Listing, names: Collection[str], folder: Path) -> int:
    """Bytes of the files that are not in a folder in their size."""
    return sum(listing.sizes[name] for name in names if _size(folder / name) != listing.sizes[name])


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
        if _size(folder / name) not in (None, listing.sizes[name]):
            (folder / name).unlink()
    for leftover in (folder / ".cache" / "huggingface").rglob("*.incomplete"):
        leftover.unlink(missing_ok=True)  # of a process that was killed; the client starts such a file again
    try:
        snapshot_download(
            listing.repo,
            repo_type="dataset",
            revision=listing.commit,
            local_dir=folder,
            allow_patterns=[glob.escape(name) for name in names],
            tqdm_class=None if show else _NoBar,
        )
    except Exception as error:  # as above
        raise as_download_error(error, listing.repo, listing.commit) from error
    if missing := [name for name in names if _size(folder / name) != listing.sizes[name]]:
        raise DownloadError(
            f"{missing[0]} did not come whole" + (f", and {len(missing) - 1} more" * (len(missing) > 1)),
            fix="Check the network and run it again: files that came are kept.",
            source=listing.repo,
        )


def as_download_error(error: BaseException, repo: str, revision: str | None = None) -> DownloadError:
    """What went wrong with a repository, in our words.

    Example:
        >>> print(as_download_error(OSError(28, "No space left on device"), "VLM2Vec/MVBench"))
        VLM2Vec/MVBench: the disk is full. Free some space and run it again: files that came are kept.
    """
    from huggingface_hub import errors

    cause = f"the hub did not give it ({error})"
    fix = "Check the network and run it again: files that came are kept."
    if isinstance(error, errors.GatedRepoError):
        cause = "its owners give it only to those who accept its terms"
        fix = f"Accept them at https://huggingface.co/datasets/{repo}, and run `hf auth login`."
    elif isinstance(error, errors.RevisionNotFoundError):
        cause, fix = f"it has no revision {revision}", "Pass a commit, branch or tag that it has."
    elif isinstance(error, errors.RepositoryNotFoundError):
        cause = "there is no such data set on the hub, or this account may not see it"
        fix = "Run `hf auth login` if it is private; HF_ENDPOINT says which hub is asked."
    elif isinstance(error, errors.RemoteEntryNotFoundError):
        at = f" at revision {revision}" if revision else ""
        cause, fix = f"a file is not there{at} ({error})", "Pass another revision."
    elif any(isinstance(one, errors.OfflineModeIsEnabled) for one in (error, error.__cause__)):
        cause, fix = "the hub is not asked, as HF_HUB_OFFLINE is set", "Set HF_HUB_OFFLINE=0."
    elif isinstance(error, OSError) and error.errno in FULL:
        cause, fix = "the disk is full", "Free some space and run it again: files that came are kept."
    elif isinstance(error, OSError) and error.filename is not None:  # of this machine, not of the network
        cause = f"{error.filename} cannot be read or written ({error.strerror})"
        fix = "Look at what is there, and whether this user may write it."
    return DownloadError(cause, fix=fix, source=repo)


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


class _NoBar(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A progress bar that is not shown."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "disable": True})
