import numpy as np
import pytest
import torch
from media_making import random_picture

from vlm2vec.errors import InputError, LimitError
from vlm2vec.media.image import load_image
from vlm2vec.media.limits import Limits
from vlm2vec.media.probe import image_size

RGB = np.asarray(random_picture(40, 30))


def test_rgb_arrays_are_taken_as_they_are_even_read_only():
    assert not RGB.flags.writeable
    assert np.array_equal(load_image(RGB), RGB)
    assert image_size(RGB) == (30, 40)


@pytest.mark.parametrize("array", [RGB[:, :, 0], RGB[:, :, :1]])
def test_grey_arrays_are_repeated_over_the_channels(array):
    image = load_image(array)
    assert np.array_equal(image, np.repeat(RGB[:, :, :1], 3, axis=2))
    assert image_size(array) == (30, 40)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_may_come_first(channels):
    last = np.random.default_rng(0).integers(0, 256, (30, 40, channels), dtype=np.uint8)
    first = np.ascontiguousarray(last.transpose(2, 0, 1))
    assert image_size(first) == (30, 40)
    assert np.array_equal(load_image(first), load_image(last))
    assert load_image(first).flags.c_contiguous


def test_alpha_of_an_array_is_dropped_or_composited():
    row = [[10, 20, 30, 0], [10, 20, 30, 255]]
    rgba = np.array([row, row], np.uint8)
    assert load_image(rgba, alpha="drop")[0].tolist() == [[10, 20, 30], [10, 20, 30]]
    assert load_image(rgba, alpha="white")[0].tolist() == [[255, 255, 255], [10, 20, 30]]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_between_0_and_1_are_scaled_and_rounded(kind):
    assert np.array_equal(load_image((RGB / 255).astype(kind)), RGB)


def test_bool_is_black_and_white():
    assert load_image(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]
    assert load_image(np.eye(40, dtype=bool)[::2, ::2].T).max() == 255


@pytest.mark.parametrize(
    ("tensor", "size"),
    [
        (torch.from_numpy(RGB.copy()), (30, 40)),
        (torch.from_numpy(RGB.copy()).permute(2, 0, 1), (30, 40)),
        (torch.from_numpy(RGB / 255).float().requires_grad_(), (30, 40)),
    ],
)
def test_tensors_are_taken(tensor, size):
    assert image_size(tensor) == size
    assert np.array_equal(load_image(tensor), RGB)


def test_bfloat16_tensors_are_taken():
    assert load_image(torch.ones(4, 5, 3, dtype=torch.bfloat16)).min() == 255


def test_a_picture_of_one_pixel_is_a_picture():
    assert load_image(np.array([[[1, 2, 3]]], np.uint8)).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (RGB.astype(np.uint16), "uint16"),
        (RGB.astype(np.int64), "int64"),
        (RGB.astype(np.complex64), "complex64"),
        (RGB.astype(object), "object"),
        (RGB.astype(np.float32), "floats from 0 to 255"),
        (RGB / 255 - 0.1, "floats from -0.1 to 0.9"),
        (np.full((4, 4, 3), np.nan), "floats from nan"),
        (np.full((4, 4, 3), np.inf), "floats from inf"),
        (np.zeros(10, np.uint8), r"shape \(10,\)"),
        (np.zeros((2, 30, 40, 3), np.uint8), "clip as a video"),
        (np.zeros((30, 40, 2), np.uint8), r"shape \(30, 40, 2\)"),
        (np.zeros((30, 40, 5), np.uint8), r"shape \(30, 40, 5\)"),
        (np.zeros((3, 40, 3), np.uint8), "channels first or channels last"),
        (np.zeros((3, 40, 4), np.uint8), "channels first or channels last"),
        (np.zeros((1, 40, 1), np.uint8), "channels first or channels last"),
        (np.zeros((0, 40, 3), np.uint8), "at least one pixel"),
        (np.zeros((30, 0), np.uint8), "at least one pixel"),
    ],
)
def test_other_arrays_are_errors_that_say_what_to_pass(array, words):
    with pytest.raises(InputError, match=words) as caught:
        load_image(array)
    assert caught.value.fix


@pytest.mark.parametrize("value", [None, 3, "a.png", object(), [[1, 2]]])
def test_what_is_no_picture_is_an_error(value):
    with pytest.raises(InputError, match="is no picture"):
        load_image(value)


def test_the_limit_holds_for_arrays():
    with pytest.raises(LimitError, match="40 x 30"):
        load_image(RGB, limits=Limits(max_image_pixels=1199))
