"""An index knows what its vectors depend on, and refuses what would not fit them, by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_cases import GOLDEN

from vlm2vec import Index, Limits, VLM2Vec
from vlm2vec.errors import IndexMismatchError, IndexStoreError
from vlm2vec.vectors_version import VECTORS_VERSION

TINY = GOLDEN / "tiny_qwen2vl"


@pytest.fixture
def store(model: VLM2Vec, folder: Path, tmp_path: Path) -> Path:
    Index(tmp_path / "store", model).sync(folder, show_progress_bar=False)
    return tmp_path / "store"


def refused(store: Path, *arguments: object, **settings: object) -> str:
    """What is said where an index is opened so and searched."""
    with pytest.raises(IndexMismatchError) as caught:
        Index(store, *arguments, **settings).search("x")  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        (
            {"instruction": "Describe it."},
            "instruction is 'Represent the content.' there, and 'Describe it.' here",
        ),
        ({"dimensions": 64}, "dimensions is 224 there, and 64 here"),
        ({"num_frames": 4}, "num_frames is not set there, and 4 here"),
        ({"max_pixels": 784}, "max_pixels is not set there, and 784 here"),
        ({"segment_seconds": 5}, "segment_seconds is 10.0 there, and 5 here"),
        ({"passage_tokens": 64}, "passage_tokens is 512 there, and 64 here"),
        ({"storage": "float16"}, "storage is 'float32' there, and 'float16' here"),
    ],
)
def test_another_setting_is_refused_by_name(
    store: Path, model: VLM2Vec, settings: dict[str, object], difference: str
) -> None:
    for given in (None, model):
        with pytest.raises(IndexMismatchError) as caught:
            Index(store, given, **settings).search("x")  # type: ignore[arg-type]
        assert difference in str(caught.value)
        assert str(store) in str(caught.value)


def test_another_model_profile_and_type_are_refused_by_name(store: Path) -> None:
    assert "weights are of " in refused(store, VLM2Vec(TINY, profile="vlm2vec-v2", device="cpu"))
    assert "profile is vlm2vec-embedded there, and vlm2vec-v2 here" in refused(
        store, TINY, profile="vlm2vec-v2"
    )
    assert "dtype is 'float32' there, and 'bfloat16' here" in refused(
        store, VLM2Vec(dtype="bfloat16", device="cpu")
    )


@pytest.mark.parametrize(("dimensions", "kept"), [(None, 64), (32, 32), (128, 128)])
def test_a_model_that_cuts_its_vectors_gives_as_many_components_as_encode(
    tmp_path: Path, dimensions: int | None, kept: int
) -> None:
    index = Index(tmp_path / "cut", VLM2Vec(truncate_dim=64, device="cpu"), dimensions=dimensions)
    index.add(["a red circle", "a report"])
    assert index.stats().dimensions == kept
    assert Index(tmp_path / "cut").search("a red circle", k=1)[0].score > 0.5  # the index's own model and cut
    assert f"dimensions is {kept} there, and 16 here" in refused(tmp_path / "cut", dimensions=16)


def test_vectors_of_a_model_that_cuts_them_do_not_join_whole_ones(store: Path) -> None:
    assert "dimensions is 224 there, and 64 here" in refused(store, VLM2Vec(truncate_dim=64, device="cpu"))


def test_weights_that_were_trained_since_are_refused(store: Path) -> None:
    model = VLM2Vec(device="cpu")
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    assert "weights are of " in refused(store, model)


def test_an_index_of_a_model_that_was_changed_in_memory_is_not_opened_with_its_files(
    folder: Path, tmp_path: Path
) -> None:
    model = VLM2Vec(device="cpu")
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    index = Index(tmp_path / "other", model)
    index.sync(folder, show_progress_bar=False)
    assert index.search("x")
    assert "weights are of " in refused(tmp_path / "other")


def test_another_version_of_vectors_is_refused_where_there_are_such_rows(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vlm2vec.index.encoder as encoder

    monkeypatch.setattr(encoder, "VECTORS_VERSION", {**VECTORS_VERSION, "pdf": 9})
    monkeypatch.setattr("vlm2vec.vectors_version.VECTORS_VERSION", {**VECTORS_VERSION, "pdf": 9})
    assert Index(store).search("x")
    monkeypatch.setattr(encoder, "VECTORS_VERSION", {**VECTORS_VERSION, "image": 9})
    monkeypatch.setattr("vlm2vec.vectors_version.VECTORS_VERSION", {**VECTORS_VERSION, "image": 9})
    assert "VECTORS_VERSION of image is 1 there, and 9 here" in refused(store)


def test_what_changes_no_vector_is_not_refused(store: Path, tmp_path: Path) -> None:
    model = VLM2Vec(device="cpu", limits=Limits(max_pages=3))
    model.prompts["query"] = "Look for it."
    assert Index(store, model).search("x")
    model.save_pretrained(str(tmp_path / "saved"))
    assert Index(store, tmp_path / "saved").search("x")
    assert Index(store).search("x", instruction="Something else.")


def test_reindexing_takes_another_model_and_settings_and_keeps_the_folders(
    store: Path, folder: Path, model: VLM2Vec
) -> None:
    reader = Index(store, model)
    before = len(reader.search("x"))
    index = Index(store, model)
    report = index.reindex(dimensions=64, show_progress_bar=False)
    assert (report.new, report.rows, index.stats().dimensions) == (5, 4, 64)
    assert len(index.search("x")) == before
    with pytest.raises(IndexMismatchError, match="dimensions is 64 there, and 224 here"):
        Index(store, model, dimensions=224).search("x")
    assert len(Index(store, model).search("x")) == before
    assert Index(store, model).sync(show_progress_bar=False).is_news is False
    other = VLM2Vec(TINY, profile="vlm2vec-v2", device="cpu")
    index.reindex(other, show_progress_bar=False)
    assert index.stats().profile == "vlm2vec-v2"
    assert [path.name for path in sorted(store.iterdir()) if path.name.isdecimal()] == ["3"]


def test_a_reader_goes_on_after_a_reindex(store: Path, model: VLM2Vec) -> None:
    reader = Index(store, model)
    found = [hit.id for hit in reader.search("x")]
    Index(store, model).reindex(show_progress_bar=False)
    assert [hit.id for hit in reader.search("x")] == found


def test_an_index_of_a_newer_version_is_refused(store: Path) -> None:
    (store / "vlm2vec-index.json").write_text('{"format": 99, "generation": 1}')
    with pytest.raises(IndexStoreError, match="the index has the format 99, and this version knows 1"):
        Index(store).search("x")


def test_a_damaged_index_is_an_error(store: Path) -> None:
    (store / "1" / "manifest.sqlite").write_bytes(b"no database " * 99)
    with pytest.raises(IndexStoreError, match="the manifest cannot be read"):
        Index(store).search("x")
