"""`TaskResult`: what came of one task, and the file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vlm2vec.arguments import is_finite, is_whole
from vlm2vec.atomic_write import write_text
from vlm2vec.errors import VLM2VecError
from vlm2vec.json_file import read_json
from vlm2vec.sameness import differences

__all__ = ["Failure", "StaleResultError", "TaskResult"]


class StaleResultError(VLM2VecError):
    """A result that was kept is of another model, other data or other settings."""


@dataclass(frozen=True)
class Failure:
    """A sample that could not be embedded.

    Attributes:
        role: "query" or "document".
        which: Number of the query, or key of the candidate.
        error: What was wrong.
    """

    role: str
    which: str
    error: str


@dataclass(frozen=True)
class TaskResult:
    """What came of one task.

    Attributes:
        task: Its name.
        model: Name of the model.
        metric: The headline metric.
        scores: Means of all metrics over queries, from 0 to 1.
        per_query: The headline metric of each query.
        top: For each query the keys of the candidates that ranked first, at most ten.
        candidates: How many the task has.
        expected_queries: How many queries the published data have.
        failures: Samples that could not be embedded: such a query scores 0, such a candidate is never found.
        seconds: That it took, embedding included.
        revisions: Commits by repository of the data, as far as `download` has noted them.
        versions: Of the packages that made it, by name.
        made_of: What the result depends on: digests of the data and the model, settings, and what the model's
            own evaluation has otherwise in the task.
        settings: How the model was run, in words, by name; empty for a model that does not say.
    """

    task: str
    model: str
    metric: str
    scores: Mapping[str, float]
    per_query: tuple[float, ...]
    top: tuple[tuple[str | int, ...], ...]
    candidates: int
    expected_queries: int
    seconds: float
    made_of: Mapping[str, Any]
    failures: tuple[Failure, ...] = field(default=())
    revisions: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def percentage(self) -> float:
        """The headline metric, from 0 to 100."""
        return 100 * self.scores[self.metric]

    @property
    def queries(self) -> int:
        """How many the task has."""
        return len(self.per_query)

    def save(self, path: Path) -> None:
        """Write it, in one go."""
        write_text(path, json.dumps(asdict(self), ensure_ascii=False))

    @classmethod
    def load(cls, path: Path) -> TaskResult | None:
        """The result in a file; `None` where there is none, or none that can be read."""
        try:
            found = read_json(path)
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair cannot be shown
            result = cls(
                **{
                    **found,
                    "per_query": tuple(found["per_query"]),
                    "top": tuple(tuple(keys) for keys in found["top"]),
                    "failures": tuple(Failure(**failure) for failure in found["failures"]),
                }
            )
            whole = result.task == path.stem and _is_whole(result)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return None
        return result if whole else None

    @classmethod
    def kept(cls, path: Path, made_of: Mapping[str, Any], *, recompute: bool) -> TaskResult | None:
        """The result of an earlier run, if it can be used again; `None` where one has to be made.

        One with samples that failed is made again: they may be mended, or memory be free. So is one that was
        scored in the way of another version of this package: its vectors are kept.

        Args:
            path: Its file.
            made_of: What a result depends on now.
            recompute: Whether one of another run is replaced.

        Raises:
            StaleResultError: It is of another model, other data or other settings, and is not to be replaced.
        """
        kept = cls.load(path)
        if kept is None:
            return None
        differences = kept.differs_in(made_of)
        if not differences:
            return None if kept.failures else kept
        # Where files were missing, data differ as soon as they are there.
        if recompute or differences == ["protocol"] or (kept.failures and differences == ["data"]):
            return None
        raise StaleResultError(
            f"there is a result of another run: {', '.join(differences)} differ",
            fix='Pass another output_dir (--output), or on_stale="recompute" (--recompute) to replace it.',
            source=f"{kept.task}, {path}",
        )

    def differs_in(self, made_of: Mapping[str, Any]) -> list[str]:
        """Names of what another run depends on, and this result does not, or not alike."""
        return differences(self.made_of, json.loads(json.dumps(made_of)))


def _is_whole(result: TaskResult) -> bool:
    """Whether all is of the form that is written: tables and pages of it would fail, or show nonsense."""
    texts = [result.task, result.model, result.metric]
    for named in (result.revisions, result.versions, result.settings):
        texts += [*named.keys(), *named.values()]
    for failure in result.failures:
        texts += [failure.role, failure.which, failure.error]
    compat = result.made_of["compat"]
    return (
        all(isinstance(text, str) for text in texts)
        and all(is_finite(score) for score in (*result.scores.values(), *result.per_query))
        and all(isinstance(key, str | int) for keys in result.top for key in keys)
        and all(is_whole(count, 0) for count in (result.candidates, result.expected_queries))
        and is_finite(result.seconds)
        and 0 <= result.scores[result.metric] <= 1
        and "model" in result.made_of
        and (compat is None or isinstance(compat, str))
    )
