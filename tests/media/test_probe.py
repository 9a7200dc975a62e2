"""A source is read once for what its header says."""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from media_making import image_bytes, random_picture
from PIL import features

from vlm2vec import VLM2Vec
from vlm2vec.errors import LimitError
from vlm2vec.media.limits import Limits
from vlm2vec.media.probe import image_size, kind
from vlm2vec.media.sampling import Sampling
from vlm2vec.media.source import Source
from vlm2vec.media.video import clip_shape

opened: Counter[str] = Counter()


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], (str, Path)):
        opened[Path(arguments[0]).name] += 1


sys.addaudithook(_note)  # which stays: there is no way to take one out


@pytest.fixture(autouse=True)
def count() -> Iterator[None]:
    opened.clear()
    yield


@pytest.mark.parametrize("form", ["bare", "keyed"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_a_picture_is_opened_at_most_three_times_to_be_encoded(
    embedded: VLM2Vec, tmp_path: Path, format: str, form: str
) -> None:
    path = tmp_path / f"picture.{format.lower()}"
    path.write_bytes(image_bytes(random_picture(), format))
    opened.clear()
    embedded.encode([path if form == "bare" else {"image": path}])
    assert 1 <= opened[path.name] <= 3


def test_a_picture_that_was_looked_at_is_not_opened_for_its_size(tmp_path: Path) -> None:
    path = tmp_path / "picture.bin"
    path.write_bytes(image_bytes(random_picture(), "JPEG"))
    source = Source.from_path(path)
    opened.clear()
    assert kind(source) == kind(source) == "image"
    assert image_size(source) == image_size(Source.from_path(path))
    assert opened[path.name] == 2
    for limits in (Limits(max_image_bytes=10), Limits(max_image_pixels=10)):
        with pytest.raises(LimitError):
            image_size(source, limits=limits)


def test_a_file_that_has_changed_is_looked_at_again_in_the_next_call(
    embedded: VLM2Vec, tmp_path: Path
) -> None:
    from vlm2vec.inputs import parse_input

    path = tmp_path / "picture.bin"
    path.write_bytes(image_bytes(random_picture(), "JPEG"))
    parsed = parse_input(path)
    embedded.encode([parsed])
    path.write_bytes(image_bytes(random_picture(56, 28), "PNG"))
    assert embedded.encode([parsed]) == pytest.approx(embedded.encode([path]), abs=5e-7)


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("format", ["WEBP", "AVIF"])
def test_a_file_that_pillow_opens_as_a_whole_is_not_held_to_be_told_a_kind(
    tmp_path: Path, format: str, moves: bool
) -> None:
    if not features.check(format.lower()):
        pytest.skip(f"this Pillow has no {format}")
    more = {"save_all": True, "append_images": [random_picture(seed=2).convert("RGBA")]} if moves else {}
    path = tmp_path / "large"
    path.write_bytes(image_bytes(random_picture().convert("RGBA"), format, **more))
    small = kind(Source.from_path(path))
    with path.open("ab") as file:
        file.truncate(Limits().max_image_bytes + 1)
    source = Source.from_path(path)
    tracemalloc.start()
    try:
        assert kind(source) == small == ("video" if moves else "image")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    with pytest.raises(LimitError, match="max_image_bytes"):
        clip_shape(source, Sampling(num_frames=2)) if moves else image_size(source)
