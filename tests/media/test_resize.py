import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_making import random_picture
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vlm2vec.errors import InputError
from vlm2vec.media.pixels import PixelRules
from vlm2vec.media.resize import fit, resize, target_size

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
    assert target_size(20, 64, V2, frame=True) == (56, 56)  # a square of its longer side, 64
    assert target_size(20, 120, V2, frame=True) == (112, 112)
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
    st.booleans(),
    st.sampled_from([V2, PixelRules(extreme_ratio="square"), PixelRules(fixed_size=(120, 90))]),
    st.none() | st.sampled_from([784, 50 * 784]),
)
def test_the_predicted_size_is_that_of_the_fitted_picture(height, width, frame, rules, max_pixels):
    image = np.zeros((height, width, 3), np.uint8)
    expected = target_size(height, width, rules, frame=frame, max_pixels=max_pixels)
    assert fit(image, rules, frame=frame, max_pixels=max_pixels).shape == (*expected, 3)
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
    assert (fit(picture, ROUNDED, frame=True) == once).all()
    assert twice.shape == once.shape
    assert not (twice == once).all()


@given(st.integers(28, 3000), st.integers(28, 3000))
def test_the_first_size_is_that_of_transformers_for_sides_of_a_token_or_more(height, width):
    rules = PixelRules(min_pixels=1, max_pixels=28 * 28 * 20_000, rounded_first=True)
    assert target_size(height, width, rules) == smart_resize(height, width, 28, 4 * 28**2, 16384 * 28**2)
