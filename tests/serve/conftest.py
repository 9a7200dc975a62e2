"""What tests of search share: a folder of drawn files with an index, made once."""

from __future__ import annotations

from pathlib import Path

import PIL.Image
import pytest

from vlm2vec import Index, VLM2Vec
from vlm2vec.world.samples import write_samples


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of drawn scenes, clips and reports, and of notes, some with names that addresses encode."""
    folder = tmp_path_factory.mktemp("served") / "photos"
    write_samples(folder / "drawn")
    (folder / "notes").mkdir()
    (folder / "notes" / "50% #1? ü.md").write_text("# Rings\n\nA red ring is a circle.", encoding="utf-8")
    PIL.Image.new("RGB", (2000, 1000), "teal").save(folder / "notes" / "wide.png")
    return folder


@pytest.fixture(scope="session")
def index(photos: Path, embedded: VLM2Vec, tmp_path_factory: pytest.TempPathFactory) -> Index:
    pytest.importorskip("lancedb", reason="the extra index is not installed")
    index = Index(tmp_path_factory.mktemp("stores") / "found", embedded)
    index.sync(photos, show_progress_bar=False)
    index.add(
        ["a green cross", "a small circle"],
        ids=["ticket 1", "../../etc/passwd"],
        metadata=[
            {"Team": "O'Hara", "year": 2024, "weight": 0.5, "open": True},
            {"Team": "x", "year": 2025, "weight": 2.0, "open": False},
        ],
    )
    return index
