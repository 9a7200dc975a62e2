"""`DataFolder`: where the annotations and media of tasks are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlm2vec.errors import InputError, VLM2VecError
from vlm2vec.mmeb.loaders.annotation_files import annotation_files, missing_shards
from vlm2vec.mmeb.loaders.annotation_rows import Rows, check_columns, encoded, read_rows
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["DataFolder", "MissingDataError", "column_names"]


class MissingDataError(VLM2VecError):
    """Annotations of a task, the folder of its media, or too many files in it are not there."""


@dataclass(frozen=True)
class DataFolder:
    """A folder with the benchmark's data, and the hub for annotations that it does not hold.

    Annotations may lie in `annotations/OWNER/NAME`, a copy of the hub's repository as `hf download` makes it,
    or in one of the task's `data_roots`. Media lie as the archives unpack: `image-tasks`, `video-tasks`,
    `visdoc-tasks`.

    Attributes:
        folder: The folder; `None` for none.
        offline: Never ask the hub.
    """

    folder: Path | None = None
    offline: bool = False

    def rows(self, task: Task, table: str | None = None, *, columns: Sequence[str] | None = None) -> Rows:
        """Rows of the task's annotations.

        Args:
            task: Whose.
            table: Configuration of the repository; the task's `subset` with `None`.
            columns: Those to read; all with `None`. Columns not asked for, pictures say, are not read.

        Raises:
            MissingDataError: They are neither in the folder nor to be had from the hub.
            InputError: They cannot be read, or a column is missing.
        """
        table = table or task.subset
        source = f"{task.name}, {table}" if table and table != task.name else f"{task.name}, annotations"
        if files := self._files(task, table):
            return read_rows(files, columns, source=source)
        rows = self._from_hub(task, table)
        if columns is not None:
            check_columns(rows.column_names, columns, source=source)
            rows = rows.select_columns(list(columns))
        return encoded(rows)

    def lazy_rows(self, task: Task, table: str, *, columns: Sequence[str]) -> Rows:
        """Like `rows`, for columns too large for memory: each row is read from the disk when it is asked for.

        The `datasets` library copies the columns once into its cache for that.

        Raises:
            MissingDataError: They are neither in the folder nor to be had from the hub.
            InputError: They cannot be read, or a column is missing.
        """
        files = self._files(task, table)
        if not files or files[0].suffix != ".parquet":
            return self.rows(task, table, columns=columns)
        import datasets

        names = column_names(files[0], source=task.name)
        check_columns(names, columns, source=f"{task.name}, {table}")
        rows = datasets.Dataset.from_parquet([str(file) for file in files], columns=list(columns))
        return encoded(rows)

    def media_root(self, task: Task) -> Path:
        """The folder of the task's media: the first of its `roots` that is there and not empty.

        Raises:
            MissingDataError: None is.
        """
        root = self.find_media_root(task)
        if root is None:
            if self.folder is None:
                raise MissingDataError(
                    "no data folder was given",
                    fix='Pass data_dir="DATA" (--data DATA), which '
                    f"`vlm2vec mmeb download DATA -t {task.name}` fills.",
                    source=task.name,
                )
            tried = " and ".join(str(self.folder / root) for root in task.roots)
            raise MissingDataError(
                f"its media are not there: looked for {tried}",
                fix=f"Run `vlm2vec mmeb download {self.folder} -t {task.name}`, or check data_dir (--data).",
                source=task.name,
            )
        return root

    def find_media_root(self, task: Task) -> Path | None:
        """Like `media_root`, but `None` where there is no such folder."""
        if self.folder is None:
            return None
        paths = (self.folder / root for root in task.roots)
        # Moving an unpacked archive one level up leaves an empty folder behind.
        return next((path for path in paths if path.is_dir() and any(path.iterdir())), None)

    def annotation_folders(self, task: Task) -> tuple[Path, ...]:
        """Where annotations of a task are looked for, in order."""
        if self.folder is None:
            return ()
        return (
            self.folder / "annotations" / task.repo,
            *(self.folder / root for root in task.data_roots),
        )

    def _files(self, task: Task, table: str | None) -> list[Path]:
        for folder in self.annotation_folders(task):
            files = annotation_files(folder, table, task.split) if folder.is_dir() else []
            if files and (missing := missing_shards(files)) > 0:
                raise self._missing(task, table, f"{missing} of the files are not in {folder}")
            if files:
                return files
        return []

    def _from_hub(self, task: Task, table: str | None) -> Any:
        if self.offline:
            raise self._missing(task, table, "the hub is not asked (offline)")
        import datasets

        try:
            return datasets.load_dataset(task.repo, table, split=task.split, revision=task.revision)
        except Exception as error:  # of networks, files, formats and names; each says itself what it is
            raise self._missing(task, table, f"the hub gave none ({error})") from error

    def _missing(self, task: Task, table: str | None, reason: str) -> MissingDataError:
        what = f'split "{task.split}"' + (f' of "{table}"' if table else "")
        folders = self.annotation_folders(task)
        looked = f"looked in {' and '.join(map(str, folders))}" if folders else "no data folder was given"
        target = folders[0] if folders else Path("DATA", "annotations", task.repo)
        revision = f" --revision {task.revision}" if task.revision else ""
        return MissingDataError(
            f"there are no annotations, {what}: {looked}, and {reason}",
            fix=f"Run `vlm2vec mmeb download {self.folder or 'DATA'} -t {task.name}`, or "
            f"`hf download {task.repo} --repo-type dataset{revision} --local-dir {target}`.",
            source=task.name,
        )


def column_names(file: Path, *, source: str) -> list[str]:
    """The columns of a Parquet file.

    Raises:
        InputError: It cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names: list[str] = pq.read_schema(file).names
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{file} cannot be read ({error})", fix="Download it again.", source=source
        ) from error
    return names
