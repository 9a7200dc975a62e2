"""Errors describe an input, and never repeat its bytes: base64 that was passed as something else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from vlm2vec import VLM2Vec, pdf_pages
from vlm2vec.describe import describe_value, without_base64
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs.parse import parse_input
from vlm2vec.training.data.row_inputs import check_input


def encoded(kind: str, size: int) -> str:
    pixels = np.random.default_rng(size).integers(0, 255, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def mistakes(data: str) -> Iterator[Any]:
    """Ways to pass base64 that are errors."""
    yield {"image": data}
    yield {"images": [data]}
    yield {"video": data}
    yield {"video": [data, data]}
    yield {"pdf": data}
    yield Path(data)
    yield {"image": f"image/png;base64,{data}"}
    yield {"image": f"data:{data}"}
    yield {"image": f"data:{data},x"}
    yield {"image": f"data:{data};base64,{data}"}
    yield {"image": f"data:image/png;base64{data}"}
    yield {"image": f"data:image/png;base64,{data}!"}
    yield {"image": f"file://{data}"}
    yield {"image": data.encode()}
    yield {"bytes": None, "path": data}
    yield {"image": {"bytes": data, "path": None}}
    yield [{"type": "image_url", "image_url": {"url": data}}]
    yield [{"type": data, "text": "a"}]
    yield [{"role": data, "content": "a"}]
    yield {data: "a"}
    yield {"pdf": "a.pdf", "page": data}
    yield {"text": "a", "instruction": data.encode()}


def read_pages(value: Any) -> None:
    """A file that cannot be opened is a page that cannot be."""
    for page in pdf_pages(value):
        if page.error is not None:
            raise page.error


def longest_shared(text: str, data: str) -> int:
    """Characters of the data that stand in a text in one piece, in either case."""
    text, data = text.lower(), data.lower()
    length = 0
    for start in range(len(data)):
        while length < len(data) - start and data[start : start + length + 1] in text:
            length += 1
    return length


@pytest.mark.parametrize("size", [2, 8, 60])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_no_error_repeats_base64(kind: str, size: int) -> None:
    data = encoded(kind, size)
    calls = [(parse, value) for value in mistakes(data) for parse in (parse_input, check_input)]
    for call, value in [*calls, (read_pages, data), (read_pages, Path(data))]:
        with pytest.raises((VLM2VecError, TypeError)) as caught:
            call(value)
        assert longest_shared(str(caught.value), data) < 12, str(caught.value)


def test_a_path_that_looks_like_base64_says_how_to_pass_it() -> None:
    with pytest.raises(VLM2VecError, match="If it is base64 data, pass it as a data-URI"):
        parse_input({"image": encoded("PNG", 8)})


@pytest.mark.parametrize(
    "name",
    [
        "/Users/Someone1/Documents/Projects/Research/Datasets/frames/Clip1",
        "/Users/Bob/Data/Raw/Set1/Img/Day2/Cam3/One/Two",
        "MyVeryLongCamelCaseFolderNameForTheProject",
        "/data/VideoDatasets/MSRVTT/TrainValVideo/frames/video7012",
        "/home/user/.cache/blobs/9f2b6c1d0e8a47c5b3f19e2d7a6c4b8091f3e5d7c9b1a2f4",
        "d2a84f4b8b650937ec8f73cd8be2c74add5a911ba64df27458ed8229da804a26",
        "photos/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms.jpg",
        "Donaudampfschifffahrtsgesellschaftskapitaensmuetze",
    ],
)
def test_names_of_files_are_left_as_they_are(name: str) -> None:
    assert without_base64(name) == name


def test_a_model_is_called_by_its_name_and_not_by_its_layers(embedded: VLM2Vec) -> None:
    assert describe_value(embedded) == "VLM2Vec"
