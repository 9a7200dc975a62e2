"""Equal inputs are found in every form, and nothing else is called equal."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm2vec import sameness
from vlm2vec.errors import MediaError
from vlm2vec.inputs.parts import Clip, Document, Image, Input, Part, Text
from vlm2vec.media.source import Source
from vlm2vec.sameness import first_of_each, media_key


def same(*parts: Part) -> bool:
    """Whether both ways to ask say that these single-part inputs are the same; they must not disagree."""
    firsts = first_of_each([Input((part,), index=place) for place, part in enumerate(parts)])
    by_key = len({media_key(part) for part in parts}) == 1
    assert by_key == (set(firsts) == {0})
    return by_key


def found(*parts: Part) -> list[int]:
    return first_of_each([Input((part,)) for part in parts])


def pixels(seed: int = 0, shape: tuple[int, ...] = (6, 5, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(seed: int = 0, kind: str = "BMP", **options: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels(seed)).save(file, kind, **options)
    return file.getvalue()


def written(path: Path, data: bytes) -> Image:
    path.write_bytes(data)
    return Image(Source.from_path(path))


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("this was read to find that nothing is equal")

    monkeypatch.setattr(sameness, "file_digest", refuse)
    monkeypatch.setattr(sameness, "_digest", refuse)


def test_the_index_does_not_matter_and_everything_else_does() -> None:
    base = Input((Text("a"), Text("b")), "find", None, 0)
    others = [
        replace(base, index=7),
        replace(base, parts=base.parts[::-1]),
        replace(base, parts=(Text("ab"),)),
        replace(base, instruction="represent"),
        replace(base, instruction=None),
        replace(base, prompt="raw"),
    ]
    assert first_of_each([base, *others]) == [0, 0, 2, 3, 4, 5, 6]


def test_errors_are_equal_to_nothing() -> None:
    error = MediaError("broken")
    assert first_of_each([error, Input((Text("a"),)), error, Input((Text("a"),))]) == [0, 1, 2, 1]
    assert first_of_each([]) == []


def test_equal_contents_are_found_in_every_form(tmp_path: Path) -> None:
    file, copied = written(tmp_path / "a.bmp", encoded()), written(tmp_path / "b.bmp", encoded())
    again = Image(Source.from_path(tmp_path / "a.bmp"))
    assert same(file, again)
    assert found(file, copied, again) == [0, 0, 0]
    assert same(*(Image(Source.from_bytes(bytes(bytearray(encoded())))) for _ in range(2)))
    array = pixels()
    assert same(Image(array), Image(array.copy()), Image(np.asfortranarray(array)))
    picture = PIL.Image.fromarray(array)
    assert same(Image(picture), Image(picture.copy()))
    assert same(Clip((array, picture)), Clip((array.copy(), picture.copy())))
    assert same(Clip(array[None]), Clip(array[None].copy()))


def test_equal_sizes_with_different_contents_differ(tmp_path: Path) -> None:
    one, other = encoded(0), encoded(1)
    assert len(one) == len(other)
    assert not same(written(tmp_path / "a.bmp", one), written(tmp_path / "b.bmp", other))
    assert not same(Image(Source.from_bytes(one)), Image(Source.from_bytes(other)))
    assert not same(Image(pixels(0)), Image(pixels(1)))
    assert not same(Image(PIL.Image.fromarray(pixels(0))), Image(PIL.Image.fromarray(pixels(1))))
    assert not same(Clip((pixels(0), pixels(1))), Clip((pixels(1), pixels(0))))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pixels().reshape(6, 5, 3), pixels().reshape(5, 6, 3)),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool)),
        (np.ones((4, 4), np.float32), np.ones((4, 4), ">f4")),
    ],
    ids=["shape", "type", "byte order"],
)
def test_arrays_of_the_same_bytes_may_differ(one: np.ndarray, other: np.ndarray) -> None:
    assert not same(Image(one), Image(other))


def test_media_of_different_kinds_differ() -> None:
    source = Source.from_bytes(encoded())
    assert found(Image(source), Clip(source), Document(source)) == [0, 1, 2]
    frames = pixels(shape=(2, 6, 5, 3))
    assert not same(Clip(frames), Clip(tuple(frames)))


@pytest.mark.parametrize(
    "change",
    [
        {"num_frames": 3},
        {"fps": 1.0},
        {"start": 0.5},
        {"end": 2.0},
        {"frame_rate": 2.0},
        {"max_pixels": 50_000},
    ],
    ids=lambda change: next(iter(change)),
)
def test_settings_of_a_clip_count(change: dict[str, Any]) -> None:
    clip = Clip(Source.from_bytes(b"clip"))
    assert not same(clip, replace(clip, **change))


@pytest.mark.parametrize(
    "change", [{"pages": 1}, {"password": "x"}, {"max_pixels": 50_000}], ids=lambda change: next(iter(change))
)
def test_settings_of_a_document_count(change: dict[str, Any]) -> None:
    document = Document(Source.from_bytes(b"%PDF-1.7"))
    assert not same(document, replace(document, **change))


def test_what_changes_the_colours_of_a_pil_image_counts() -> None:
    palette = PIL.Image.fromarray(pixels(shape=(6, 5)) % 4).convert("P")
    other = palette.copy()
    other.putpalette([value for i in range(256) for value in (i, 0, 255 - i)])
    assert not same(Image(palette), Image(other))

    transparent = palette.copy()
    transparent.info["transparency"] = 0
    assert not same(Image(palette), Image(transparent))

    first, second = PIL.Image.new("RGBA", (4, 4), (9, 9, 9, 0)), PIL.Image.new("RGBA", (4, 4), (9, 9, 9, 255))
    assert not same(Image(first), Image(second))


@pytest.mark.parametrize("way", ["file", "getexif"])
def test_the_orientation_of_a_pil_image_counts(way: str) -> None:
    square = PIL.Image.fromarray(pixels(shape=(6, 6, 3)))
    turned = square.copy()
    if way == "getexif":
        turned.getexif()[0x0112] = 6
    else:
        exif, file = PIL.Image.Exif(), io.BytesIO()
        exif[0x0112] = 6
        square.save(file, "PNG", exif=exif)
        turned = PIL.Image.open(file)
        turned.load()
    assert not same(Image(square), Image(turned))


@pytest.mark.parametrize("kind", ["AVIF", "BMP", "JPEG", "PNG", "WEBP"])
def test_a_pil_image_not_decoded_yet_is_left_alone_and_equal_to_itself(kind: str) -> None:
    file = io.BytesIO(encoded(kind=kind))
    lazy, other = PIL.Image.open(file), PIL.Image.open(io.BytesIO(encoded(kind=kind)))
    place = file.tell()
    assert not same(Image(lazy), Image(other))
    assert same(Image(lazy), Image(lazy))
    assert file.tell() == place
    assert lazy.fp is not None
    lazy.load()
    other.load()
    assert same(Image(lazy), Image(other))


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_a_pil_image_that_may_hold_more_is_never_moved(kind: str) -> None:
    opened = [PIL.Image.open(io.BytesIO(encoded(kind=kind))) for _ in range(2)]
    for picture in opened:
        picture.load()
    before = [picture.fp for picture in opened]
    assert not same(*map(Image, opened))
    assert same(Image(opened[0]), Image(opened[0]))
    assert [picture.fp for picture in opened] == before


def test_a_pil_image_that_cannot_be_used_is_equal_to_itself_alone() -> None:
    closed, other = PIL.Image.fromarray(pixels()), PIL.Image.fromarray(pixels())
    closed.close()
    other.close()
    assert not same(Image(closed), Image(other))
    moving = io.BytesIO()
    PIL.Image.fromarray(pixels(0)).save(
        moving, "PNG", save_all=True, append_images=[PIL.Image.fromarray(pixels(1))]
    )
    animations = [PIL.Image.open(io.BytesIO(moving.getvalue())) for _ in range(2)]
    for animation in animations:
        animation.load()
    assert not same(*map(Image, animations))


def test_nothing_is_read_when_nothing_is_alike(tmp_path: Path, no_reading: None) -> None:
    items = [
        written(tmp_path / "a.bmp", encoded()),
        written(tmp_path / "b.bmp", encoded() + b"longer"),
        Image(pixels(shape=(6, 5))),
        Image(pixels(shape=(5, 6))),
        Image(PIL.Image.fromarray(pixels(0))),
        Image(PIL.Image.fromarray(pixels(1))),
        Image(pixels(2)),
        Image(pixels(3)),
    ]
    assert found(*items) == list(range(8))
    assert len({media_key(item) for item in items}) == 8


def test_one_value_between_the_samples_makes_a_difference() -> None:
    array = pixels(shape=(200, 200, 3))
    for place in range(0, array.size, 7_001):
        other = array.copy()
        other.reshape(-1)[place] ^= 1
        assert not same(Image(array), Image(other))
        assert not same(*(Image(PIL.Image.fromarray(one)) for one in (array, other)))
        assert not same(*(Image(Source.from_bytes(one.tobytes())) for one in (array, other)))


def test_one_file_is_recognised_without_reading_it(tmp_path: Path, no_reading: None) -> None:
    picture = written(tmp_path / "a.bmp", encoded())
    questions = [Input((picture, Text(text))) for text in ("what?", "where?", "what?")]
    assert first_of_each(questions) == [0, 1, 0]
    assert media_key(picture) == media_key(Image(Source.from_path(tmp_path / "a.bmp")))


def test_a_file_is_read_once_however_many_inputs_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    digest = sameness.file_digest
    monkeypatch.setattr(sameness, "file_digest", lambda path: read.append(path) or digest(path))
    pictures = [written(tmp_path / name, encoded()) for name in ("a.bmp", "b.bmp")]
    items = [Input((picture, Text(str(i)))) for i in range(3) for picture in pictures]
    assert first_of_each(items) == [0, 0, 2, 2, 4, 4]
    assert len(read) == 2


def test_a_changed_file_is_another(tmp_path: Path) -> None:
    path, copied = tmp_path / "a.bmp", tmp_path / "b.bmp"
    pair = [written(path, encoded(0)), written(copied, encoded(0))]
    key, status = media_key(pair[0]), path.stat()
    assert found(*pair) == [0, 0]
    path.write_bytes(encoded(1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert found(*pair) == [0, 1]
    assert media_key(pair[0]) != key


def test_one_content_under_two_suffixes_is_not_called_equal(tmp_path: Path) -> None:
    parts = [Clip(written(tmp_path / name, b"clip").content) for name in ("a.mp4", "a.avi")]
    assert not same(*parts)


def test_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    written(folder / "1.bmp", encoded(0))
    clip = Clip(Source.from_path(folder))
    assert same(clip, Clip(Source.from_path(folder)))
    before = media_key(clip)
    (folder / "1.bmp").rename(folder / "2.bmp")
    renamed = media_key(clip)
    written(folder / "2.bmp", encoded(1))
    assert len({before, renamed, media_key(clip)}) == 3


def test_what_cannot_be_read_raises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = [written(tmp_path / name, encoded()) for name in ("a.bmp", "b.bmp")]
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError()))
    assert found(*gone) == [0, 1]
    for name in ("a.bmp", "b.bmp"):
        (tmp_path / name).unlink()
    assert not same(*gone)
    assert not same(Image(Source(path=Path("a\0"))), Image(Source(path=Path("a\0"))))
    assert not same(Image(Source()), Image(Source()))

    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "1.png").symlink_to(tmp_path / "nowhere")
    assert not same(Clip(Source(path=folder)), Clip(Source(path=folder)))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not same(*(Image(Source(path=tmp_path / "pipe")) for _ in range(2)))


FORMS = {
    "array": lambda value: Image(np.full((3, 2), value, np.uint8)),
    "PIL": lambda value: Image(PIL.Image.new("L", (2, 3), value)),
    "bytes": lambda value: Image(Source.from_bytes(bytes([value] * 6))),
    "frames": lambda value: Clip((np.full((3, 2), value, np.uint8), PIL.Image.new("L", (2, 3), value))),
    "text": lambda value: Text(str(value)),
}
PART = st.tuples(st.sampled_from(sorted(FORMS)), st.integers(0, 1))
RECIPE = st.tuples(st.lists(PART, max_size=2), st.sampled_from([None, "find"]))


@given(st.lists(RECIPE, max_size=8))
def test_inputs_are_the_same_exactly_if_they_are_made_alike(recipes: list[Any]) -> None:
    items = [
        Input(tuple(FORMS[form](value) for form, value in parts), instruction, index=place)
        for place, (parts, instruction) in enumerate(recipes)
    ]
    assert first_of_each(items) == [recipes.index(recipe) for recipe in recipes]


@given(st.lists(st.integers(0, 2), max_size=6))
def test_files_are_the_same_exactly_if_their_bytes_are(
    tmp_path_factory: pytest.TempPathFactory, values: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    parts = [written(folder / f"{place}.bmp", bytes([value] * 9)) for place, value in enumerate(values)]
    assert found(*parts) == [values.index(value) for value in values]
    shutil.rmtree(folder)
