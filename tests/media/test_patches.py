import json
from pathlib import Path

import numpy as np
import PIL
import pytest
import torch
from media_making import random_picture
from safetensors.numpy import load_file
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlm2vec.backbones.patch_projection import normalised
from vlm2vec.backbones.qwen2_vl.layout import LAYOUT
from vlm2vec.errors import InputError
from vlm2vec.media.frames import read_frame_folder
from vlm2vec.media.image import load_image
from vlm2vec.media.patches import patchify
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.resize import fit, fit_frames
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source

RULES = PixelRules()
V2 = PixelRules(tiny_image_side=56, extreme_ratio="square")
GOLDEN = Path(__file__).parents[1] / "data" / "golden"
CASES = [c for c in json.loads((GOLDEN / "inputs" / "cases.json").read_text()) if c.get("images")]
CLIPS = [c for c in json.loads((GOLDEN / "inputs" / "cases.json").read_text()) if c.get("video_dir")]
EXPECTED = load_file(GOLDEN / "out" / "golden.safetensors")


SIZES = [(28, 28), (100, 333), (333, 100), (640, 480), (1300, 900), (30, 5000)]


@pytest.mark.skipif(PIL.__version__ < "13", reason="Pillow 12 resizes in another order, and so transformers")
@pytest.mark.parametrize("size", SIZES)
def test_pixel_values_are_bit_equal_to_transformers(size):
    picture = random_picture(*size)
    expected = Qwen2VLImageProcessorPil()(picture, return_tensors="np")
    patches, grid = patchify(fit(load_image(picture), RULES)[None], RULES)
    assert [list(grid)] == expected["image_grid_thw"].tolist()
    assert np.array_equal(pixel_values(patches), expected["pixel_values"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_images_give_the_pixel_values_of_the_original_code(case):
    parts = []
    for name in case["images"]:
        image = load_image(Source.from_path(GOLDEN / "inputs" / name), alpha="drop")
        parts.append(pixel_values(patchify(fit(image, V2)[None], V2)[0]))
    assert_golden(case["id"], np.concatenate(parts))


@pytest.mark.parametrize("case", CLIPS, ids=lambda case: case["id"])
def test_frames_give_the_pixel_values_of_the_original_code(case):
    clip = read_frame_folder(GOLDEN / "inputs" / case["video_dir"], Sampling(case["num_frames"]))
    frames = fit_frames(clip.frames, V2, of_file=False)
    assert_golden(case["id"], pixel_values(patchify(frames, V2)[0]))


def pixel_values(patches):
    return normalised(torch.from_numpy(patches), LAYOUT).numpy()


def assert_golden(name, values):
    assert np.array_equal(values[:4], EXPECTED[f"pixel_values_head/{name}"])
    if f"pixel_values/{name}" in EXPECTED:
        assert np.array_equal(values, EXPECTED[f"pixel_values/{name}"])


def test_patches_are_those_of_a_plain_loop():
    frames = np.random.default_rng(0).integers(0, 256, (3, 56, 84, 3), dtype=np.uint8)
    patches, (t, h, w) = patchify(frames, RULES)
    assert (t, h, w) == (2, 4, 6)
    whole = np.concatenate([frames, frames[-1:]])
    expected = []
    for pair in range(t):
        for token_row in range(h // 2):
            for token_column in range(w // 2):
                for row in (2 * token_row, 2 * token_row + 1):
                    for column in (2 * token_column, 2 * token_column + 1):
                        block = whole[
                            2 * pair : 2 * pair + 2, 14 * row : 14 * row + 14, 14 * column : 14 * column + 14
                        ]
                        expected.append(block.transpose(3, 0, 1, 2).ravel())
    assert np.array_equal(patches, np.array(expected))


def test_a_still_image_fills_both_frames_of_its_patches():
    image = np.asarray(random_picture(56, 56))
    patches, grid = patchify(image[None], RULES)
    assert grid == (1, 4, 4)
    halves = patches.reshape(16, 3, 2, 196)
    assert np.array_equal(halves[:, :, 0], halves[:, :, 1])


def test_patches_stay_uint8_and_contiguous():
    patches, _ = patchify(np.zeros((2, 28, 28, 3), np.uint8), RULES)
    assert patches.dtype == np.uint8
    assert patches.flags.c_contiguous


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((28, 28, 3), np.uint8),
        np.zeros((1, 28, 28, 4), np.uint8),
        np.zeros((1, 28, 28, 3), np.float32),
        np.zeros((0, 28, 28, 3), np.uint8),
        np.zeros((1, 28, 30, 3), np.uint8),
        np.zeros((1, 0, 28, 3), np.uint8),
    ],
)
def test_frames_of_another_form_are_errors(frames):
    with pytest.raises(InputError, match=r"shape|multiple"):
        patchify(frames, RULES)
