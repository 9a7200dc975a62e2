"""Data of the mini suite: the drawn world in the public layouts of the benchmark."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlm2vec.world.captions import full_caption, motion_text
from vlm2vec.world.ink import with_ink
from vlm2vec.world.items import any_clip, any_page, any_scene, story
from vlm2vec.world.scenes import Scene
from vlm2vec.world.tasks.classification import INSTRUCTIONS, draw_labelled_scene, labels
from vlm2vec.world.tasks.grounding import FIND_PART, referable
from vlm2vec.world.tasks.moments import find_moment, moments
from vlm2vec.world.tasks.page_questions import answered_by
from vlm2vec.world.tasks.questions import ANSWER, Question, about_clip, about_scene
from vlm2vec.world.vocabulary import COLOURS, COUNTS, SHAPES, SIZES

__all__ = ["write_mini"]

_ANSWERS = {"colour": tuple(COLOURS), "shape": SHAPES, "size": SIZES, "count": COUNTS}
_TOKEN = "<|image_1|>\n"  # noqa: S105 - how the public tables write that there is a picture
_PARTS = 10


def write_mini(
    folder: Path, tasks: Collection[str] | None = None, *, seed: int = 0, queries: int = 80
) -> None:
    """Write annotations, pictures, frames and pages, as the public archives and repositories hold them.

    Args:
        folder: What `evaluate` is then given as `data_dir`.
        tasks: Names of those to write; all by default.
        seed: Of everything. No training of the model inside the package has seen these draws.
        queries: Of each task.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> write_mini(folder, ["mini-I-CLS"], queries=2)
        >>> sorted(path.name for path in folder.iterdir())
        ['annotations', 'image-tasks']
    """
    for number, (name, write) in enumerate(_WRITERS.items()):
        if tasks is None or name in tasks:
            # Training draws with even seeds alone.
            write(_Writer(folder, np.random.default_rng([2 * seed + 1, 1000 + number]), queries))


@dataclass(frozen=True)
class _Writer:
    folder: Path
    rng: np.random.Generator
    count: int

    def classified_images(self) -> None:
        rows = []
        for number in range(self.count):
            scene = draw_labelled_scene(self.rng)
            answers = labels(scene)
            asked = tuple(answers)[number % len(answers)]
            rows.append(
                {
                    "qry_inst": _TOKEN + INSTRUCTIONS[asked][0],
                    "qry_text": "",
                    "qry_img_path": self._image("mini-I-CLS", number, scene),
                    "tgt_text": _first(answers[asked], _ANSWERS[asked]),
                }
            )
        self._rows("vlm2vec/mini-image", "I-CLS", rows)

    def image_questions(self) -> None:
        asked: list[tuple[Scene, Question]] = []
        while len(asked) < self.count:
            scene = any_scene(self.rng)
            questions = about_scene(scene)
            if questions:
                asked.append((scene, questions[self.rng.integers(len(questions))]))
        answers = sorted({question.answer for _, question in asked})
        self._rows(
            "vlm2vec/mini-image",
            "I-QA",
            [
                {
                    "qry_inst": _TOKEN + ANSWER,
                    "qry_text": question.text,
                    "qry_img_path": self._image("mini-I-QA", number, scene),
                    "tgt_text": _first(question.answer, answers),
                }
                for number, (scene, question) in enumerate(asked)
            ],
        )

    def retrieved_images(self) -> None:
        scenes = self._different(any_scene)
        paths = [self._image("mini-I-RET", number, scene) for number, scene in enumerate(scenes)]
        self._rows(
            "vlm2vec/mini-image",
            "I-RET",
            [
                {
                    "qry_inst": "Find what is described.",
                    "qry_text": full_caption(scene),
                    "tgt_inst": _TOKEN + "Represent the content.",
                    "tgt_text": [""] * len(paths),
                    "tgt_img_path": _first(path, paths),
                }
                for scene, path in zip(scenes, paths, strict=True)
            ],
        )

    def grounded_parts(self) -> None:
        rows: list[dict[str, Any]] = []
        parts: list[str] = []
        while len(rows) < self.count:
            scene = any_scene(self.rng)
            things = referable(scene)
            if len(things) < 2:
                continue
            number = len(rows)
            own = [self._image("mini-I-VG", f"{number}-{place}", part) for place, part in enumerate(things)]
            others = [parts[place] for place in self.rng.permutation(len(parts))] if parts else []
            shown = [*own, *others][:_PARTS]
            rows.append(
                {
                    "qry_inst": _TOKEN + FIND_PART,
                    "qry_text": f"the {things[0].thing.noun}",
                    "qry_img_path": self._image("mini-I-VG", number, scene),
                    "tgt_inst": _TOKEN + "Represent the content.",
                    "tgt_text": [""] * len(shown),
                    "tgt_img_path": shown,
                }
            )
            parts += own
        self._rows("vlm2vec/mini-image", "I-VG", rows)

    def classified_clips(self) -> None:
        rows = []
        for number in range(self.count):
            clip = any_clip(self.rng)
            rows.append(
                {
                    "video_id": self._clip("mini-V-CLS", str(number), clip),
                    "pos_text": motion_text(clip.motions),
                }
            )
        self._rows("vlm2vec/mini-video", "V-CLS", rows)

    def clip_questions(self) -> None:
        rows: list[dict[str, Any]] = []
        while len(rows) < self.count:
            clip = any_clip(self.rng)
            questions = [question for question in about_clip(clip) if question.wrong]
            if questions:
                question = questions[self.rng.integers(len(questions))]
                choices = [question.answer, *question.wrong]
                rows.append(
                    {
                        "video": self._clip("mini-V-QA", str(len(rows)), clip),
                        "question": question.text,
                        "candidates": [choices[place] for place in self.rng.permutation(len(choices))],
                        "answer": question.answer,
                    }
                )
        self._rows("vlm2vec/mini-video", "V-QA", rows)

    def retrieved_clips(self) -> None:
        clips = self._different(any_clip)
        self._rows(
            "vlm2vec/mini-video",
            "V-RET",
            [
                {"video_id": self._clip("mini-V-RET", str(number), clip), "caption": full_caption(clip)}
                for number, clip in enumerate(clips)
            ],
        )

    def found_moments(self) -> None:
        rows = []
        for number in range(self.count):
            row = find_moment(self.rng)
            clip, right = row["query"]["video"], row["document"]
            self._clip("mini-V-MR", f"{number}/query", clip)
            for place, part in enumerate(moments(clip)):
                name = "positive" if part == right else f"negative_{place}"
                self._clip("mini-V-MR", f"{number}/{name}", part)
            rows.append({"video_path": f"{number}.mp4", "query": row["query"]["text"]})
        self._rows("vlm2vec/mini-video", "V-MR", rows)

    def found_pages(self) -> None:
        pages = self._different(any_page)
        fits = Counter(text for page in pages for text in answered_by(page))
        asked = []
        for number, page in enumerate(pages):
            own = [text for text in answered_by(page) if fits[text] == 1] or answered_by(page)
            asked.append((number, own[self.rng.integers(len(own))]))
            path = self.folder / "visdoc-tasks" / "images" / "mini-VD" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            with_ink(page, self.rng).save(path)
        tables: dict[str, list[dict[str, Any]]] = {
            "queries": [{"query-id": number, "query": text} for number, text in asked],
            "qrels": [
                {"query-id": number, "corpus-id": place, "score": 1}
                for number, text in asked
                for place, page in enumerate(pages)
                if text in answered_by(page)
            ],
            "corpus": [{"corpus-id": number} for number in range(len(pages))],
        }
        for table, rows in tables.items():
            self._rows("vlm2vec/mini-pages", table, rows)

    def _different(self, draw: Any) -> list[Any]:
        """Items of which each has a story of its own, so that one caption fits one item."""
        items: dict[Any, Any] = {}
        while len(items) < self.count:
            item = draw(self.rng)
            items.setdefault(story(item), item)
        return list(items.values())

    def _image(self, task: str, name: int | str, item: Any) -> str:
        path = self.folder / "image-tasks" / task / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with_ink(item, self.rng).save(path)
        return f"{task}/{name}.png"

    def _clip(self, task: str, name: str, clip: Any) -> str:
        folder = self.folder / "video-tasks" / "frames" / task / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(with_ink(clip, self.rng).frames):
            Image.fromarray(np.asarray(frame)).save(folder / f"frame_{number}.png")
        return name

    def _rows(self, repo: str, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        file = self.folder / "annotations" / repo / table / "test.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


_WRITERS = {
    "mini-I-CLS": _Writer.classified_images,
    "mini-I-QA": _Writer.image_questions,
    "mini-I-RET": _Writer.retrieved_images,
    "mini-I-VG": _Writer.grounded_parts,
    "mini-V-CLS": _Writer.classified_clips,
    "mini-V-QA": _Writer.clip_questions,
    "mini-V-RET": _Writer.retrieved_clips,
    "mini-V-MR": _Writer.found_moments,
    "mini-VD": _Writer.found_pages,
}


def _first(right: str, all_of_them: Iterable[str]) -> list[str]:
    """The right one first, as the public tables list candidates."""
    return [right, *(one for one in all_of_them if one != right)]
