"""The public API gives the vectors of the original code (invariant 2).

The numbers were computed by TIGER-AI-Lab/VLM2Vec at commit 6e1e1d4 (torch 2.13.0 CPU, transformers 4.52.3,
peft 0.15.2, sdpa) on the tiny random checkpoints beside them. They are data; only that code regenerates them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import ADAPTED, CASES, GOLDEN, NUMBERS, raw_input
from safetensors.torch import load_file

from vlm2vec import VLM2Vec

BATCHES = {
    "mixed": [
        "text_short",
        "img_only",
        "video8",
        "text_long",
        "img_text",
        "multi_image",
        "video_odd5",
        "text_nl",
    ],
    "text_only": ["text_short", "text_instr", "text_nl", "text_long"],
    "images": ["img_only", "img_text", "img_qa_nl", "img_tiny", "img_gray", "img_rgba"],
}


def assert_same_direction(vector: np.ndarray, expected: torch.Tensor) -> None:
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert float(vector @ expected.flatten().numpy()) >= 0.99999


def test_there_are_22_cases_and_6_with_the_adapter() -> None:
    assert len(CASES) == 22
    assert len([name for name in ADAPTED if name.startswith("emb_lora_merged_fp32/")]) == 6


@pytest.mark.parametrize("name", CASES)
def test_raw_prompts_give_the_original_vectors(tiny: VLM2Vec, name: str) -> None:
    assert_same_direction(tiny.encode(raw_input(name)), NUMBERS[f"emb_fp32/{name}"])


@pytest.mark.parametrize("name", CASES)
def test_raw_prompts_give_the_original_tokens(tiny: VLM2Vec, name: str) -> None:
    features = tiny.preprocess([raw_input(name)])
    assert features["input_ids"][0].tolist() == NUMBERS[f"input_ids/{name}"].flatten().tolist()


@pytest.mark.parametrize("batch", BATCHES)
def test_batches_give_the_original_vectors(tiny: VLM2Vec, batch: str) -> None:
    vectors = tiny.encode([raw_input(name) for name in BATCHES[batch]])
    for vector, expected in zip(vectors, NUMBERS[f"batch_fp32/{batch}"], strict=True):
        assert_same_direction(vector, expected)


FROM_PARTS: dict[str, tuple[Any, str | None]] = {
    "text_short": ("A cat and a dog", None),
    "img_text": (
        {"image": "b_300x410.png", "text": "What is in the image"},
        "Represent the given image with the following question:",
    ),
    "doc": ({"image": "doc_850x1100.png"}, "Understand the content of the provided document image."),
    "visrag_target": (
        {"text": "A presentation slide with text, bullet points, and diagrams. ", "image": "b_300x410.png"},
        None,
    ),
    "multi_image": ({"images": ["a_224x168.png", "b_300x410.png"], "text": "Compare the two images."}, None),
    "interleaved": (
        [
            "First page:",
            {"image": "b_300x410.png"},
            "second page:",
            {"image": "a_224x168.png"},
            "Which page has the table?",
        ],
        None,
    ),
    "img_rgba": (
        {"image": "rgba_130x130.png", "text": "Represent the given image for classification\n"},
        None,
    ),
}


def _with_folder(given: Any) -> Any:
    if isinstance(given, list):
        return [_with_folder(part) for part in given]
    if isinstance(given, dict):
        return {key: _with_folder(value) if key != "text" else value for key, value in given.items()}
    return str(GOLDEN / "inputs" / "img" / given) if given.endswith(".png") else given


@pytest.mark.parametrize("name", FROM_PARTS)
def test_parts_and_instructions_give_the_original_prompts(tiny: VLM2Vec, name: str) -> None:
    given, instruction = FROM_PARTS[name]
    vectors = tiny.encode([_with_folder(given)], instruction=instruction)
    assert_same_direction(vectors[0], NUMBERS[f"emb_fp32/{name}"])


@pytest.fixture(scope="module", params=["safetensors", "bin"])
def adapted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VLM2Vec:
    folder = GOLDEN / "tiny_adapter_dora"
    if request.param == "bin":
        copy = tmp_path_factory.mktemp("adapter") / "with_bin"
        copy.mkdir()
        for file in folder.iterdir():
            if file.suffix != ".safetensors":
                (copy / file.name).write_bytes(file.read_bytes())
        torch.save(load_file(folder / "adapter_model.safetensors"), copy / "adapter_model.bin")
        folder = copy
    return VLM2Vec(folder, profile="vlm2vec-v2", base_model=GOLDEN / "tiny_qwen2vl", device="cpu")


@pytest.mark.parametrize(
    "name", [key.split("/")[1] for key in ADAPTED if key.startswith("emb_lora_merged_fp32/")]
)
def test_adapters_give_the_original_vectors(adapted: VLM2Vec, name: str) -> None:
    assert_same_direction(adapted.encode(raw_input(name)), ADAPTED[f"emb_lora_merged_fp32/{name}"])


def test_bfloat16_stays_close_to_the_original_bfloat16(golden: Path) -> None:
    model = VLM2Vec(
        golden / "tiny_qwen2vl", profile="vlm2vec-v2", device="cpu", model_kwargs={"dtype": "bfloat16"}
    )
    for name in ("text_nl", "img_only", "video8"):
        vector = model.encode(raw_input(name))
        reference = NUMBERS[f"emb_bf16_fp32rope/{name}"].flatten().numpy()
        assert float(vector @ reference) >= 0.999
