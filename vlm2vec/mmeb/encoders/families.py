"""How the published scores of each family were made, as far as that is known, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vlm2vec.mmeb.encoders.original_prompts import OriginalPrompts
from vlm2vec.mmeb.encoders.profile_prompts import ProfilePrompts
from vlm2vec.mmeb.tasks.task import Task

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True)
class Family:
    """How the models of one profile are run.

    Attributes:
        prompts: What they are given.
        source: Where it was read how their published scores were made; "" where that is not known: then they
            are given what their own makers' code is given otherwise.
        gaps: What is known to be otherwise here than where their scores were made.
        rewording: How the end of an instruction changes in tasks of videos and documents: the first of these
            ends that it has is replaced. Instructions of images are in the data, and stay.
        tasks: By task, `options` that differ.
        fixed_size: Height and width that each picture is squeezed to, where its profile takes it as it is.
    """

    prompts: OriginalPrompts | ProfilePrompts = field(default_factory=ProfilePrompts)
    source: str = ""
    gaps: tuple[str, ...] = ()
    rewording: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fixed_size: tuple[int, int] | None = None

    def changes(self, task: Task) -> dict[str, Any]:
        """What `Task.changed` takes to make it the task that these models were scored on; {} for nothing.

        Example:
            >>> from vlm2vec.mmeb import get_task
            >>> FAMILIES["qwen3-vl-embedding"].changes(get_task("MSVD"))
            {'query_instruction': 'Find the video snippet that corresponds to the given summary.'}
            >>> FAMILIES["vlm2vec-v2"].changes(get_task("MSVD"))
            {}
        """
        options = dict(self.tasks.get(task.name, {}))
        changes: dict[str, Any] = {}
        if self.rewording and task.modality != "image":
            if (reworded := self._reworded(task.query_instruction)) != task.query_instruction:
                changes["query_instruction"] = reworded
            if "instructions" in task.options:
                said = task.options["instructions"]
                options["instructions"] = {kind: self._reworded(text) for kind, text in said.items()}
        return {**changes, "options": options} if options else changes

    def _reworded(self, instruction: str) -> str:
        for end, other in self.rewording.items():
            if instruction.endswith(end):
                return instruction.removesuffix(end) + other
        return instruction


_USER = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
_ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"
_MEDIUM = "<|vision_start|>{token}<|vision_end|>"
_ORIGINAL = "TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4"
_LETTERED = "({letter}) {text}"

_LAMRA = Family(
    # src/model/baseline_backbone/lamra/lamra_inference.py, and lamra_qwen25_inference.py with the same text,
    # `construct_messages` and `forward`: no question for one word, <emb> as plain text, and the last token is
    # pooled, a turn after it.
    OriginalPrompts(
        medium=f"{_USER}{_MEDIUM}{{text}}{_ASSISTANT}<emb>.{_ASSISTANT}",
        text=f"{_USER}{{text}}\n{_ASSISTANT}<emb>.{_ASSISTANT}",
        without_token=True,
        frames="middle",
        min_pixels=256 * 28 * 28,
        max_pixels=1280 * 28 * 28,
    ),
    source=_ORIGINAL,
)

FAMILIES: dict[str, Family] = {
    "vlm2vec-v2": Family(OriginalPrompts(), source=_ORIGINAL),
    "vlm2vec-v1-qwen2vl": Family(
        OriginalPrompts(), source=_ORIGINAL, gaps=("frames of V-QA are not squeezed there",)
    ),
    "vlm2vec-v2-qwen2.5vl": Family(OriginalPrompts(), source=_ORIGINAL),
    # run_eval.sh and the paper (arXiv 2410.05160): `--image_resolution high`. It has no clips.
    "vlm2vec-v1-llava-next": Family(
        OriginalPrompts(),
        source="TIGER-AI-Lab/VLM2Vec, branch v1, commit 28fdbdd",
        gaps=("it was scored on images alone",),
        fixed_size=(1344, 1344),
    ),
    # The README and run_eval.sh: 4 tiles, which is the profile's.
    "vlm2vec-v1-phi3v": Family(
        OriginalPrompts(),
        source="TIGER-AI-Lab/VLM2Vec, branch v1, commit 28fdbdd",
        gaps=("it was scored on images alone", "texts are cut off at 256 tokens there"),
    ),
    # src/model/baseline_backbone/gme/gme_inference.py, `embed`: the instruction stands before the text and
    # not in the system message. Pixels: the processor that src/model/processor.py gives it, 121-134. The
    # middle frame, here and of LamRA: src/model/model.py, 78-86.
    "gme-qwen2vl": Family(
        OriginalPrompts(
            medium=f"{_USER}{_MEDIUM}{{text}}{_ASSISTANT}<|endoftext|>",
            text=f"{_USER}{{text}}{_ASSISTANT}<|endoftext|>",
            without_token=True,
            frames="middle",
            min_pixels=4 * 28 * 28,
            max_pixels=1280 * 28 * 28,
        ),
        source=_ORIGINAL,
        gaps=("no token of a video stands in the text of V-QA", "nothing is cut off at 1,800 tokens"),
    ),
    "lamra-ret": replace(_LAMRA, gaps=("no token of a video stands in the text of V-QA",)),
    "lamra-ret-qwen2.5vl": replace(
        _LAMRA,
        gaps=(
            "no token of a video stands in the text of V-QA",
            "whether the processor there took these pixels was not seen",
        ),
    ),
    # src/evaluation/mmeb_v2 and scripts/evaluation/mmeb_v2 of the repository. Frames: `num_frames: 64` and
    # `sample_frames`. Instructions: the constants of src/evaluation/mmeb_v2/data/datasets, those of images by
    # `strip` alone; candidates have theirs as comments. Choices: nextqa_dataset.py and egoschema_dataset.py.
    "qwen3-vl-embedding": Family(
        ProfilePrompts("query", frames=64),
        source="QwenLM/Qwen3-VL-Embedding, commit 8ce3aab, src/evaluation/mmeb_v2",
        gaps=(
            "an empty text is two blanks",
            "captions of candidates keep blanks around them",
            "nothing is cut off at 8,192 tokens",
        ),
        rewording={" Question: ": "", ":": "."},
        tasks={
            "NExTQA": {"candidate": _LETTERED, "key": _LETTERED},
            "EgoSchema": {"query": "{question} {choices}"},
        },
    ),
    # Embedding/eval.py and Embedding/src/dataset.py, `EvalDataset`: rows of MMEB's first version, whose
    # prompts are these; it has no clips and no documents. `process_image` squeezes pictures to 1344 x 1344;
    # whether the budget that `load_processor` passes is then kept depends on the version of transformers.
    "unime-v2-qwen2vl": Family(
        OriginalPrompts(),
        source="GaryGuTC/UniME-v2, commit e3deb73, Embedding/eval.py",
        gaps=(
            "it was scored on images alone",
            "pictures are squeezed to 1344 x 1344 there, and not here",
            "texts are cut off at 4,096 tokens there",
        ),
    ),
    # Embedding/eval.py squeezes pictures; how it joins instruction and text was not read for this network.
    "unime-v2-llava-onevision": Family(fixed_size=(1344, 1344)),
    # README of 360CVGroup/RzenEmbed: instructions end in ": " before a text. The code that made its scores is
    # not public.
    "rzenembed": Family(ProfilePrompts(instruction_end=" ")),
    # colpali_engine: its prompts are fixed, and have no place for an instruction.
    "nomic-multimodal": Family(ProfilePrompts("none")),
}
"""By profile. Others, ops-mm-v1 and ume-r1 say, get the prompts of their profile: how their scores were
made is in no code that was found."""
