"""The tasks of the benchmark as data: tables that a person can read, and one piece of code that reads them.

Example:
    >>> from vlm2vec.mmeb.tasks import get_task, list_tasks
    >>> len(list_tasks())
    78
    >>> [task.name for task in list_tasks("I-VG")]
    ['MSCOCO', 'RefCOCO', 'RefCOCO-Matching', 'Visual7W-Pointing']
    >>> get_task("MSCOCO").query_instruction
    'Crop the image to to isolate the object labeled as'
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from vlm2vec.mmeb.tasks.registry import Registry
from vlm2vec.mmeb.tasks.table import read_table
from vlm2vec.mmeb.tasks.task import Metric, Modality, Scope, Task

__all__ = [
    "Metric",
    "Modality",
    "Registry",
    "Scope",
    "Task",
    "get_task",
    "list_tasks",
    "read_table",
    "register",
]

_TABLES = ("image", "video", "visdoc")


@cache
def _registry() -> Registry:
    folder = Path(__file__).parent
    registry = Registry(task for table in _TABLES for task in read_table(folder / f"{table}.yaml"))
    registry.register(read_table(folder.parent / "mini" / "mini.yaml"), suite="mini")
    return registry


def list_tasks(selection: str | Iterable[str] = "all") -> list[Task]:
    """The tasks that `selection` names, in the order of the public score files.

    Args:
        selection: "all" for the 78 tasks of MMEB-V2, "mini" for the nine of the mini suite, a modality
            ("image", "video" or "visdoc"), a meta-task such as "I-CLS", a suite that was registered, the name
            of a task, or several of these: then in the order given, each task once.

    Raises:
        InputError: A word selects nothing; the error names the closest that does.

    Example:
        >>> [task.name for task in list_tasks(["V-MR", "MSVD", "MomentSeeker"])]
        ['QVHighlight', 'Charades-STA', 'MomentSeeker', 'MSVD']
    """
    return _registry().select(selection)


def get_task(name: str) -> Task:
    """The task of that name.

    Raises:
        InputError: There is none; the error names the closest.

    Example:
        >>> get_task("ViDoSeek-page").submission_name
        'ViDoSeek-page-fixed'
    """
    return _registry().get(name)


def register(tasks: Iterable[Task], *, suite: str) -> None:
    """Adds tasks that `suite` and their names then select; what "all" and other words mean stays as it is.

    Args:
        tasks: Such as `read_table` returns.
        suite: What selects them all.

    Raises:
        InputError: A name is taken; nothing is added then.
    """
    _registry().register(tasks, suite=suite)
