"""Reads tasks from a table: a YAML file that says what they share once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from vlm2vec.errors import InputError
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["read_table"]

_NAMED = ("repo", "subset", "roots", "data_roots")
_LISTS = ("roots", "data_roots", "archives", "notes")


def read_table(path: Path) -> tuple[Task, ...]:
    """Reads the tasks of a table, in its order.

    A table has `defaults`, fields of `Task` for all of it, and `groups`. A group has fields as well, for its
    `tasks`, each of which has its own. What is nearer to a task wins; options are merged, notes added up.
    `repo`, `subset`, `roots` and `data_roots` may hold `{name}`, the task's name, and `{root_name}`, the
    field of that name or else the task's name; the last two also `{repo_name}`, the repository without owner.

    Raises:
        InputError: A task lacks a field, or has one that there is not.
    """
    # The loader in C reads the same and is ten times as fast, but not everywhere there.
    table = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    tasks = []
    for group in table["groups"]:
        shared = _merged(table["defaults"], {key: value for key, value in group.items() if key != "tasks"})
        tasks += [_task(_merged(shared, row), path.name) for row in group["tasks"]]
    return tuple(tasks)


def _merged(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> dict[str, Any]:
    fields = {**outer, **inner}
    fields["options"] = {**outer.get("options", {}), **inner.get("options", {})}
    fields["notes"] = [*outer.get("notes", []), *inner.get("notes", [])]
    return fields


def _task(fields: dict[str, Any], source: str) -> Task:
    name = str(fields.get("name"))
    names = {"name": name, "root_name": fields.pop("root_name", name)}
    for key in _NAMED:
        fields[key] = _filled(fields.get(key, ()), names)
        if key == "repo":
            names["repo_name"] = fields[key].rpartition("/")[2]
    fields.update({key: tuple(fields.get(key, ())) for key in _LISTS})
    if fields.get("scope") == "global":
        fields.setdefault("pool", fields.get("candidates"))
    try:
        return Task(**fields)
    except TypeError as error:
        raise InputError(
            f"task {name!r} has fields too few or too many: {error}",
            fix="The fields of a task are those of `vlm2vec.mmeb.tasks.Task`.",
            source=source,
        ) from error


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return value.format_map(names)
    return [part.format_map(names) for part in value] if value else value
