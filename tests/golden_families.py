"""The inputs and numbers of the original code of families on Qwen3-VL and Qwen2.5-VL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from golden_cases import GOLDEN
from safetensors.torch import load_file

from vlm2vec import profiles
from vlm2vec.encoding.prepare import Prepared, Visual
from vlm2vec.media.pixels import FrameRules, PixelRules
from vlm2vec.profiles import Profile

DATA = Path(__file__).parent / "data"
INPUTS = GOLDEN / "inputs"
_TOKEN = 28 * 28

CHAT = Profile(
    name="chat",
    summary="the chat prompt of Qwen2.5-VL, as its template writes it",
    network="qwen2_5_vl",
    instruction_slot="first",
    instruction_joiner="",
    prefix="<|im_start|>system\n",
    default_instruction="You are a helpful assistant.",
    instruction_end="<|im_end|>\n<|im_start|>user\n",
    joiner="",
    media_start="<|vision_start|>",
    media_end="<|vision_end|>",
    suffix="<|im_end|>\n<|im_start|>assistant\n",
    positions="mrope_time",
    num_frames=768,
    min_frames=4,
    fps=2.0,
    pixels=PixelRules(
        min_pixels=4 * _TOKEN,
        max_pixels=16384 * _TOKEN,
        alpha="white_rgba",
        sizing="utils",
        frames=FrameRules(
            min_pixels=128 * _TOKEN,
            max_pixels=768 * _TOKEN,
            total_pixels=115_200 * _TOKEN,
            total_pixels_of_files=115_200 * _TOKEN,
            rounded_to=56,
            resizer="float32",
        ),
    ),
)
"""What qwen_vl_utils and the stock processor make of a conversation."""

PROFILES = {
    "qwen3_vl": profiles.get("qwen3-vl-embedding"),
    "biqwen": profiles.get("nomic-multimodal"),
    "chat_mrope": CHAT,
    "plain_1d": profiles.get("vlm2vec-v2-qwen2.5vl"),
    "lamra_1d": profiles.get("lamra-ret-qwen2.5vl"),
}
CHECKPOINTS = {
    name: DATA
    / ("golden_qwen3_vl/tiny_qwen3vl" if name == "qwen3_vl" else "golden_qwen2_5_vl/tiny_qwen2_5_vl")
    for name in PROFILES
}


def read(folder: str) -> tuple[dict[str, dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Cases, what is said of them, and numbers of a folder of golden data."""
    path = DATA / folder
    cases = json.loads((path / "cases.json").read_text(encoding="utf-8"))
    said = json.loads((path / "golden.json").read_text(encoding="utf-8"))
    return {case["id"]: case for case in cases}, said, load_file(path / "golden.safetensors")


def qwen3_vl_input(case: dict[str, Any]) -> Any:
    """A case of Qwen3-VL-Embedding as users give it; nothing at all is the text that it becomes there."""
    case = dict(case["input"]) or {"text": "NULL"}
    texts = case.get("text", [])
    texts = [_text(text) for text in ([texts] if isinstance(texts, str) else texts)]
    images = case.get("image", [])
    images = [INPUTS / image for image in ([images] if isinstance(images, str) else images)]
    if len(texts) > 1:
        return texts
    given: dict[str, Any] = {"images": images} if images else {}
    given |= {"text": texts[0]} if texts else {}
    if "video" in case:
        given["video"] = clip_of(case["video"])
    options = {"instruction": "instruction", "fps": "fps", "max_frames": "num_frames"}
    return given | {ours: case[theirs] for theirs, ours in options.items() if theirs in case}


def qwen2_5_vl_input(case: dict[str, Any]) -> Any:
    """A case of a family on Qwen2.5-VL as users give it."""
    if "prompt" in case:
        given: dict[str, Any] = {"prompt": case["prompt"]}
        if "images" in case:
            given["images"] = [INPUTS / image for image in case["images"]]
        return given | ({"video": clip_of(case)} if "frames" in case else {})
    if case["set"] == "biqwen":
        return {"images": [INPUTS / image for image in case["images"]]} if "images" in case else case["text"]
    return [
        {"image": INPUTS / part["image"]}
        if part["type"] == "image"
        else {"video": clip_of(part), **({"frame_rate": part["sample_fps"]} if "sample_fps" in part else {})}
        if part["type"] == "video"
        else _text(part["text"])
        for part in case["content"]
    ]


def clip_of(video: dict[str, Any]) -> Any:
    """The clip of a case: a file, a list of pictures in files, or windows that move over a picture."""
    if "file" in video:
        return INPUTS / video["file"]
    if "frames" in video:
        return [INPUTS / video["frames"] / f"frame_{i + 1}.png" for i in range(video["count"])]
    whole = PIL.Image.open(INPUTS / video["crops"]).convert("RGB")
    (width, height), (right, down) = video["size"], video["step"]
    corners = [
        (i * right % (whole.width - width), i * down % (whole.height - height)) for i in range(video["count"])
    ]
    return [whole.crop((x, y, x + width, y + height)) for x, y in corners]


def sha256_of(visuals: Sequence[Visual], rules: PixelRules) -> str:
    """Of patches as the processors make them: of stills both temporal slices, which are equal."""
    rows = []
    for visual in visuals:
        slices = visual.patches.reshape(len(visual.patches), 3, -1, rules.patch_size**2)
        rows.append(np.repeat(slices, rules.temporal_patch_size // slices.shape[2], axis=2))
    return hashlib.sha256(np.ascontiguousarray(np.concatenate(rows)).tobytes()).hexdigest()


def check_media(ready: Prepared, said: dict[str, Any], rules: PixelRules) -> None:
    """Grids and pixels are those of a golden case."""
    for is_clip, grid, pixels in (
        (False, "image_grid_thw", "pixel_values_sha256_of_uint8"),
        (True, "video_grid_thw", "pixel_values_videos_sha256_of_uint8"),
    ):
        seen = [visual for visual in ready.visuals if visual.is_clip == is_clip]
        assert [list(one) for visual in seen for one in visual.grids] == said.get(grid, [])
        if seen:
            assert sha256_of(seen, rules) == said[pixels]


def _text(text: str) -> str:
    if text.startswith("@corpus:"):
        return (INPUTS / "corpus.txt").read_text(encoding="utf-8")[: int(text.split(":")[1])]
    return text
