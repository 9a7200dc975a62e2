"""Patches of pictures and clips, byte for byte those of the original code, by the rules of six families."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from golden_cases import GOLDEN

from vlm2vec.media.frames import sample_frames
from vlm2vec.media.image import load_image, load_picture
from vlm2vec.media.patches import patchify
from vlm2vec.media.pixels import FrameRules, PixelRules
from vlm2vec.media.resize import fit, fit_frames, frame_size
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import clip_shape, read_frames

INPUTS = GOLDEN / "inputs"
CASES = json.loads((GOLDEN.parent / "golden_pixels.json").read_text(encoding="utf-8"))["cases"]

SMALL, LARGE = 28 * 28, 32 * 32  # pixels of a token
RULES = {
    "qwen3_vl": PixelRules(
        min_pixels=4 * LARGE,
        max_pixels=1800 * LARGE,
        patch_size=16,
        alpha="white_rgba",
        sizing="utils",
        frames=FrameRules(
            min_pixels=128 * LARGE,
            max_pixels=768 * LARGE,
            total_pixels=7680 * LARGE,
            total_pixels_of_files=115_200 * LARGE,
            rounded_to=64,
            resizer="float32",
        ),
    ),
    "qwen2_5_vl": PixelRules(
        min_pixels=4 * SMALL,
        max_pixels=16384 * SMALL,
        alpha="white_rgba",
        sizing="utils",
        frames=FrameRules(
            min_pixels=128 * SMALL,
            max_pixels=768 * SMALL,
            total_pixels=115_200 * SMALL,
            total_pixels_of_files=115_200 * SMALL,
            rounded_to=56,
            resizer="float32",
        ),
    ),
    "nomic": PixelRules(min_pixels=56 * 56, max_pixels=16384 * SMALL, resizer="torch"),
    "vlm2vec": PixelRules(min_pixels=56 * 56, max_pixels=1280 * SMALL),
    "ops_mm_v1": PixelRules(
        min_pixels=256 * SMALL,
        max_pixels=1280 * SMALL,
        rounded_first=True,
        frames=FrameRules(256 * SMALL, 1280 * SMALL, rounded_to=28),
    ),
    "rzenembed": PixelRules(
        min_pixels=256 * SMALL,
        max_pixels=1280 * SMALL,
        rounded_first=True,
        frames=FrameRules(160 * SMALL, 180 * SMALL, rounded_to=28),
    ),
}
FILES = Sampling(64, fps=1.0, min_frames=4, rule="spread")


def digest(patches: list[np.ndarray]) -> str:
    return hashlib.sha256(np.ascontiguousarray(np.concatenate(patches)).tobytes()).hexdigest()


def pictures_of(clip: dict) -> list:
    """The pictures that a case names: of a folder, or windows that move over a picture."""
    if "frames" in clip:
        return [
            Source.from_path(INPUTS / clip["frames"] / f"frame_{i + 1}.png") for i in range(clip["count"])
        ]
    whole, (width, height), (right, down) = (
        load_image(Source.from_path(INPUTS / clip["crops"])),
        clip["size"],
        clip["step"],
    )
    corners = [
        (i * down % (whole.shape[0] - height), i * right % (whole.shape[1] - width))
        for i in range(clip["count"])
    ]
    return [whole[top : top + height, left : left + width] for top, left in corners]


def clip_of(case: dict, rules: PixelRules) -> np.ndarray:
    """The fitted frames of a case, which must have the size that is known before they are read."""
    clip = case["clip"]
    if "file" in clip:
        source, is_file = Source.from_path(INPUTS / clip["file"]), True
        sampling = replace(FILES, fps=clip.get("fps", 1.0), num_frames=clip.get("max_frames", 64))
        frames = read_frames(source, sampling, alpha=rules.alpha).frames
        shape = clip_shape(source, sampling)
    else:
        given, is_file, sampling = tuple(pictures_of(clip)), False, Sampling(64)
        frames = sample_frames(given, sampling, alpha=rules.alpha).frames
        shape = clip_shape(given, sampling)
    fitted = fit_frames(frames, rules, of_file=is_file)
    expected = frame_size(shape.height, shape.width, rules, count=shape.frames, of_file=is_file)
    assert fitted.shape == (shape.frames, *expected, 3)
    return fitted


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['rules']}-{case['case']}")
def test_patches_are_those_of_the_original(case: dict) -> None:
    rules = RULES[case["rules"]]
    if "images" in case:
        pictures = [
            load_picture(Source.from_path(INPUTS / name), alpha=rules.alpha) for name in case["images"]
        ]
        stacks = [fit(picture, rules)[None] for picture in pictures]
    else:
        fitted = clip_of(case, rules)
        # Two families show each frame of a clip as a picture of its own.
        stacks = [fitted] if len(case["grids"]) == 1 else list(fitted[:, None])
    patches, grids = zip(*(patchify(stack, rules) for stack in stacks), strict=True)
    assert [list(grid) for grid in grids] == case["grids"]
    assert digest(list(patches)) == case["sha256"]


def test_the_cases_are_all_here() -> None:
    assert {case["rules"] for case in CASES} == set(RULES)
    assert sum("clip" in case for case in CASES) == 11


@pytest.mark.parametrize(
    ("sampling", "times", "stamps"),
    [
        (FILES, (0.0, 1.0, 1.9, 2.9), ["0.5", "2.4"]),
        (replace(FILES, fps=2.0, num_frames=6), (0.0, 0.6, 1.2, 1.7, 2.3, 2.9), ["0.3", "1.4", "2.6"]),
    ],
    ids=["video_file", "video_file_fps2"],
)
def test_times_of_a_file_are_counted_as_the_original_counts_them(
    sampling: Sampling, times: tuple[float, ...], stamps: list[str]
) -> None:
    source = Source.from_path(INPUTS / "clip30.mp4")
    assert tuple(read_frames(source, sampling).times) == times
    assert clip_shape(source, sampling).times == times
    assert [f"{(a + b) / 2:.1f}" for a, b in zip(times[::2], times[1::2], strict=True)] == stamps
