"""A search finds what is nearest, and only what was asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from small_files import write_picture

from vlm2vec import Index, VLM2Vec
from vlm2vec.errors import IndexMismatchError, IndexStoreError, InputError
from vlm2vec.world.samples import write_samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder / "drawn")
    (folder / "notes").mkdir()
    (folder / "notes" / "it's 100%_a.txt").write_text("a red circle", encoding="utf-8")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    return folder


@pytest.fixture(scope="module")
def index(samples: Path, model: VLM2Vec, tmp_path_factory: pytest.TempPathFactory) -> Index:
    index = Index(tmp_path_factory.mktemp("index") / "store", model)
    index.sync(samples, show_progress_bar=False)
    return index


def test_hits_are_those_of_numpy_in_order(index: Index, model: VLM2Vec) -> None:
    rows = index.to_arrow().to_pylist()
    corpus = np.array([row["vector"] for row in rows])
    for query in ("a large red ring moving down", "a report on deserts", "a blue diamond"):
        scores = corpus @ model.encode_query(query)
        order = np.argsort(-scores)[:5]
        hits = index.search(query, k=5)
        assert [hit.id for hit in hits] == [rows[place]["id"] for place in order]
        np.testing.assert_allclose([hit.score for hit in hits], scores[order], atol=1e-6)


def test_hits_say_file_page_and_moment(index: Index, samples: Path) -> None:
    (hit,) = index.search("a large red ring moving down", k=1)
    assert hit.path == samples / "drawn" / "clip-red-ring-moving-down.mp4"
    assert (hit.kind, hit.start, hit.end, hit.page, hit.label) == ("video", 0.0, 2.0, None, "video 0:00-0:02")
    (hit,) = index.search("a report", k=1, where="kind = 'pdf' AND page = 2")
    assert (hit.kind, hit.page, hit.label) == ("pdf", 2, "page 2")
    (hit,) = index.search("a report", k=1, where="kind = 'text'")
    assert hit.text == "a red circle"


def test_any_input_can_be_a_query(index: Index, samples: Path) -> None:
    picture = samples / "drawn" / "scene-blue-diamond.jpg"
    for query in (picture, PIL.Image.open(picture), picture.read_bytes(), {"image": str(picture)}, [picture]):
        assert index.search(query, k=1)[0].path == picture
    assert index.search([picture, "a blue diamond"], k=1)[0].path == picture


def test_the_instruction_of_a_query_is_free(index: Index, model: VLM2Vec) -> None:
    rows = index.to_arrow().to_pylist()
    vector = model.encode_query("a report", instruction="Find a page.")
    best = max(rows, key=lambda row: float(np.dot(row["vector"], vector)))
    assert index.search("a report", k=1, instruction="Find a page.")[0].id == best["id"]


def test_under_is_a_folder_whatever_its_name_is(index: Index, samples: Path) -> None:
    for under in (samples / "notes", "notes"):
        assert [hit.name for hit in index.search("x", k=99, under=under)] == ["notes/it's 100%_a.txt"]
    assert len(index.search("x", k=99, under=samples)) == len(index)
    assert len(index.search("x", k=99, under=samples.parent)) == len(index)
    with pytest.raises(InputError, match="no folder that is followed holds"):
        index.search("x", under="/nowhere/at all")


def test_rows_of_one_file_can_be_limited(index: Index) -> None:
    hits = index.search("a report", k=99, where="kind = 'pdf'", per_file=1)
    assert len(hits) == len({hit.path for hit in hits}) == 2
    best = {hit.path: hit for hit in reversed(index.search("a report", k=99, where="kind = 'pdf'"))}
    assert {hit.path: hit.id for hit in hits} == {path: hit.id for path, hit in best.items()}


def test_a_file_with_many_rows_does_not_hide_others(model: VLM2Vec, tmp_path: Path) -> None:
    index = Index(tmp_path / "store", model)
    (tmp_path / "files").mkdir()
    pages = [PIL.Image.new("RGB", (60, 60), (255, shade, 0)) for shade in range(60)]
    pages[0].save(tmp_path / "files" / "red.pdf", save_all=True, append_images=pages[1:])
    write_picture(tmp_path / "files" / "other.png", 3)
    index.sync(tmp_path / "files", show_progress_bar=False)
    hits = index.search(pages[0], k=2, per_file=1)
    assert [hit.name for hit in hits] == ["red.pdf", "other.png"]


def test_broken_files_are_never_found(index: Index, samples: Path) -> None:
    assert [failure.path for failure in index.failures()] == ["broken.pdf"]
    assert all(hit.name != "broken.pdf" for hit in index.search("nothing", k=99))


def test_a_condition_that_cannot_be_understood_is_an_error(index: Index) -> None:
    with pytest.raises(
        InputError, match=r"where is not understood .*there are the columns id, root, path, kind"
    ):
        index.search("x", where="colour = 'red'")
    with pytest.raises(InputError, match="where is not understood"):
        index.search("x", where="kind =")


def test_a_query_that_cannot_be_embedded_is_an_error(index: Index) -> None:
    with pytest.raises(InputError):
        index.search("")
    with pytest.raises(InputError, match="k is int 0"):
        index.search("x", k=0)


def test_without_an_index_it_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(IndexStoreError, match=r"there is no index yet\. Make one: index\.sync"):
        Index(tmp_path).search("x")
    assert not list(tmp_path.iterdir())


def test_a_vector_that_was_encoded_elsewhere_finds_the_same(index: Index, model: VLM2Vec) -> None:
    text = "a report on deserts"
    vector = model.encode_query(text)
    for options in ({"where": "kind = 'pdf'", "per_file": 1}, {"under": "notes"}):
        hits, expected = index.search_vector(7 * vector, 5, **options), index.search(text, 5, **options)
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-6)
        assert [replace(hit, score=0) for hit in hits] == [replace(hit, score=0) for hit in expected]
        assert hits


@pytest.mark.parametrize(
    ("vector", "cause"),
    [
        (np.ones(3), r"shape \(3,\)"),
        (np.ones((1, 256)), r"shape \(1, 256\)"),
        (["a"], "no array of numbers"),
        (None, "shape|no array"),
    ],
)
def test_a_vector_of_another_form_is_an_error(index: Index, vector: object, cause: str) -> None:
    with pytest.raises(InputError, match=cause):
        index.search_vector(vector)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_without_a_direction_is_an_error(index: Index, model: VLM2Vec, value: float) -> None:
    with pytest.raises(InputError, match="zero, or not finite"):
        index.search_vector(np.full(model.full_width, value))


def test_a_row_is_found_by_its_id(index: Index, samples: Path) -> None:
    (hit,) = index.search("a report", k=1, where="kind = 'pdf' AND page = 2")
    row = index.row(hit.id)
    assert row is not None
    assert (row.path, row.page, row.kind, np.isnan(row.score)) == (hit.path, 2, "pdf", True)
    quoted = index.row("notes/it's 100%_a.txt#passage=1")
    assert quoted is not None
    assert quoted.path == samples / "notes" / "it's 100%_a.txt"


@pytest.mark.parametrize("name", ["", "x' OR '1' = '1", "../../etc/passwd", "a\0b", "\ud800"])
def test_an_id_that_no_row_has_finds_none(index: Index, name: str) -> None:
    assert index.row(name) is None


def test_it_says_which_folders_it_has_files_of(index: Index, samples: Path) -> None:
    assert index.folders == {1: samples.resolve()}
    assert index.subfolders() == {(1, "drawn"): 12, (1, "notes"): 1}


def test_of_an_index_that_is_not_there_it_says_nothing(tmp_path: Path) -> None:
    index = Index(tmp_path)
    assert (index.row("a"), index.folders, index.subfolders()) == (None, {}, {})


def test_its_model_is_the_one_that_it_searches_with(samples: Path, model: VLM2Vec, tmp_path: Path) -> None:
    assert Index(tmp_path, model).model is model
    index = Index(tmp_path / "store")
    index.sync(samples / "notes", show_progress_bar=False)
    vector = index.model.encode_query("a circle")
    assert index.search_vector(vector, 1) == index.search("a circle", 1)


def test_who_has_its_model_is_not_given_hits_of_another(samples: Path, tmp_path: Path) -> None:
    index = Index(tmp_path / "store")
    index.sync(samples / "notes", show_progress_bar=False)
    vector = index.model.encode_query("a circle")
    other = VLM2Vec(device="cpu")
    other[0].model.get_input_embeddings().weight.data.mul_(1.5)
    Index(tmp_path / "store").reindex(other, show_progress_bar=False)
    with pytest.raises(IndexMismatchError, match="weights"):
        index.search_vector(vector, 1)


def test_a_search_goes_on_where_another_thread_has_opened_what_was_reindexed(
    samples: Path, model: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(tmp_path / "store", model)
    index.sync(samples / "notes", show_progress_bar=False)
    vector = model.encode_query("a circle")
    expected = index.search_vector(vector, 1)
    read = Index._current_rows

    def overtaken(self: Index) -> object:
        monkeypatch.setattr(Index, "_current_rows", read)
        Index(tmp_path / "store", model).reindex(show_progress_bar=False)
        len(self)  # as another thread does: the manifest that was open is closed
        raise IndexStoreError("closed")

    monkeypatch.setattr(Index, "_current_rows", overtaken)
    assert index.search_vector(vector, 1) == expected


def test_its_size_is_known_while_a_writer_takes_files_away(
    samples: Path, model: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(tmp_path / "store", model)
    index.sync(samples / "notes", show_progress_bar=False)
    size = index.stats().bytes
    (tmp_path / "store" / "gone").symlink_to(tmp_path / "nowhere")
    monkeypatch.setattr(Path, "is_file", lambda _: True)  # as it was when that was asked
    assert index.stats().bytes == size > 0
