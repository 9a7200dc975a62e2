from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import PIL.Image
import pytest

MP4_HEAD = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"


def _png(size: tuple[int, int] = (6, 4)) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


def _gif() -> bytes:
    file = io.BytesIO()
    pictures = [PIL.Image.new("RGB", (6, 4), color) for color in ("red", "green", "blue")]
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:])
    return file.getvalue()


def _pdf(pages: int) -> bytes:
    file = io.BytesIO()
    page = PIL.Image.new("RGB", (50, 70), "white")
    page.save(file, "PDF", save_all=True, append_images=[page] * (pages - 1))
    return file.getvalue()


@pytest.fixture(scope="session")
def data() -> SimpleNamespace:
    """The first bytes, or all, of one file of each kind."""
    return SimpleNamespace(png=_png(), gif=_gif(), mp4=MP4_HEAD, pdf=_pdf(3))


@pytest.fixture
def files(tmp_path: Path, data: SimpleNamespace) -> SimpleNamespace:
    """One file of each kind, none with the suffix that its kind has."""
    contents = {"png": data.png, "gif": data.gif, "mp4": data.mp4, "pdf": data.pdf}
    paths = {name: tmp_path / f"{name}_file.bin" for name in contents}
    for name, path in paths.items():
        path.write_bytes(contents[name])
    note = tmp_path / "note.txt"
    note.write_text("two words", encoding="utf-8")
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(3):
        (frames / f"{i}.png").write_bytes(data.png)
    return SimpleNamespace(**paths, txt=note, frames=frames, missing=tmp_path / "missing.png")
