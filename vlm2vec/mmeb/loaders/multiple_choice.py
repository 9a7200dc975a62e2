"""A question about a clip, and the few answers of which one is right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from typing import Any

from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders.contents import clip, columns_in, saved_frames, text_candidate
from vlm2vec.mmeb.loaders.data_folder import DataFolder
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["load"]


def load(task: Task, data: DataFolder, *, compat: str | None = None) -> TaskData:
    """Questions and answers, worded by the templates of the task.

    A choice that says what the right one says is right as well.

    Args:
        task: Of the layout "multiple_choice".
        data: Where rows and frames lie.
        compat: "v2.0" does as the original did. Of a choice without its letter and ". " only the last
            character is left, the last of equal choices is the only right one, and a row whose answer is none
            of its choices counts as a miss.

    Raises:
        MissingDataError: Rows or the folder of the media are not there.
        InputError: A column is missing, or the answer of a row is none of its choices.
    """
    root = data.media_root(task)
    options = task.options
    pool: dict[Key, Content] = {}
    queries = []
    for i, row in enumerate(_rows(task, data)):
        texts = _choices(row, options["choices"])
        fields = [
            {"letter": letter, "text": text, "bare": _without_letter(text, compat)}
            for letter, text in zip(ascii_uppercase, texts, strict=False)
        ]
        keys = tuple(options["key"].format_map(field) for field in fields)
        for key, field in zip(keys, fields, strict=True):
            pool.setdefault(key, text_candidate(options["candidate"].format_map(field)))
        answer = _answer(row[options["answer"]], options["answer_form"], texts)
        labels = tuple(dict.fromkeys(key for key, text in zip(keys, texts, strict=True) if text == answer))
        if compat is not None:
            labels = labels[-1:]
        elif not labels:
            raise InputError(
                f"its answer {row[options['answer']]!r} is none of its {len(texts)} choices",
                fix='Mend the row, or pass compat="v2.0" (--compat v2.0) to count it as a miss.',
                source=f"{task.name}, row {i}",
            )
        choices = options["separator"].join(options["choice"].format_map(field) for field in fields)
        question = options["query"].format(question=row[options["question"]], choices=choices)
        frames = saved_frames(root / options["folder"].format_map(row), task.frames)
        content = clip(frames, task.query_instruction, question.rstrip() if options["rstrip"] else question)
        queries.append(Query(content, labels, candidates=keys))
    return TaskData(queries, pool)


def _rows(task: Task, data: DataFolder) -> Iterator[Mapping[str, Any]]:
    """The rows, those of several subsets one after another and with the name of theirs."""
    options = task.options
    choices = options["choices"]
    listed = [choices] if isinstance(choices, str) else [] if isinstance(choices, Mapping) else choices
    columns = [options["question"], options["answer"], *listed, *columns_in(options["folder"])]
    if "subsets" not in options:
        yield from data.rows(task, columns=columns)
        return
    columns.remove("subset")
    for subset in options["subsets"]:
        for row in data.rows(task, subset, columns=columns):
            yield {**row, "subset": subset}


def _choices(row: Mapping[str, Any], where: str | list[str] | Mapping[str, list[str]]) -> list[str]:
    """The choices of a row: a column that lists them, a column for each, or the same for all rows."""
    if isinstance(where, str):
        return list(row[where])
    if isinstance(where, Mapping):
        return list(where["fixed"])
    return [row[column] for column in where]


def _answer(given: Any, form: str, texts: list[str]) -> str | None:
    """What the right choice says; `None` where the row names none."""
    if form == "text":
        return str(given)
    keys = ascii_uppercase if form == "letter" else map(str, range(len(texts)))
    return dict(zip(keys, texts, strict=False)).get(str(given))


def _without_letter(choice: str, compat: str | None) -> str:
    """A choice such as "B. A dog." without its letter, and without dots and spaces around it."""
    if compat is not None:
        return choice[choice.find(". ") :].strip(". ")
    return re.sub(r"^[A-Z]\.", "", choice).strip(". ")
