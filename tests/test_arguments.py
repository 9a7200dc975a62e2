"""A path that no file can have is refused by name wherever one is taken, as a missing folder is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlm2vec import VLM2Vec, encode_to, mmeb, pdf_pages, read_vectors
from vlm2vec.errors import VLM2VecError
from vlm2vec.training import Mixture

LONG = "a" * 5_000
ROWS = [{"query": f"query {number}", "document": f"document {number}"} for number in range(4)]
CALLS: dict[str, Callable[[VLM2Vec, Path], Any]] = {
    "VLM2Vec": lambda model, folder: VLM2Vec(LONG),
    "VLM2Vec, a path": lambda model, folder: VLM2Vec(Path(LONG)),
    "save_pretrained": lambda model, folder: model.save_pretrained(LONG),
    "load_adapter": lambda model, folder: model.load_adapter(LONG),
    "fit": lambda model, folder: model.fit(ROWS, output_dir=LONG, max_steps=1, show_progress_bar=False),
    "encode": lambda model, folder: model.encode([Path(LONG)]),
    "pdf_pages": lambda model, folder: pdf_pages(LONG),
    "encode_to": lambda model, folder: encode_to(LONG, ["a text"], model=model),
    "encode_to, its model": lambda model, folder: encode_to(folder, ["a text"], model=LONG),
    "read_vectors": lambda model, folder: read_vectors(LONG),
    "Mixture": lambda model, folder: Mixture.from_yaml(LONG),
    "mmeb, its output": lambda model, folder: mmeb.evaluate(model, tasks="mini", output_dir=LONG),
    "mmeb, its data": lambda model, folder: mmeb.evaluate(model, tasks="MSR-VTT", data_dir=LONG),
    "mmeb, its model": lambda model, folder: mmeb.evaluate(LONG, tasks="mini"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_name_that_is_too_long_is_an_error_of_ours(call: str, embedded: VLM2Vec, tmp_path: Path) -> None:
    with pytest.raises(VLM2VecError) as refused:
        CALLS[call](embedded, tmp_path)
    said = str(refused.value)
    assert len(said) < 400
    assert "such a name (5,000 characters)" in said or "is too long for a path" in said


@pytest.mark.parametrize("given", ["its place", "its model", "a folder"])
def test_so_it_is_for_an_index(given: str, embedded: VLM2Vec, tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    from vlm2vec import Index

    with pytest.raises(VLM2VecError, match=r"such a name \(5,000 characters\)"):
        if given == "its place":
            Index(LONG, embedded)
        elif given == "its model":
            Index(tmp_path / "index", LONG)
        else:
            Index(tmp_path / "index", embedded).sync(LONG)
