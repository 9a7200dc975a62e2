"""`Task`: the facts of one task of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

__all__ = ["Metric", "Modality", "Scope", "Task"]

Modality: TypeAlias = Literal["image", "video", "visdoc"]
Scope: TypeAlias = Literal["local", "global"]
Metric: TypeAlias = Literal["hit@1", "ndcg_linear@5"]


@dataclass(frozen=True)
class Task:
    """One task: where its data lies, what it asks, and how it is scored.

    Attributes:
        name: As in published score files.
        modality: Which third of the benchmark it belongs to.
        meta_task: Its group within, such as "I-CLS".
        layout: Name of the loader that reads its data.
        repo: Hub repository of its annotations.
        subset: Configuration in it, if it has several.
        split: Split in it.
        revision: Commit of the repository that the numbers of rows below belong to; `None` where unknown.
        roots: Folders below the data folder where its media may lie, as the archives unpack and as the
            original's configuration expects them; the first that exists is used.
        query_instruction: Of queries.
        target_instruction: Of candidates; "" for none.
        scope: Whether a query ranks its own candidates or all of the task.
        metric: Its headline metric.
        queries: How many.
        candidates: Of each query (local) or of the task (global); `None` where unknown.
        frames: Of a clip that are looked at; `None` without clips.
        in_distribution: Whether its training set is part of the paper's training; `None` where unknown.
        options: What its loader needs besides; the tables beside this file say what each layout takes.
        notes: What is odd about it.
        pool: Different candidates of all queries together; `None` where unknown.
        data_roots: Folders below the data folder where archives bring a copy of its annotations; the first
            that exists is used, and the hub without one.
        media_repo: Hub repository of its media.
        archives: Files of that repository that hold them, as glob patterns; several for one archive in parts.
        submitted_as: Its name in the leaderboard's submission file; `None` if that is `name`.
    """

    name: str
    modality: Modality
    meta_task: str
    layout: str
    repo: str
    subset: str | None
    split: str
    revision: str | None
    roots: tuple[str, ...]
    query_instruction: str
    target_instruction: str
    scope: Scope
    metric: Metric
    queries: int
    candidates: int | None
    frames: int | None = None
    in_distribution: bool | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()
    pool: int | None = None
    data_roots: tuple[str, ...] = ()
    media_repo: str = ""
    archives: tuple[str, ...] = ()
    submitted_as: str | None = None

    @property
    def submission_name(self) -> str:
        """What the leaderboard's submission file calls it."""
        return self.submitted_as or self.name

    def as_of(self, version: str | None) -> Task:
        """The task as a version of the benchmark had it: what `options` says under its name comes first.

        Example:
            >>> from vlm2vec.mmeb import get_task
            >>> seeker = get_task("MomentSeeker")
            >>> seeker.as_of("v2.0").queries, seeker.as_of(None).queries
            (1800, 1602)
        """
        changes: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.options.get(version or "", {}).items()
        }
        return replace(self, **changes)

    def changed(self, changes: Mapping[str, Any]) -> Task:
        """The task with other values of some fields, and of `options` those that are named.

        Example:
            >>> from vlm2vec.mmeb import get_task
            >>> task = get_task("MSVD").changed({"frames": 64, "options": {"stem": True}})
            >>> task.frames, sorted(task.options)
            (64, ['caption', 'caption_list', 'stem', 'video'])
        """
        return replace(self, **{**changes, "options": {**self.options, **changes.get("options", {})}})
