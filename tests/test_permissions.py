"""What is written may be read by whom the process's mask says, whichever library writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlm2vec import VLM2Vec, encode_to, mmeb
from vlm2vec.training import LoRA, write_rows

ROWS = [{"query": f"a {colour} circle", "document": f"one {colour} disc"} for colour in ("red", "blue")]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="this system has no masks")


@pytest.fixture(params=[0o022, 0o077], ids=oct)
def mode(request: pytest.FixtureRequest) -> Iterator[int]:
    """The permissions of a new file, under a mask that is set meanwhile."""
    before = os.umask(request.param)
    try:
        yield 0o666 & ~request.param
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[int, list[str]]:
    """Names of files by their permissions; locks of huggingface_hub, which are empty, have their own."""
    found: dict[int, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith("lock"):
            found.setdefault(path.stat().st_mode & 0o777, []).append(path.name)
    return found


def test_a_saved_model(embedded: VLM2Vec, tmp_path: Path, mode: int) -> None:
    embedded.save_pretrained(str(tmp_path))
    assert "model.safetensors" in modes(tmp_path)[mode]
    assert list(modes(tmp_path)) == [mode]


def test_an_adapter_its_checkpoints_and_the_merged_model(tmp_path: Path, mode: int) -> None:
    model = VLM2Vec(device="cpu")
    lora = LoRA(r=1, target_modules=("q_proj",))
    model.fit(ROWS, lora=lora, max_steps=1, output_dir=tmp_path / "run", show_progress_bar=False)
    model.merge_adapter()
    model.save(str(tmp_path / "merged"))
    found = modes(tmp_path)
    assert list(found) == [mode]
    assert {"adapter_model.safetensors", "optimizer.pt", "model.safetensors"} <= set(found[mode])
    assert not list(tmp_path.rglob(".new"))


def test_vectors_rows_and_reports(embedded: VLM2Vec, tmp_path: Path, mode: int) -> None:
    encode_to(tmp_path / "vectors", ["a red circle", "a blue square"], model=embedded)
    write_rows(ROWS, tmp_path / "rows.jsonl")
    results = mmeb.evaluate(embedded, "mini-I-CLS", output_dir=tmp_path / "run", show_progress_bar=False)
    mmeb.write_report(results, tmp_path / "report.html")
    assert list(modes(tmp_path)) == [mode]


def test_an_index(embedded: VLM2Vec, tmp_path: Path, mode: int) -> None:
    pytest.importorskip("lancedb")
    from vlm2vec import Index

    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "note.txt").write_text("a red circle")
    index = Index(tmp_path / "index", embedded)
    index.sync(tmp_path / "files")
    index.export(tmp_path / "exported.parquet")
    assert list(modes(tmp_path)) == [mode]
