"""What the tests of the index share: folders of small files, and a model that is loaded once."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_files import write_picture

from vlm2vec import VLM2Vec

pytest.importorskip("lancedb", reason="the extra index is not installed")


@pytest.fixture(scope="session")
def model() -> VLM2Vec:
    return VLM2Vec(device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three pictures, a text and a broken file."""
    files = tmp_path / "files"
    for seed, name in enumerate(("a.png", "below/b.png", "below/deep/c.png")):
        write_picture(files / name, seed)
    (files / "words.txt").write_text("a red circle", encoding="utf-8")
    (files / "broken.jpg").write_bytes(b"no picture")
    return files
