"""LLaVA-Hound: clips as folders of frames, with captions and questions written by a language model.

The annotations are JSON lines with `id`, `video` (the folder of its frames) and `conversations`, a human turn
and an answer. Prompts are those of TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4
(`src/data/dataset/llavahound_dataset_caption.py` and `..._qa.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vlm2vec.encoding.prompt import VIDEO_TOKEN
from vlm2vec.errors import InputError
from vlm2vec.training.sources.json_lines import JsonLines
from vlm2vec.training.sources.lazy_rows import LazyRows
from vlm2vec.training.sources.loader import Loader
from vlm2vec.training.sources.prompt_pair import PromptPair

__all__ = ["LOADERS"]

_ANNOTATIONS = "video_instruction/train/sft"


@dataclass(frozen=True)
class _Task:
    """One way to make pairs of a clip and a conversation about it."""

    name: str
    summary: str
    file: str
    pair: PromptPair


_TASKS = (
    _Task(
        name="llava-hound-video-to-caption",
        summary="a clip and the request to describe it, to its caption",
        file="video_caption_300k.jsonl",
        pair=PromptPair("{human}", "{answer}", medium="query", key="video"),
    ),
    _Task(
        name="llava-hound-caption-to-video",
        summary="a caption, to its clip",
        file="video_caption_300k.jsonl",
        pair=PromptPair(
            "Find a video that contains the following visual content: {answer}",
            f"Understand the content of the provided video: {VIDEO_TOKEN}",
            medium="document",
            key="video",
        ),
    ),
    _Task(
        name="llava-hound-qa",
        summary="a clip and a question about it, to the answer",
        # 240,000 questions, then 15,000 captions: a cap of 240,000 keeps to the questions.
        file="video_240k_caption_15k.jsonl",
        pair=PromptPair(
            "Answer a question based on the content of a video. {human}",
            "{answer}",
            medium="query",
            key="video",
        ),
    ),
)


@dataclass(frozen=True)
class _ToRow:
    pair: PromptPair
    folder: Path

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        try:
            human, answer = (turn["value"] for turn in record["conversations"][:2])
            folder = self.folder / record["video"]
            fields = {"human": human.replace("<video>", VIDEO_TOKEN), "answer": answer}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"the record {record.get('id')!r} has no video and conversation of two turns",
                fix="Check that this loader is meant for this file.",
            ) from error
        return self.pair.row(fields, folder)


def _open(task: _Task, root: Path, options: Mapping[str, str], limit: int | None) -> LazyRows[dict[str, Any]]:
    folder = root / options["media"]
    if not folder.is_dir():
        raise InputError(
            f"the folder of frames {folder} does not exist",
            fix='Unpack the archives of frames there, or set "media" to where they are.',
        )
    return LazyRows(JsonLines(root / options["file"], limit=limit), _ToRow(task.pair, folder))


LOADERS = tuple(
    Loader(
        name=task.name,
        summary=task.summary,
        open=partial(_open, task),
        options={"file": f"{_ANNOTATIONS}/{task.file}", "media": "train_300k"},
        homepage="https://huggingface.co/datasets/ShareGPTVideo/train_video_and_instruction",
    )
    for task in _TASKS
)
