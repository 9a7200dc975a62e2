"""The inputs and the numbers of the original code that several tests compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

GOLDEN = Path(__file__).parent / "data" / "golden"
"""Tiny random checkpoints in the published layouts, and what the original code computes with them."""

CASES = {
    case["id"]: case for case in json.loads((GOLDEN / "inputs" / "cases.json").read_text(encoding="utf-8"))
}
NUMBERS = load_file(GOLDEN / "out" / "golden.safetensors")
ADAPTED = load_file(GOLDEN / "out" / "golden_lora.safetensors")


def raw_input(name: str) -> dict[str, Any]:
    """A case as an input of the public API: its exact prompt, and its media."""
    case = CASES[name]
    given: dict[str, Any] = {"prompt": case["text"]}
    if case.get("images"):
        given["images"] = [GOLDEN / "inputs" / image for image in case["images"]]
    if video := case.get("video_dir") or case.get("video_file"):
        given |= {"video": GOLDEN / "inputs" / video, "num_frames": case["num_frames"]}
    return given
