"""`Registry`: tasks by name, and the words that select several."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from vlm2vec.errors import InputError
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["Registry"]


class Registry:
    """Suites of tasks: one that has everything by which a benchmark is known, and further ones beside it.

    Modalities and meta-tasks select within the main suite: further ones never change what "image" means.

    Args:
        main: Tasks of the main suite.
        name: The word that selects all of it.

    Raises:
        InputError: A name is there twice.
    """

    def __init__(self, main: Iterable[Task], *, name: str = "all") -> None:
        self._tasks: dict[str, Task] = {}
        self._groups: dict[str, tuple[str, ...]] = {}
        tasks = self.register(main, suite=name)
        for group in dict.fromkeys(word for task in tasks for word in (task.modality, task.meta_task)):
            self._claim([group])
            self._groups[group] = tuple(
                task.name for task in tasks if group in (task.modality, task.meta_task)
            )

    def register(self, tasks: Iterable[Task], *, suite: str) -> tuple[Task, ...]:
        """Adds tasks under the name of a new suite, which then selects them all; returns them.

        Raises:
            InputError: A task or the suite has a name that is taken; nothing is added then.
        """
        tasks = tuple(tasks)
        names = [task.name for task in tasks]
        self._claim([suite, *names])
        self._tasks.update(zip(names, tasks, strict=True))
        self._groups[suite] = tuple(names)
        return tasks

    def get(self, name: str) -> Task:
        """The task of that name.

        Raises:
            InputError: There is none.
        """
        if name not in self._tasks:
            raise self._unknown(name, "task", self._tasks)
        return self._tasks[name]

    def select(self, selection: str | Iterable[str]) -> list[Task]:
        """The tasks that a word, or each of several, selects: in that order, each once.

        Raises:
            InputError: A word is neither a suite, a modality, a meta-task nor a task.
        """
        words = [selection] if isinstance(selection, str) else selection
        names: dict[str, None] = {}
        for word in words:
            if word not in self._groups and word not in self._tasks:
                raise self._unknown(word, "task or group of tasks", [*self._groups, *self._tasks])
            names.update(dict.fromkeys(self._groups.get(word, (word,))))
        return [self._tasks[name] for name in names]

    def _claim(self, names: Iterable[str]) -> None:
        taken = {*self._tasks, *self._groups}
        for name in names:
            if name in taken:
                raise InputError(
                    f"the name {name!r} is taken", fix="Choose another for the task or the suite."
                )
            taken.add(name)

    def _unknown(self, name: str, what: str, known: Iterable[str]) -> InputError:
        by_lower = {candidate.lower(): candidate for candidate in known}
        close = get_close_matches(name.lower(), by_lower, cutoff=0.65)
        hint = f"The closest: {', '.join(by_lower[match] for match in close)}. " if close else ""
        return InputError(
            f"there is no {what} {name!r}",
            fix=f"{hint}Groups are {', '.join(self._groups)}; `mmeb.list_tasks()` and `vlm2vec mmeb list` "
            "have all tasks.",
        )
