"""A search finds what is nearest, and only what was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from small_files import write_picture

from vlm2vec import Index, VLM2Vec
from vlm2vec.errors import IndexStoreError, InputError
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
