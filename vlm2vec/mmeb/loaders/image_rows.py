"""Rows of the image part: a query with candidates of its own, the first of which is right.

Prompts are those of the original code (TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4, `src/data/eval_dataset`), which
takes care to give those of the benchmark's first version, line breaks included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlm2vec.encoding.prompt import IMAGE_TOKEN
from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders.contents import text_candidate
from vlm2vec.mmeb.loaders.data_folder import DataFolder
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["load"]

_STORED_TOKEN = "<|image_1|>"  # noqa: S105 - how the tables write that there is a picture
_TWO_BREAKS_AFTER_QUERY = frozenset({"VisDial"})
_NO_BREAK_AFTER_CANDIDATE = frozenset({"MSCOCO", "RefCOCO", "Visual7W-Pointing"})
"""Of candidates without a caption; those of all other tasks end in a line break."""


@dataclass(frozen=True)
class _Kind:
    """What rows hold; `caption_in_key`: one picture with two captions is two candidates."""

    query_image: bool
    candidate_image: bool
    caption_in_key: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        query = ("qry_inst", "qry_text", *(("qry_img_path",) if self.query_image else ()))
        return (*query, "tgt_text", *(("tgt_inst", "tgt_img_path") if self.candidate_image else ()))


_KINDS = {
    "cls": _Kind(query_image=True, candidate_image=False),
    "qa": _Kind(query_image=True, candidate_image=False),
    "i2t": _Kind(query_image=True, candidate_image=False),
    "t2i": _Kind(query_image=False, candidate_image=True),
    "i2i": _Kind(query_image=True, candidate_image=True, caption_in_key=True),
}


def load(task: Task, data: DataFolder, *, compat: str | None = None) -> TaskData:
    """Queries and candidates of a task of the image part; `options["kind"]` says what its rows hold.

    Args:
        task: Of the layout "image_rows".
        data: Where rows and pictures lie.
        compat: "v2.0" leaves the image token in queries without a picture (WebQA, EDIS), as the original did.

    Raises:
        MissingDataError: Rows or the folder of the pictures are not there.
        InputError: There is no such kind, a column is missing, or a row's candidates are not well-formed.
    """
    kind = _KINDS.get(task.options.get("kind", ""))
    if kind is None:
        raise InputError(
            f"its option kind is {task.options.get('kind')!r}",
            fix=f"Choose one of {', '.join(_KINDS)}.",
            source=task.name,
        )
    reader = _Reader(task, kind, data.media_root(task), compat == "v2.0")
    rows = data.rows(task, columns=kind.columns)
    queries = [reader.query(row, f"row {number}") for number, row in enumerate(rows)]
    return TaskData(queries, reader.candidates)


@dataclass(frozen=True)
class _Reader:
    """Makes queries of rows; candidates gather as rows go by."""

    task: Task
    kind: _Kind
    root: Path
    keep_token: bool
    candidates: dict[Key, Content] = field(default_factory=dict)
    keys: dict[Key, Key] = field(default_factory=dict)

    def query(self, row: Mapping[str, Any], name: str) -> Query:
        content = self._image_query(row) if self.kind.query_image else self._text_query(row)
        keys = self._pool(row, name)
        return Query(content, labels=keys[:1], candidates=keys)

    def _image_query(self, row: Mapping[str, Any]) -> Content:
        instruction, text = _instruction(row["qry_inst"]), row["qry_text"] or ""
        path = self._file(row["qry_img_path"])
        said = f"{instruction} {text}" if text else instruction
        return Content(_below_picture(said) + "\n", text, instruction, path)

    def _text_query(self, row: Mapping[str, Any]) -> Content:
        instruction, text = _instruction(row["qry_inst"]), row["qry_text"] or ""
        asked = (
            (row["qry_inst"] or "").replace(_STORED_TOKEN, IMAGE_TOKEN) if self.keep_token else instruction
        )
        end = "\n\n" if self.task.name in _TWO_BREAKS_AFTER_QUERY else "\n"
        return Content(f"{asked} {text}{end}", text, instruction)

    def _pool(self, row: Mapping[str, Any], name: str) -> tuple[Key, ...]:
        """Keys of a row's candidates; those that no earlier row had are added to the pool."""
        texts = [text or "" for text in row["tgt_text"] or ()]
        paths = row["tgt_img_path"] or () if self.kind.candidate_image else texts
        if not texts or len(texts) != len(paths):
            raise InputError(
                f"it has {len(texts)} texts of candidates and {len(paths)} candidates",
                fix="Each row needs at least one candidate, and a text, though it be empty, for each.",
                source=f"{self.task.name}, {name}",
            )
        # As in the original, the first text tells whether candidates of the row have captions.
        captioned = bool(texts[0].strip())
        found = []
        for text, path in zip(texts, paths, strict=True):
            unquoted = text.strip('"')
            key = f"{path}:{unquoted}" if self.kind.caption_in_key else path
            # One object for each key: rows of a task share most of theirs, a million in all.
            key = self.keys.setdefault(key, key)
            if key not in self.candidates:
                caption = text if captioned else None
                self.candidates[key] = (
                    self._picture(row, caption, path) if self.kind.candidate_image else text_candidate(text)
                )
            found.append(key)
        return tuple(found)

    def _picture(self, row: Mapping[str, Any], caption: str | None, path: str) -> Content:
        instruction = _instruction(row["tgt_inst"])
        prompt = _below_picture(instruction if caption is None else f"{instruction} {caption}")
        if caption is not None or self.task.name not in _NO_BREAK_AFTER_CANDIDATE:
            prompt += "\n"
        return Content(prompt, caption or "", instruction, self._file(path))

    def _file(self, path: str | None) -> Path:
        return self.root / (path or "")


def _instruction(stored: str | None) -> str:
    return (stored or "").replace(_STORED_TOKEN, "").strip()


def _below_picture(said: str) -> str:
    """Token, line break and what is said; no blank is left before a line break, in the text neither."""
    return f"{IMAGE_TOKEN}\n{said}".replace(" \n", "\n")
