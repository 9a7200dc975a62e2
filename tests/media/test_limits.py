import numpy as np
import pytest

from vlm2vec.errors import InputError
from vlm2vec.media.limits import Limits


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decode_seconds", 0),
        ("decode_seconds", -1),
        ("decode_seconds", float("nan")),
        ("decode_seconds", "20"),
        ("decode_seconds", None),
        ("readers", -1),
        ("readers", 1.5),
        ("max_image_pixels", 0),
        ("max_pages", None),
        ("reader_memory", 0.5),
    ],
)
def test_a_limit_that_is_none_is_refused_by_name(name, value):
    with pytest.raises(InputError, match=f"{name} is .* Let Limits.{name} be a "):
        Limits(**{name: value})


def test_numbers_of_numpy_and_no_limit_of_time_are_limits():
    limits = Limits(decode_seconds=float("inf"), max_pages=np.int64(3), readers=0)
    assert limits.max_pages == 3
    assert Limits(decode_seconds=np.float32(0.5)).decode_seconds == 0.5
