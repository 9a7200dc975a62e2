"""Rows that are added, removed, exported, cut, kept in half the room, and found by the ANN index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vlm2vec import Index, VLM2Vec
from vlm2vec.errors import IndexMismatchError, InputError, VLM2VecError

COLOURS = ("red", "green", "blue")


def test_inputs_are_added_with_metadata_and_found_by_it(model: VLM2Vec, tmp_path: Path) -> None:
    index = Index(tmp_path / "store", model)
    texts = [f"a {colour} circle" for colour in COLOURS]
    metadata = [{"colour": colour, "number": n, "even": n % 2 == 0} for n, colour in enumerate(COLOURS)]
    assert index.add(texts, ids=list(COLOURS), metadata=metadata) == list(COLOURS)
    (hit,) = index.search("a circle", where="colour = 'blue' AND number > 1 AND even")
    assert (hit.id, hit.kind, hit.text, hit.path) == ("blue", "text", "a blue circle", None)
    assert hit.metadata == {"colour": "blue", "number": 2, "even": True}
    found = {row["id"]: row["vector"] for row in index.to_arrow().to_pylist()}
    np.testing.assert_allclose([found[c] for c in COLOURS], model.encode_document(texts), atol=5e-7)


def test_an_id_that_is_added_again_takes_the_place_of_the_first(model: VLM2Vec, tmp_path: Path) -> None:
    index = Index(tmp_path / "store", model)
    index.add(["one", "two"], ids=["a", "b"], metadata=[{"n": 1}, {}])
    index.add("three", ids="a", metadata={"m": 0.5})
    assert sorted(row["id"] for row in index.to_arrow().to_pylist()) == ["a", "b"]
    (row,) = index.to_arrow("id = 'a'").to_pylist()
    assert (row["text"], row["n"], row["m"]) == ("three", None, 0.5)
    assert index.remove(["a", "unknown"]) == 1
    assert len(index) == 1


def test_what_cannot_be_added_leaves_the_index_as_it_was(model: VLM2Vec, tmp_path: Path) -> None:
    index = Index(tmp_path / "store", model)
    index.add(["one"], ids=["a"], metadata=[{"n": 1}])
    wrong = (
        (["x", ""], {"ids": ["b", "c"]}),
        (["x"], {"ids": ["b", "c"]}),
        (["x", "y"], {"ids": ["b", "b"]}),
        (["x"], {"metadata": [{"vector": 1}]}),
        (["x"], {"metadata": [{"a b": 1}]}),
        (["x"], {"metadata": [{"n": "text"}]}),
        (["x"], {"metadata": [{"n": [1]}]}),
    )
    for inputs, settings in wrong:
        with pytest.raises(VLM2VecError):
            index.add(inputs, **settings)
    assert [row["id"] for row in index.to_arrow().to_pylist()] == ["a"]
    index.add(["x", ""], ids=["b", "c"], skip_broken=True)
    assert len(index) == 2
    assert [failure.path for failure in index.failures()] == ["c"]
    assert {hit.id for hit in index.search("x")} == {"a", "b"}


def test_rows_go_to_parquet_and_come_back(model: VLM2Vec, folder: Path, tmp_path: Path) -> None:
    index = Index(folder, model)
    index.sync(show_progress_bar=False)
    index.add("more", ids="more", metadata={"n": 3})
    assert index.export(tmp_path / "rows.parquet") == 5
    other = Index(tmp_path / "other", model)
    assert other.import_rows(tmp_path / "rows.parquet") == 5
    first, second = (
        sorted(each.to_arrow().to_pylist(), key=lambda row: row["id"]) for each in (index, other)
    )
    assert first == second
    hits = [each.search("a red circle", k=5) for each in (index, other)]
    assert [hit.path for hit in hits[0]] == [hit.path for hit in hits[1]]
    assert other.import_rows(tmp_path / "rows.parquet") == 5
    assert len(other) == 5
    half = Index(tmp_path / "half", model, dimensions=64)
    with pytest.raises(IndexMismatchError, match="dimensions is 224 there, and 64 here"):
        half.import_rows(tmp_path / "rows.parquet")


def test_vectors_of_other_programs_are_imported(model: VLM2Vec, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = [f"a {colour} circle" for colour in COLOURS]
    vectors = model.encode_document(texts)
    pq.write_table(
        pa.table({"id": COLOURS, "vector": vectors.tolist(), "price": [1.5, 2.5, 3.5]}),
        tmp_path / "a.parquet",
    )
    index = Index(tmp_path / "store", model)
    index.import_rows(tmp_path / "a.parquet")
    assert [hit.id for hit in index.search("x", where="price > 2 AND price < 3")] == ["green"]
    pq.write_table(pa.table({"id": COLOURS, "vector": vectors[:, :9].tolist()}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="a vector has 9 components, and those of the index have 224"):
        index.import_rows(tmp_path / "b.parquet")
    assert len(index) == 3


def test_to_pandas_has_a_row_for_each(model: VLM2Vec, folder: Path) -> None:
    pytest.importorskip("pandas")
    index = Index(folder, model)
    index.sync(show_progress_bar=False)
    frame = index.to_pandas()
    assert len(frame) == 4
    assert str(folder / "a.png") in set(frame["path"])


@pytest.mark.parametrize("dimensions", [None, 64])
def test_vectors_can_be_cut_and_kept_in_half_the_room(
    model: VLM2Vec, folder: Path, tmp_path: Path, dimensions: int | None
) -> None:
    index = Index(tmp_path / "store", model, storage="float16", dimensions=dimensions)
    index.sync(folder, show_progress_bar=False)
    (row,) = index.to_arrow("path = 'a.png'").to_pylist()
    vector = model.encode_document(folder / "a.png")[:dimensions]
    np.testing.assert_allclose(np.array(row["vector"]), vector / np.linalg.norm(vector), atol=1e-3)
    assert (index.stats().storage, index.stats().dimensions) == ("float16", dimensions or 224)
    hit = index.search("a red circle", k=1)[0]
    query = model.encode_query("a red circle")[:dimensions]
    text = model.encode_document("a red circle")[:dimensions]
    cosine = query @ text / np.linalg.norm(query) / np.linalg.norm(text)
    assert (hit.name, hit.score) == ("words.txt", pytest.approx(cosine, abs=2e-3))
    assert Index(tmp_path / "store", model).settings.dimensions == dimensions


def test_the_ann_index_is_measured_and_new_rows_are_found_beside_it(model: VLM2Vec, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    chance = np.random.default_rng(0)
    vectors = chance.normal(size=(100, 224))[chance.integers(0, 100, 3000)] + chance.normal(size=(3000, 224))
    vectors = vectors.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"r{number}" for number in range(3000)]
    pq.write_table(pa.table({"id": names, "vector": vectors.tolist()}), tmp_path / "a.parquet")
    index = Index(tmp_path / "store", model)
    index.add("a red circle", ids="early")
    with pytest.raises(InputError, match="there are 1 rows, and an ANN index needs 1,000"):
        index.build_ann()
    index.import_rows(tmp_path / "a.parquet")
    report = index.build_ann()
    assert report.rows == 3001
    assert report.recall > 0.9
    assert index.stats().ann
    index.add("a blue square", ids="late")
    assert index.search("a red circle", k=1, exact=False)[0].id == "early"
    assert index.search("a blue square", k=1, exact=False)[0].id == "late"
    index.compact()
    assert index.search("a blue square", k=1, exact=False)[0].id == "late"
    assert index.search("a blue square", k=1)[0].id == "late"


def test_compacting_frees_room_and_keeps_rows(model: VLM2Vec, tmp_path: Path) -> None:
    index = Index(tmp_path / "store", model)
    for number in range(8):
        index.add(f"text {number}", ids="same")
    before = index.stats()
    index.compact()
    after = index.stats()
    assert after.rows == before.rows == 1
    assert index.search("text", k=1)[0].text == "text 7"
