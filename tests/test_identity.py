"""Training inputs are the same exactly if, written out, they hold the same: over all forms of input."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec import Video, pdf_pages
from vlm2vec.errors import VLM2VecError
from vlm2vec.inputs import Image, Input, Text, parse_input
from vlm2vec.media.source import Source
from vlm2vec.sameness import first_of_each, media_key
from vlm2vec.training.data.row_inputs import identity


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (6, 5, 3), dtype=np.uint8)


def encoded(seed: int, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels(seed)).save(file, kind, **options)
    return file.getvalue()


PNG = [encoded(seed) for seed in (0, 1)]
PAGES = PIL.Image.new("RGB", (20, 30), "white")
PDF = [encoded(seed, "PDF", save_all=True, append_images=[PAGES, PAGES]) for seed in (0, 1)]
LAZY = [PIL.Image.open(io.BytesIO(data)) for data in PNG]  # the same objects each time


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for seed in (0, 1):
        (folder / f"{seed}.png").write_bytes(PNG[seed])
        (folder / f"{seed} again.png").write_bytes(PNG[seed])
        (folder / f"{seed}.pdf").write_bytes(PDF[seed])
        (folder / f"{seed}.mp4").write_bytes(b"FLV\x01" + bytes([seed]) * 9)
        (folder / f"{seed}.txt").write_text(f"text {seed}")
        (folder / f"frames {seed}").mkdir()
        for frame in range(2):
            (folder / f"frames {seed}" / f"{frame}.png").write_bytes(encoded(10 * seed + frame))
    return folder


def uri(seed: int) -> str:
    return "data:image/png;base64," + base64.b64encode(PNG[seed]).decode()


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


# A value of each form, of which there are two; values are made anew each time.
FORMS: dict[str, Callable[[Path, int], Any]] = {
    "text": lambda _, i: f"text {i}",
    "text like a path": lambda folder, i: str(folder / f"{i}.png"),
    "text in a dict": lambda _, i: {"text": f"text {i}"},
    "texts": lambda _, i: {"text": ["a", f"text {i}"]},
    "text and an instruction": lambda _, i: {"text": f"text {i}", "instruction": "Find it."},
    "text alone in a list": lambda _, i: [f"text {i}"],
    "several texts": lambda _, i: ["a", f"text {i}"],
    "bare picture file": lambda folder, i: folder / f"{i}.png",
    "bare copy": lambda folder, i: folder / f"{i} again.png",
    "bare clip": lambda folder, i: folder / f"{i}.mp4",
    "bare PDF": lambda folder, i: folder / f"{i}.pdf",
    "bare text file": lambda folder, i: folder / f"{i}.txt",
    "bare folder": lambda folder, i: folder / f"frames {i}",
    "picture": lambda folder, i: {"image": folder / f"{i}.png"},
    "picture as a string": lambda folder, i: {"image": str(folder / f"{i}.png")},
    "pictures": lambda folder, i: {"images": [folder / "0.png", folder / f"{i}.png"]},
    "picture with max_pixels": lambda folder, i: {"image": folder / "0.png", "max_pixels": 9000 + i},
    "clip": lambda folder, i: {"video": folder / f"{i}.mp4"},
    "clip with options": lambda folder, i: {"video": folder / "0.mp4", "num_frames": 2 + i, "end": 2},
    "clip of files": lambda folder, i: {"video": [folder / "0.png", str(folder / f"{i}.png")]},
    "clip of one file": lambda folder, i: {"video": [folder / f"{i}.png"]},
    "Video of a file": lambda folder, i: Video(folder / f"{i}.mp4"),
    "Video with options": lambda folder, i: Video(folder / "0.mp4", num_frames=2 + i, start=1.0),
    "Video of frames": lambda _, i: Video([pixels(0), pixels(i)]),
    "Videos": lambda folder, i: {"video": [Video(folder / "0.mp4"), Video(folder / f"{i}.mp4")]},
    "document": lambda folder, i: {"pdf": folder / f"{i}.pdf"},
    "page": lambda folder, i: {"pdf": folder / "0.pdf", "page": 1 + i},
    "pages": lambda folder, i: {"pdf": folder / "0.pdf", "pages": [1, 2 + i]},
    "page of pdf_pages": lambda folder, i: pdf_pages(folder / "0.pdf")[i],
    "password": lambda folder, i: {"pdf": folder / "0.pdf", "password": f"{i}"},
    "array": lambda _, i: pixels(i),
    "grey array": lambda _, i: pixels(i, 6, 5),
    "floats": lambda _, i: pixels(i) / 255,
    "Fortran order": lambda _, i: np.asfortranarray(pixels(i)),
    "tensor": lambda _, i: torch.from_numpy(pixels(i)),
    "clip array": lambda _, i: pixels(i, 2, 6, 5, 3),
    "array in a dict": lambda _, i: {"image": pixels(i)},
    "PIL image": lambda _, i: PIL.Image.fromarray(pixels(i)),
    "PIL palette": lambda _, i: PIL.Image.fromarray(pixels(i)).convert(
        "P", palette=PIL.Image.Palette.ADAPTIVE
    ),
    "PIL image of a file": lambda folder, i: PIL.Image.open(folder / f"{i}.png"),
    "PIL image not decoded": lambda _, i: LAZY[i],
    "bytes": lambda _, i: PNG[i],
    "bytes in a dict": lambda _, i: {"image": PNG[i]},
    "bytes of a PDF": lambda _, i: {"pdf": PDF[i], "pages": "1-2"},
    "data-URI": lambda _, i: {"image": uri(i)},
    "URL": lambda _, i: {"image": f"https://example.org/{i}.png"},
    "text and picture": lambda folder, i: {"text": "a", "image": folder / f"{i}.png"},
    "picture and text": lambda folder, i: {"image": folder / f"{i}.png", "text": "a"},
    "parts": lambda folder, i: ["a", folder / "0.png", pixels(i), {"text": "b"}],
    "prompt": lambda _, i: {"prompt": f"exactly {i}"},
    "prompt with a picture": lambda folder, i: {"prompt": "<|image_pad|>", "images": [folder / f"{i}.png"]},
    "message": lambda _, i: user(f"text {i}"),
    "conversation": lambda folder, i: [
        {"role": "system", "content": "Find it."},
        user({"type": "image", "image": str(folder / f"{i}.png")}, {"type": "text", "text": "a"}),
    ],
    "OpenAI's parts": lambda _, i: [user({"type": "image_url", "image_url": {"url": uri(i)}})],
    "message with a clip": lambda folder, i: user({"type": "video", "video": str(folder / f"{i}.mp4")}),
}


def naive(item: Input) -> Any:
    """All that an input holds, but for its instruction, written out; pictures as a clip of them."""
    parts = []
    for part in item.parts:
        if isinstance(part, Text):
            parts.append(part.text)
            continue
        options = {each.name: getattr(part, each.name) for each in fields(part) if each.name != "content"}
        if isinstance(options.get("pages"), int):
            options["pages"] = (options["pages"],)
        given = {name: value for name, value in options.items() if value is not None}
        parts.append([_written(part.content), given] if given else _written(part.content))
    return [item.prompt, parts[0] if len(parts) == 1 else parts]


def _written(content: Any) -> Any:
    if isinstance(content, tuple):
        return _written(content[0]) if len(content) == 1 else [_written(frame) for frame in content]
    if isinstance(content, Source):
        return [str(content.path), content.url, content.data] if content.url is None else content.url
    if isinstance(content, np.ndarray):
        return [content.dtype.str, content.tolist()]
    if any(content is lazy for lazy in LAZY):
        return id(content)
    if content.filename if hasattr(content, "filename") else None:
        return [content.filename, None, None]
    return [content.mode, content.size, content.tobytes(), content.getpalette()]


ONE = st.tuples(st.sampled_from(sorted(FORMS)), st.integers(0, 1))


def check(one: Any, other: Any) -> None:
    same = identity(one) == identity(other)
    written = [naive(parse_input(value, open_files=False, allow_urls=True)) for value in (one, other)]
    assert same == (written[0] == written[1])


@pytest.mark.parametrize("one", sorted(FORMS))
def test_every_form_beside_every_other(folder: Path, one: str) -> None:
    for other in sorted(FORMS)[sorted(FORMS).index(one) :]:
        for places in itertools.product((0, 1), repeat=2):
            check(*(FORMS[form](folder, place) for form, place in zip((one, other), places, strict=True)))


@given(st.lists(ONE, min_size=1, max_size=4), st.lists(ONE, min_size=1, max_size=4))
def test_parts_in_lists(folder: Path, one: Any, other: Any) -> None:
    values = [[FORMS[form](folder, place) for form, place in parts] for parts in (one, other)]
    for value in values:
        try:
            parse_input(value, open_files=False, allow_urls=True)
        except VLM2VecError:
            return  # of these forms, not all stand in lists
    check(*values)


def test_one_url_is_one_input() -> None:
    items = [Input((Image(Source.from_url(f"https://example.org/{name}")),)) for name in "aba"]
    assert first_of_each(items) == [0, 1, 0]
    assert media_key(items[0].parts[0]) == media_key(items[2].parts[0]) != media_key(items[1].parts[0])
