"""Which queries are shown, what each of them found, and thumbnails of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from vlm2vec.errors import VLM2VecError
from vlm2vec.html import data_uri
from vlm2vec.media.image import load_image
from vlm2vec.media.sampling import uniform_indices
from vlm2vec.media.source import Source
from vlm2vec.mmeb.digests import Digests
from vlm2vec.mmeb.loaders import DataFolder, load
from vlm2vec.mmeb.mini import write_mini
from vlm2vec.mmeb.processes import Processes
from vlm2vec.mmeb.samples import Content, Key, Query, TaskData
from vlm2vec.mmeb.task_result import TaskResult
from vlm2vec.mmeb.task_samples import task_samples
from vlm2vec.mmeb.tasks import get_task, list_tasks

__all__ = ["Candidate", "Example", "TaskExamples", "Thumbnail", "Thumbnails", "choose", "examples"]

_PIXELS = 320  # longer side; cards are about half as wide, on screens of twice the density
_FRAME_PIXELS = 144
_FRAMES = 8
_GAP = 4


@dataclass(frozen=True)
class Thumbnail:
    """A picture as an `img` shows it, or in `gone` why there is none."""

    uri: str = ""
    width: int = 0
    height: int = 0
    gone: str = ""


@dataclass
class Thumbnails:
    """Makes thumbnails until they have taken as many bytes as they may.

    Attributes:
        limit: Bytes of all together, as the page holds them.
        spent: Bytes so far.
        shown: How many were made.
        left_out: How many were not, since the limit was reached.
        broken: How many could not be read.
    """

    limit: int
    spent: int = 0
    shown: int = 0
    left_out: int = 0
    broken: int = 0
    _end: int = 0

    def share(self, tasks: int) -> None:
        """From here on take no more than one of so many tasks may take of what is left."""
        self._end = self.spent + (self.limit - self.spent) // tasks

    def of(self, content: Content, *, columns: int = _FRAMES) -> Thumbnail | None:
        """The picture, clip or page of a sample; `None` for one that has none.

        Args:
            content: The sample.
            columns: How many frames of a clip stand side by side, before the next row starts.
        """
        if not content.frames and content.image is None:
            return None
        try:
            picture = _strip(content, columns) if content.frames else _still(content.image, _PIXELS)
        except (VLM2VecError, OSError, ValueError):
            self.broken += 1
            return Thumbnail(gone="cannot be read")
        uri = data_uri([picture])
        if self.spent + len(uri) > self._end:
            self.left_out += 1
            return Thumbnail(gone="left out: the page would get too large")
        self.spent += len(uri)
        self.shown += 1
        return Thumbnail(uri, *picture.size)


@dataclass(frozen=True)
class Candidate:
    """A candidate of a query.

    Attributes:
        key: Of the candidate.
        rank: 1 is the best; `None` where it is not among the ranks that were kept.
        right: Whether it is one of the right ones.
        content: What it shows and says.
        picture: What it shows, as the page has it.
    """

    key: Key
    rank: int | None
    right: bool
    content: Content
    picture: Thumbnail | None = None

    @property
    def name(self) -> str:
        """What stands below it: its key, of crops without the text, which is shown beside or empty."""
        return str(self.key).removesuffix(":" + self.content.text.strip('"'))


@dataclass(frozen=True)
class Example:
    """A query and what it found.

    Attributes:
        number: Place of the query in the data, from 0.
        hit: Whether a right candidate came first.
        score: The headline metric, from 0 to 1.
        content: What was looked for.
        candidates: The first ones in order; then the best right one, if none of these is right.
        kept: How many ranks of it are known; 0 for a query that could not be embedded.
        right: How many candidates are right.
        picture: What the query shows, as the page has it.
    """

    number: int
    hit: bool
    score: float
    content: Content
    candidates: tuple[Candidate, ...]
    kept: int
    right: int
    picture: Thumbnail | None = None


@dataclass(frozen=True)
class TaskExamples:
    """What is shown of a task.

    Attributes:
        result: Of the task.
        shown: Misses, then hits.
        misses: How many the task has.
        hits: How many the task has.
        reason: Why nothing is shown; "" otherwise.
    """

    result: TaskResult
    shown: tuple[Example, ...] = ()
    misses: int = 0
    hits: int = 0
    reason: str = ""


def examples(
    results: Sequence[TaskResult],
    data: DataFolder,
    remembered: Digests,
    thumbnails: Thumbnails,
    *,
    queries: int,
    candidates: int,
) -> Iterator[TaskExamples]:
    """What is shown of each task, with its thumbnails.

    Args:
        results: Of the tasks.
        data: Those that were scored; tasks of the mini suite are drawn again and need none.
        remembered: Digests of files that the run has read: they need not be read again.
        thumbnails: What makes them; each task may take its share of what is left.
        queries: How many misses, and how many hits, of each task.
        candidates: How many of each query.
    """
    mini = {task.name for task in list_tasks("mini")}
    for number, result in enumerate(results):
        if queries == 0:
            yield TaskExamples(result, reason="No queries were asked for.")
            continue
        if data.folder is None and result.task not in mini:
            yield TaskExamples(result, reason="No data folder was given.")
            continue
        with TemporaryDirectory(prefix="vlm2vec-mmeb-") as scratch:
            if result.task in mini:
                write_mini(Path(scratch), {result.task})
                found = _of_task(result, DataFolder(Path(scratch)), Digests(), queries, candidates)
            else:
                found = _of_task(result, data, remembered, queries, candidates)
            thumbnails.share(len(results) - number)
            yield replace(found, shown=tuple(_pictured(one, thumbnails) for one in found.shown))


def choose(result: TaskResult, data: TaskData, *, queries: int, candidates: int) -> TaskExamples:
    """Misses and hits at even spaces in the order of the data, from the first on.

    Args:
        result: Of a task.
        data: Of the task, those that were scored.
        queries: How many misses, and how many hits.
        candidates: How many of each query.
    """
    asked = list(enumerate(zip(data.queries, result.top, strict=True)))
    hits = [number for number, (query, top) in asked if top and top[0] in query.labels]
    misses = sorted({number for number, _ in asked}.difference(hits))
    chosen = [*_spread(misses, queries), *_spread(hits, queries)]
    return TaskExamples(
        result,
        tuple(_example(number, result, data, candidates) for number in chosen),
        misses=len(misses),
        hits=len(hits),
    )


def _of_task(
    result: TaskResult, folder: DataFolder, digests: Digests, queries: int, candidates: int
) -> TaskExamples:
    try:
        compat = result.made_of["compat"]
        task = get_task(result.task).as_of(compat).changed(result.made_of.get("task", {}))
        data = load(task, folder, compat=compat)
        digest = task_samples(result.task, data, digests, Processes(), tolerant=True).digest
    except (VLM2VecError, OSError) as error:
        return TaskExamples(result, reason=f"Its data cannot be read: {error}")
    if digest != result.made_of.get("data"):
        return TaskExamples(
            result,
            reason="The data are not those that were scored, so they are not shown beside these results.",
        )
    return choose(result, data, queries=queries, candidates=candidates)


def _example(number: int, result: TaskResult, data: TaskData, count: int) -> Example:
    query, top = data.queries[number], result.top[number]
    shown = [
        Candidate(key, place, key in query.labels, data.candidates[key])
        for place, key in enumerate(top[:count], start=1)
    ]
    hit = bool(shown) and shown[0].right
    if not any(one.right for one in shown):
        shown += _best_right(query, top, data)
    return Example(
        number, hit, result.per_query[number], query.content, tuple(shown), len(top), len(query.labels)
    )


def _best_right(query: Query, top: Sequence[Key], data: TaskData) -> list[Candidate]:
    """The right candidate that came first; the first of all where none is among the ranks that are known."""
    ranks = {key: rank for rank, key in enumerate(top, start=1) if key in query.labels}
    for key in [*ranks, *query.labels]:
        if key in data.candidates:
            return [Candidate(key, ranks.get(key), True, data.candidates[key])]
    return []


def _pictured(example: Example, thumbnails: Thumbnails) -> Example:
    """With thumbnails, and without what they are of: pages may be large."""
    candidates = tuple(
        replace(one, picture=thumbnails.of(one.content), content=replace(one.content, image=None))
        for one in example.candidates
    )
    picture = thumbnails.of(example.content, columns=4)
    return replace(
        example, picture=picture, content=replace(example.content, image=None), candidates=candidates
    )


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    few = min(count, len(numbers))
    return [numbers[place * len(numbers) // few] for place in range(few)]


def _still(given: Path | bytes | None, pixels: int) -> Image.Image:
    source = Source.from_bytes(given) if isinstance(given, bytes) else Source.from_path(Path(given or ""))
    picture = Image.fromarray(load_image(source, alpha="white"))
    picture.thumbnail((pixels, pixels))
    return picture


def _strip(content: Content, columns: int) -> Image.Image:
    """Frames side by side, in order of time; what is between them is transparent."""
    chosen = [content.frames[index] for index in uniform_indices(len(content.frames), _FRAMES)]
    frames = [_still(frame, _FRAME_PIXELS) for frame in chosen]
    wide, high = (max(side) + _GAP for side in zip(*(frame.size for frame in frames), strict=True))
    rows = -(-len(frames) // columns)
    strip = Image.new("RGBA", (min(columns, len(frames)) * wide - _GAP, rows * high - _GAP))
    for index, frame in enumerate(frames):
        strip.paste(frame, (index % columns * wide, index // columns * high))
    return strip
