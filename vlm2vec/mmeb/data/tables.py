"""The tables of a task's annotations, and a data folder that reads no more of them than names and numbers."""

from __future__ import annotations

from collections.abc import Sequence

from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders.annotation_rows import Rows, check_columns
from vlm2vec.mmeb.loaders.data_folder import DataFolder
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["TablesOnly", "tables_of"]


def tables_of(task: Task) -> Sequence[str | None]:
    """The tables that the task's loader reads; `None` for the one of a repository that has one only.

    Example:
        >>> from vlm2vec.mmeb.tasks import get_task
        >>> tables_of(get_task("ViDoRe_docvqa")), tables_of(get_task("MSVD"))
        (('queries', 'qrels', 'corpus'), (None,))
    """
    if task.layout.endswith("_documents"):
        return ("queries", "qrels", "corpus")
    tables: Sequence[str | None] = task.options.get("subsets", (task.subset,))
    return tables


class TablesOnly(DataFolder):
    """Gives rows as a `DataFolder`; of columns too large for memory, pictures, only that they are there."""

    def require(self, task: Task, table: str | None, columns: Sequence[str] = ()) -> None:
        """Check that a table is there and has columns.

        Raises:
            MissingDataError: It is not in the folder.
            InputError: It cannot be read, or a column is missing.
        """
        files = self._files(task, table)
        if not files:
            raise self._missing(task, table, "the hub is not asked")
        if files[0].suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            for file in files:
                try:
                    names = pq.read_schema(file).names
                except (pa.ArrowException, OSError) as error:
                    raise InputError(
                        f"{file} cannot be read ({error})", fix="Download it again.", source=task.name
                    ) from error
                check_columns(names, columns, source=f"{task.name}, {table}")

    def lazy_rows(self, task: Task, table: str, *, columns: Sequence[str]) -> Rows:
        """One row, with nothing in it, for as many as there are.

        Raises:
            MissingDataError: They are not in the folder.
            InputError: They cannot be read, or a column is missing.
        """
        self.require(task, table, columns)
        return [{}]
