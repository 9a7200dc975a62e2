"""What is noted in a data folder: which commits were fetched, archives unpacked, and frames of each clip."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any

from vlm2vec.arguments import whole_number
from vlm2vec.atomic_write import write_text
from vlm2vec.describe import describe_value, shorten
from vlm2vec.errors import InputError
from vlm2vec.json_file import read_json
from vlm2vec.media.frames import is_image_file
from vlm2vec.mmeb.data.hub import Listing
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["Record", "count_frames", "note_counts", "noted_counts", "revisions_of"]

_DOWNLOADS = "downloads.json"
_MOST_SAID = 300  # characters of what is wrong, which may repeat what is in the file
_FRAMES = "unpacked_frames.json"


@dataclass
class Record:
    """The file `downloads.json` in a data folder.

    Attributes:
        folder: The data folder.
        repositories: Of each repository `commit`, that of the last download, and `files`: of each its
            `bytes` and its own `commit`.
        tasks: Of each task, the commits of its annotations by repository.
        archives: Of each archive, `repo`, `commit`, `parts`, their `content`, and `complete`: whether all
            of it was unpacked.
    """

    folder: Path
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, dict[str, str]] = field(default_factory=dict)
    archives: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Record:
        """That of a folder; an empty one where there is none.

        Raises:
            InputError: The file is not one of these.
        """
        file = folder / _DOWNLOADS
        if not file.is_file():
            return cls(folder)
        try:
            found = cls(folder, **read_json(file))
            found._check()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"the record of downloads cannot be read ({shorten(str(error), _MOST_SAID)})",
                fix="Remove it: files that are there are kept, archives are unpacked again.",
                source=str(file),
            ) from error
        return found

    def _check(self) -> None:
        """Raise where an entry is not of the form that is written; what it lacks is a `KeyError`."""
        for known in self.repositories.values():
            _are_texts([known["commit"], *(each["commit"] for each in known["files"].values())])
        for commits in self.tasks.values():
            _are_texts(commits.values())
        for archive in self.archives.values():
            _are_texts([archive["repo"], archive["commit"], *archive["parts"], *archive["content"]])
            if not isinstance(archive["complete"], bool):
                raise TypeError("an archive is neither complete nor incomplete")
            if any(PurePath(part).is_absolute() or ".." in PurePath(part).parts for part in archive["parts"]):
                raise ValueError("the files of an archive lie outside of the folder")

    def save(self) -> None:
        """Write it, in one go."""
        kept = {"repositories": self.repositories, "tasks": self.tasks, "archives": self.archives}
        write_text(self.folder / _DOWNLOADS, json.dumps(kept, indent=1, sort_keys=True) + "\n")

    def commit(self, repo: str) -> str | None:
        """The commit that was fetched last."""
        found: str | None = self.repositories.get(repo, {}).get("commit")
        return found

    def start(self, listings: Iterable[Listing]) -> None:
        """Note which commits are fetched from now on: a download that is stopped goes on with these."""
        for listing in listings:
            self.repositories.setdefault(listing.repo, {"files": {}})["commit"] = listing.commit
        self.save()

    def fetched(self, listing: Listing, names: Collection[str]) -> list[str]:
        """Note files that came; returns those of earlier commits that the repository no longer has."""
        known = self.repositories[listing.repo]["files"]
        gone = [name for name in known if name not in listing.sizes]
        for name in gone:
            del known[name]
        known.update({name: {"bytes": listing.sizes[name], "commit": listing.commit} for name in names})
        return gone

    def unpacked(self, archive: str, content: Collection[str]) -> bool:
        """Whether just these parts of an archive were unpacked to the end."""
        known = self.archives.get(archive, {})
        return bool(known.get("complete")) and known["content"] == list(content)

    def delete_archives(self) -> None:
        """Remove the files of archives that were unpacked."""
        for known in self.archives.values():
            for part in known["parts"] if known["complete"] else ():
                (self.folder / part).unlink(missing_ok=True)

    def half_unpacked(self, task: Task) -> list[str]:
        """Archives of a task whose unpacking was started and did not come to its end."""
        return [name for name, known in self._archives_of(task).items() if not known["complete"]]

    def revisions(self, task: Task) -> dict[str, str]:
        """Commits by repository that the data of a task are of, as far as they were fetched here."""
        commits = self.tasks.get(task.name, {})
        found = {task.repo: commits[task.repo]} if task.repo in commits else {}
        return found | {known["repo"]: known["commit"] for known in self._archives_of(task).values()}

    def _archives_of(self, task: Task) -> Mapping[str, Mapping[str, Any]]:
        return {
            name: known
            for name, known in self.archives.items()
            if known["repo"] == task.media_repo
            and any(fnmatchcase(name, pattern) for pattern in task.archives)
        }


def _are_texts(values: Iterable[Any]) -> None:
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{describe_value(value)} stands in the place of a text")


def revisions_of(folder: Path | None, task: Task) -> dict[str, str]:
    """Commits by repository that `download` has noted for the data of a task; empty where it has not.

    Args:
        folder: The data folder.
        task: Whose data; `task.as_of("v2.0")` for those that are read with compat.

    Example:
        >>> from vlm2vec.mmeb.tasks import get_task
        >>> revisions_of(Path("nowhere"), get_task("MVBench"))
        {}
    """
    return {} if folder is None else Record.load(folder).revisions(task)


def count_frames(folder: Path) -> int:
    """How many frames a folder holds; 0 where there is none, or it cannot be read."""
    try:
        return sum(is_image_file(file) for file in folder.iterdir())
    except OSError:
        return 0


def note_counts(data_dir: Path, folders: Iterable[Path]) -> None:
    """Note how many frames each folder holds now, beside what was noted of others.

    With some of a clip's frames gone, others would be looked at in their place.

    Example:
        >>> from tempfile import mkdtemp
        >>> data_dir = Path(mkdtemp())
        >>> (data_dir / "clip").mkdir()
        >>> (data_dir / "clip" / "1.png").touch()
        >>> note_counts(data_dir, [data_dir / "clip"])
        >>> noted_counts(data_dir)
        {'clip': 1}
    """
    counts = noted_counts(data_dir)
    counts |= {folder.relative_to(data_dir).as_posix(): count_frames(folder) for folder in folders}
    write_text(data_dir / _FRAMES, json.dumps(counts, indent=0, sort_keys=True) + "\n")


def noted_counts(data_dir: Path) -> dict[str, int]:
    """What is noted of the folders in a data folder, by path from there; empty where nothing is.

    Raises:
        InputError: The file is not one of these.
    """
    file = data_dir / _FRAMES
    if not file.is_file():
        return {}
    try:
        return {
            str(folder): whole_number("a count", count, minimum=0)
            for folder, count in read_json(file).items()
        }
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"the record of unpacked frames cannot be read ({shorten(str(error), _MOST_SAID)})",
            fix="Remove it. Until archives are unpacked again, lost frames are not noticed.",
            source=str(file),
        ) from error
