import math
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from media_making import random_picture
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vlm2vec.errors import InputError
from vlm2vec.media.pixels import FrameRules, PixelRules
from vlm2vec.media.resize import fit, fit_frames, frame_size, resize, target_size

V2 = PixelRules(tiny_image_side=56, extreme_ratio="square")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 168), (224, 168)),
        ((1600, 1200), (1148, 840)),
        ((1200, 1600), (840, 1148)),
        ((64, 20), (56, 56)),
        ((29, 6000), (980, 980)),
        ((1100, 850), (1092, 840)),
        ((1344, 1344), (980, 980)),
        ((1, 1), (56, 56)),
        ((1, 10_000), (56, 56)),
    ],
)
def test_sizes_are_those_measured_with_the_original_code(size, expected):
    assert target_size(*size, V2) == expected


def test_a_small_frame_is_not_squeezed_like_a_small_image():
    size = partial(frame_size, rules=V2, count=1, of_file=True)
    assert size(20, 64) == (56, 56)  # a square of its longer side, 64
    assert size(20, 120) == (112, 112)
    assert target_size(20, 120, V2) == (56, 56)


def test_a_fixed_size_is_resized_to_before_the_budget_applies():
    rules = PixelRules(fixed_size=(1344, 1344), max_pixels=4 * 1344 * 1344)
    assert target_size(30, 900, rules) == (1344, 1344)
    assert target_size(30, 900, PixelRules(fixed_size=(1344, 1344))) == (980, 980)


sides = st.integers(1, 3000)


@given(sides, sides, st.sampled_from([28 * 28 * 4, 28 * 28 * 64, 28 * 28 * 1280]))
def test_ordinary_sizes_are_those_of_transformers(height, width, max_pixels):
    rules = PixelRules(max_pixels=max_pixels)
    if max(height, width) / min(height, width) > 200:
        with pytest.raises(InputError, match="ratio above 200"):
            target_size(height, width, rules)
        return
    expected = smart_resize(height, width, 28, min_pixels=56 * 56, max_pixels=max_pixels)
    assert target_size(height, width, rules) == expected


@settings(max_examples=60)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([V2, PixelRules(extreme_ratio="square"), PixelRules(fixed_size=(120, 90))]),
    st.none() | st.sampled_from([784, 50 * 784]),
)
def test_the_predicted_size_is_that_of_the_fitted_picture(height, width, rules, max_pixels):
    image = np.zeros((height, width, 3), np.uint8)
    expected = target_size(height, width, rules, max_pixels=max_pixels)
    assert fit(image, rules, max_pixels=max_pixels).shape == (*expected, 3)
    assert expected[0] % 28 == expected[1] % 28 == 0


def test_max_pixels_replaces_the_rules_budget_and_wins_over_min_pixels():
    assert target_size(500, 500, PixelRules(), max_pixels=784) == (28, 28)
    assert target_size(2000, 2000, PixelRules(max_pixels=784), max_pixels=28 * 28 * 100) == (280, 280)


@pytest.mark.parametrize("max_pixels", [783, 0, -5])
def test_a_budget_below_one_token_is_an_error(max_pixels):
    with pytest.raises(InputError, match="less than one token"):
        target_size(100, 100, PixelRules(), max_pixels=max_pixels)


def test_a_picture_without_pixels_is_an_error():
    with pytest.raises(InputError, match="10 x 0"):
        target_size(0, 10, V2)


def test_resizing_is_pillows_bicubic():
    picture = random_picture(50, 40)
    expected = np.asarray(picture.resize((28, 84), Image.Resampling.BICUBIC))
    assert np.array_equal(resize(np.asarray(picture), 84, 28), expected)


@pytest.mark.parametrize(
    ("height", "width", "height_first"),
    [(28, 28, False), (84, 112, False), (56, 280, True), (28, 84, False), (28, 224, True), (308, 560, False)],
)
def test_the_order_of_the_passes_does_not_hang_on_pillow(height, width, height_first):
    picture = random_picture(300, 200)  # width 300, height 200
    between = (300, height) if height_first else (width, 200)
    expected = picture.resize(between, Image.Resampling.BICUBIC)
    expected = expected.resize((width, height), Image.Resampling.BICUBIC)
    assert np.array_equal(resize(np.asarray(picture), height, width), np.asarray(expected))


def test_a_picture_of_the_right_size_is_returned_as_it_is():
    image = np.asarray(random_picture(56, 56))
    assert resize(image, 56, 56) is image
    assert fit(image, V2) is image


def test_a_tiny_image_is_resized_twice():
    picture = random_picture(20, 64)
    image = np.asarray(picture)
    assert np.array_equal(fit(image, V2), resize(image, 56, 56))
    rules = PixelRules(tiny_image_side=50)
    assert np.array_equal(fit(image, rules), resize(resize(image, 50, 50), 56, 56))


ROUNDED = PixelRules(min_pixels=28 * 28 * 256, rounded_first=True)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 224), (448, 448)),
        ((10, 100), (224, 896)),  # 28 x 112 first
        ((10, 10), (448, 448)),  # 56 x 56 first
        ((375, 500), (392, 532)),  # 364 x 504 first
        ((1, 30_000), (56, 6356)),  # 28 x 5600 first, a ratio of 200
    ],
)
def test_rounded_first_is_two_resizings(size, expected):
    assert target_size(*size, ROUNDED) == expected
    assert fit(np.zeros((*size, 3), np.uint8), ROUNDED).shape == (*expected, 3)


def test_rounded_first_shows_in_the_pixels_and_spares_frames():
    picture = random_picture(width=500, height=375)
    plain = PixelRules(min_pixels=28 * 28 * 256)
    twice, once = fit(picture, ROUNDED), fit(picture, plain)
    assert (twice == resize(resize(picture, 364, 504), 392, 532)).all()
    assert (fit_frames([np.asarray(picture)], ROUNDED, of_file=False)[0] == once).all()
    assert twice.shape == once.shape
    assert not (twice == once).all()


@given(st.integers(28, 3000), st.integers(28, 3000))
def test_the_first_size_is_that_of_transformers_for_sides_of_a_token_or_more(height, width):
    rules = PixelRules(min_pixels=1, max_pixels=28 * 28 * 20_000, rounded_first=True)
    assert target_size(height, width, rules) == smart_resize(height, width, 28, 4 * 28**2, 16384 * 28**2)


def naive_size(height, width, factor, least, most):
    """The rule of qwen_vl_utils, written out."""
    rows, columns = (max(factor, round(side / factor) * factor) for side in (height, width))
    if rows * columns > most:
        by = math.sqrt(height * width / most)
        return tuple(max(factor, math.floor(side / by / factor) * factor) for side in (height, width))
    if rows * columns < least:
        by = math.sqrt(least / (height * width))
        return tuple(math.ceil(side * by / factor) * factor for side in (height, width))
    return rows, columns


TOKEN = 32 * 32
CLIPS = FrameRules(
    min_pixels=128 * TOKEN,
    max_pixels=768 * TOKEN,
    total_pixels=7680 * TOKEN,
    total_pixels_of_files=115_200 * TOKEN,
    rounded_to=64,
    resizer="float32",
)
UTILS = PixelRules(4 * TOKEN, 1800 * TOKEN, patch_size=16, sizing="utils", frames=CLIPS)


def naive_frame_size(height, width, count, *, of_file, max_pixels=None):
    """The two passes of qwen_vl_utils, as Qwen3-VL-Embedding's script calls it."""
    if not of_file:
        most = 16_384 * 64**2 if max_pixels is None else min(max_pixels, 16_384 * 64**2)
        height, width = naive_size(height, width, 64, 4 * 64**2, most)
    total = (115_200 if of_file else 7680) * TOKEN
    count += count % 2
    most = max(min(768 * TOKEN, total / count * 2), int(128 * TOKEN * 1.05))
    return naive_size(height, width, 32, 128 * TOKEN, min(most, max_pixels or most))


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_sizes_by_utils_give_each_side_a_token_first(height, width):
    if max(height, width) <= 200 * min(height, width):
        expected = naive_size(height, width, 32, 4 * TOKEN, 1800 * TOKEN)
        assert target_size(height, width, UTILS) == expected


def test_the_two_ways_to_size_differ_for_a_side_below_half_a_token():
    by_utils, by_processor = (PixelRules(sizing=name) for name in ("utils", "processor"))
    assert target_size(10, 200, by_utils) == (28, 196)  # 1 x 7 tokens, at least 4
    assert target_size(10, 200, by_processor) == (28, 252)  # 0 x 7 tokens, so it grows


@given(st.integers(8, 2000), st.integers(8, 1600), st.integers(1, 64), st.booleans())
def test_frames_have_the_size_that_the_original_gives_them(height, width, count, of_file):
    if max(height, width) <= 200 * min(height, width):
        expected = naive_frame_size(height, width, count, of_file=of_file)
        assert frame_size(height, width, UTILS, count=count, of_file=of_file) == expected


@given(st.integers(64, 2000), st.integers(64, 2000), st.booleans())
def test_max_pixels_lowers_the_budget_of_frames_and_never_raises_it(height, width, of_file):
    for max_pixels in (200 * TOKEN, 5000 * TOKEN):
        size = frame_size(height, width, UTILS, count=6, of_file=of_file, max_pixels=max_pixels)
        assert size == naive_frame_size(height, width, 6, of_file=of_file, max_pixels=max_pixels)
        assert size[0] * size[1] <= min(max_pixels, 768 * TOKEN)
    assert frame_size(720, 1280, UTILS, count=6, of_file=of_file, max_pixels=16 * TOKEN) == (96, 160)


def test_more_frames_share_the_total_and_the_repeated_one_counts():
    sizes = [frame_size(1080, 1920, UTILS, count=count, of_file=False) for count in (2, 31, 32, 64, 500)]
    areas = [height * width // TOKEN for height, width in sizes]
    assert areas == sorted(areas, reverse=True)
    assert sizes[1] == sizes[2]  # 31 frames are 16 pairs, as 32 are
    assert areas[0] <= 768
    assert areas[-1] <= 134  # 1.05 of the least, which binds
    assert frame_size(1080, 1920, UTILS, count=64, of_file=True) > sizes[3]


@pytest.mark.parametrize("of_file", [False, True])
def test_frames_too_narrow_or_without_pixels_are_errors(of_file):
    with pytest.raises(InputError, match="ratio above 200"):
        frame_size(1, 300, UTILS, count=2, of_file=of_file)
    with pytest.raises(InputError, match="0 x 20"):
        frame_size(20, 0, UTILS, count=2, of_file=of_file)
    with pytest.raises(InputError, match="less than one token"):
        frame_size(100, 100, UTILS, count=2, of_file=of_file, max_pixels=1023)


def test_frames_given_as_pictures_are_resized_twice_and_those_of_a_file_once():
    picture = np.asarray(random_picture(160, 120))
    rounded = resize(picture, 128, 128)
    for of_file, once in ((False, rounded), (True, picture)):
        fitted = fit_frames([picture] * 3, UTILS, of_file=of_file)
        size = frame_size(120, 160, UTILS, count=3, of_file=of_file)
        floats = torch.from_numpy(once.copy()).permute(2, 0, 1)[None].float()
        made = torch.nn.functional.interpolate(floats, size, mode="bicubic", antialias=True)
        expected = made.clamp(0, 255).round().to(torch.uint8)[0].permute(1, 2, 0).numpy()
        assert fitted.shape == (3, *size, 3)
        assert all(np.array_equal(frame, expected) for frame in fitted)


@pytest.mark.parametrize(
    "rules", [V2, PixelRules(rounded_first=True), PixelRules(fixed_size=(120, 90)), UTILS], ids=range(4)
)
@pytest.mark.parametrize("of_file", [False, True])
def test_all_frames_get_the_size_of_the_first(rules, of_file):
    frames = [np.asarray(random_picture(90 + 10 * i, 70, seed=i)) for i in range(3)]
    fitted = fit_frames(frames, rules, of_file=of_file)
    assert fitted.shape == (3, *frame_size(70, 90, rules, count=3, of_file=of_file), 3)
    if rules.frames is None:
        size = fitted.shape[1:3]
        squeezed = [resize(frame, *(rules.fixed_size or frame.shape[:2])) for frame in frames]
        assert np.array_equal(fitted, np.stack([resize(frame, *size) for frame in squeezed]))


def test_without_rules_of_their_own_frames_are_sized_like_pictures():
    for count in (1, 500):
        size = frame_size(720, 1280, V2, count=count, of_file=count == 1, max_pixels=50 * 784)
        assert size == target_size(720, 1280, V2, max_pixels=50 * 784)


def test_families_whose_frames_are_images_squeeze_and_round_them_as_images():
    rules = replace(ROUNDED, frames=FrameRules(28 * 28 * 256, ROUNDED.max_pixels, rounded_to=28))
    for height, width in ((10, 100), (375, 500), (1, 30_000)):
        picture = np.asarray(random_picture(width, height))
        assert np.array_equal(fit_frames([picture], rules, of_file=False)[0], fit(picture, ROUNDED))


def test_torchs_resizer_works_on_levels_and_differs_from_pillows():
    rules = PixelRules(resizer="torch")
    picture = random_picture(150, 90)
    levels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    made = torch.nn.functional.interpolate(levels, (84, 140), mode="bicubic", antialias=True)
    expected = made[0].permute(1, 2, 0).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of arrays that cannot be written to
        assert np.array_equal(fit(picture, rules), expected)
        assert np.array_equal(fit(np.asarray(picture), rules), expected)
    assert not np.array_equal(fit(picture, PixelRules()), expected)
    assert fit(expected, rules) is expected
