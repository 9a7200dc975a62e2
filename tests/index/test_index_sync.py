"""An index follows a folder: what is new, changed, moved, gone or broken, and what is not encoded again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from small_files import write_picture

from vlm2vec import Index, Video, VLM2Vec, pdf_pages
from vlm2vec.errors import IndexStoreError, InputError
from vlm2vec.world.samples import write_samples


@pytest.fixture
def encoded(model: VLM2Vec, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is given to the model to encode from here on."""
    given: list[Any] = []
    stream = VLM2Vec.encode_stream

    def noting(self: VLM2Vec, inputs: Any, **settings: Any) -> Iterator[Any]:
        def noted() -> Iterator[Any]:
            for each in inputs:
                given.append(each)
                yield each

        return stream(self, noted(), **settings)

    monkeypatch.setattr(VLM2Vec, "encode_stream", noting)
    return given


def later(path: Path, seconds: float = 5.0) -> None:
    """Give a file another time."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + int(seconds * 1e9)))


def aged(folder: Path) -> None:
    """Files that were written long ago: what is written just now is looked at once more."""
    for path in folder.rglob("*"):
        if path.is_file():
            later(path, -3600)


def ids(index: Index) -> list[str]:
    return sorted(index.to_arrow().column("id").to_pylist())


def vectors(index: Index) -> dict[str, np.ndarray]:
    rows = index.to_arrow().to_pylist()
    return {row["id"]: np.array(row["vector"], dtype=np.float32) for row in rows}


def test_each_kind_has_rows_and_each_vector_is_that_of_encode(model: VLM2Vec, tmp_path: Path) -> None:
    files = tmp_path / "files"
    samples = write_samples(files)
    (files / "words.md").write_text("a red circle\n\nabove a blue square", encoding="utf-8")
    index = Index(tmp_path / "store", model)
    report = index.sync(files, show_progress_bar=False)
    found = vectors(index)
    expected = {}
    for path in {sample.path for sample in samples}:
        if path.suffix == ".pdf":
            expected |= {f"{path.name}#page={page.page}": page for page in pdf_pages(path)}
        elif path.suffix == ".mp4":
            expected[f"{path.name}#t=0,2"] = path
        else:
            expected[path.name] = path
    expected["words.md#passage=1"] = "a red circle\n\nabove a blue square"
    assert found.keys() == expected.keys()
    for name, vector in zip(expected, model.encode_document(list(expected.values())), strict=True):
        np.testing.assert_allclose(found[name], vector, atol=5e-7)
    assert (report.new, report.rows) == (len({sample.path for sample in samples}) + 1, len(expected))


def test_nothing_new_encodes_nothing(model: VLM2Vec, folder: Path, encoded: list[Any]) -> None:
    aged(folder)
    index = Index(folder, model)
    first = index.sync(show_progress_bar=False)
    assert (first.new, len(first.failures), first.rows) == (5, 1, 4)
    assert index.store == folder / ".vlm2vec"
    before = len(encoded)
    report = index.sync(show_progress_bar=False)
    assert (report.unchanged, report.is_news, len(encoded)) == (5, False, before)
    assert [failure.path for failure in report.failures] == ["broken.jpg"]


def test_an_index_with_nothing_new_loads_neither_torch_nor_lancedb(folder: Path) -> None:
    aged(folder)
    code = f"""
import sys, time
from vlm2vec import Index
start = time.perf_counter()
report = Index({str(folder)!r}).sync(show_progress_bar=False)
heavy = ("torch", "lancedb", "pyarrow")
print(report.unchanged, time.perf_counter() - start, [m for m in heavy if m in sys.modules])
"""
    said = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert said[1][0] == "5"
    assert float(said[1][1]) < 1
    assert said[1][2:] == ["[]"]


def test_a_changed_file_is_encoded_again_and_a_touched_one_is_not(
    model: VLM2Vec, folder: Path, encoded: list[Any]
) -> None:
    aged(folder)
    index = Index(folder, model)
    index.sync(show_progress_bar=False)
    before, known = len(encoded), vectors(index)
    write_picture(folder / "a.png", seed=9)
    later(folder / "words.txt")
    report = index.sync(show_progress_bar=False)
    assert (report.changed, report.unchanged, report.rows, len(encoded) - before) == (1, 4, 1, 1)
    found = vectors(index)
    assert found.keys() == known.keys()
    changed = [name for name in found if not np.array_equal(found[name], known[name])]
    assert changed == ["a.png"]
    (stored,) = index.to_arrow("path = 'words.txt'").column("modified").to_pylist()
    assert stored.timestamp() == pytest.approx((folder / "words.txt").stat().st_mtime, abs=1e-5)


def test_a_file_that_changes_within_a_tick_of_the_clock_is_noticed(model: VLM2Vec, folder: Path) -> None:
    (folder / "words.txt").write_text("one", encoding="utf-8")
    status = (folder / "words.txt").stat()
    index = Index(folder, model)
    index.sync(show_progress_bar=False)
    (folder / "words.txt").write_text("two", encoding="utf-8")
    os.utime(folder / "words.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert index.sync(show_progress_bar=False).changed == 1
    assert [row["text"] for row in index.to_arrow("kind = 'text'").to_pylist()] == ["two"]


def test_moved_and_copied_files_are_not_encoded(model: VLM2Vec, folder: Path, encoded: list[Any]) -> None:
    index = Index(folder, model)
    index.sync(show_progress_bar=False)
    before, known = len(encoded), vectors(index)
    (folder / "new").mkdir()
    (folder / "a.png").rename(folder / "new" / "other.png")
    shutil.copy(folder / "below" / "b.png", folder / "copy.png")
    report = index.sync(show_progress_bar=False)
    assert (report.moved, report.removed, report.new, len(encoded) - before) == (2, 0, 0, 0)
    found = vectors(index)
    assert sorted(found) == [
        "below/b.png",
        "below/deep/c.png",
        "copy.png",
        "new/other.png",
        "words.txt#passage=1",
    ]
    np.testing.assert_array_equal(found["new/other.png"], known["a.png"])
    np.testing.assert_array_equal(found["copy.png"], known["below/b.png"])


def test_files_that_changed_places_keep_their_vectors(
    model: VLM2Vec, folder: Path, encoded: list[Any]
) -> None:
    index = Index(folder, model)
    index.sync(show_progress_bar=False)
    before, known = len(encoded), vectors(index)
    first, second = folder / "a.png", folder / "below" / "b.png"
    first.rename(folder / "between.png")
    second.rename(first)
    (folder / "between.png").rename(second)
    index.sync(show_progress_bar=False)
    found = vectors(index)
    assert len(encoded) == before
    np.testing.assert_array_equal(found["a.png"], known["below/b.png"])
    np.testing.assert_array_equal(found["below/b.png"], known["a.png"])


def test_removed_files_have_no_rows(model: VLM2Vec, folder: Path) -> None:
    index = Index(folder, model)
    index.sync(show_progress_bar=False)
    (folder / "broken.jpg").unlink()
    shutil.rmtree(folder / "below")
    report = index.sync(show_progress_bar=False)
    assert (report.removed, report.failures) == (3, [])
    assert ids(index) == ["a.png", "words.txt#passage=1"]


def test_a_folder_that_is_empty_all_at_once_is_not_taken_for_deleted(
    model: VLM2Vec, folder: Path, tmp_path: Path
) -> None:
    index = Index(tmp_path / "store", model)
    index.sync(folder, show_progress_bar=False)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="there is no such folder"):
        index.sync(folder, show_progress_bar=False)
    folder.mkdir()
    with pytest.raises(InputError, match="the folder is empty, and the index has files of it"):
        index.sync(folder, show_progress_bar=False)
    assert len(index) == 4
    assert index.forget(folder) == 4
    assert len(index) == 0


def test_broken_files_are_tried_again_when_they_change_or_on_request(
    model: VLM2Vec, folder: Path, encoded: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(folder)
    index = Index(folder, model)
    (failure,) = index.sync(show_progress_bar=False).failures
    assert str(failure).startswith("broken.jpg: the content is not a known format. ")
    opened: list[Path] = []
    import vlm2vec.index.sync as module

    segments_of = module.segments_of

    def noting(path: Path, *args: Any, **settings: Any) -> Any:
        opened.append(path)
        return segments_of(path, *args, **settings)

    monkeypatch.setattr(module, "segments_of", noting)
    index.sync(show_progress_bar=False)
    assert opened == []
    index.sync(retry_failed=True, show_progress_bar=False)
    assert opened == [folder / "broken.jpg"]
    write_picture(folder / "c.png", 7).rename(folder / "broken.jpg")
    assert index.sync(show_progress_bar=False).failures == []
    assert "broken.jpg" in ids(index)
    assert index.failures() == []


def test_a_broken_page_costs_itself_alone(
    model: VLM2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    pages = [PIL.Image.new("RGB", (100, 140), colour) for colour in ("red", "white", "blue")]
    pages[0].save(files / "three.pdf", save_all=True, append_images=pages[1:])
    import vlm2vec.encoding.prepare as prepare
    from vlm2vec.errors import MediaError

    render = prepare.render_page

    def failing(source: Any, page: int, *args: Any, **settings: Any) -> Any:
        if page == 2:
            raise MediaError("this page is damaged")
        return render(source, page, *args, **settings)

    monkeypatch.setattr(prepare, "render_page", failing)
    index = Index(tmp_path / "store", model)
    report = index.sync(files, show_progress_bar=False)
    assert ids(index) == ["three.pdf#page=1", "three.pdf#page=3"]
    assert [(failure.path, failure.part) for failure in report.failures] == [("three.pdf", "page 2")]
    assert {hit.page for hit in index.search("a page", k=9)} == {1, 3}
    monkeypatch.undo()
    aged(files)
    index.sync(show_progress_bar=False)
    assert len(index) == 2
    assert index.sync(retry_failed=True, show_progress_bar=False).failures == []
    assert len(index) == 3


def test_a_file_that_could_not_be_read_is_tried_each_time(
    model: VLM2Vec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vlm2vec.index.sync as module

    digest = module.file_digest

    def failing(path: Path) -> str:
        if path.name == "a.png":
            raise OSError(5, "Input/output error")
        return digest(path)

    aged(folder)
    monkeypatch.setattr(module, "file_digest", failing)
    index = Index(folder, model)
    failures = {each.path: each.reason for each in index.sync(show_progress_bar=False).failures}
    assert failures["a.png"] == "the file cannot be read (Input/output error)."
    monkeypatch.undo()
    assert [each.path for each in index.sync(show_progress_bar=False).failures] == ["broken.jpg"]
    assert len(index) == 4


def test_a_text_that_ends_in_another_encoding_has_no_rows(model: VLM2Vec, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "words.txt").write_bytes(b"first\n\n" * 4000 + b"caf\xe9\n")
    index = Index(tmp_path / "store", model)
    (failure,) = index.sync(files, show_progress_bar=False).failures
    assert failure.reason == "the text file is not UTF-8: byte 0xe9. Write it again in UTF-8."
    assert len(index) == 0


def test_other_files_are_counted_and_not_opened_again(model: VLM2Vec, folder: Path) -> None:
    (folder / "code.py").write_text("print()", encoding="utf-8")
    (folder / "empty").write_bytes(b"")
    (folder / "empty.png").write_bytes(b"")
    aged(folder)
    index = Index(folder, model)
    for _ in range(2):
        report = index.sync(show_progress_bar=False)
        assert report.unknown == {".py": 1, "no suffix": 1}
        assert [failure.path for failure in report.failures] == ["broken.jpg", "empty.png"]


def test_patterns_are_kept_until_others_are_given(model: VLM2Vec, folder: Path) -> None:
    index = Index(folder, model)
    index.sync(exclude=["below", "*.jpg"], show_progress_bar=False)
    assert ids(index) == ["a.png", "words.txt#passage=1"]
    index.sync(show_progress_bar=False)
    assert ids(index) == ["a.png", "words.txt#passage=1"]
    index.sync(include=["*.png"], exclude=["below/deep"], show_progress_bar=False)
    assert ids(index) == ["a.png", "below/b.png"]
    index.sync(include=[], exclude=[], show_progress_bar=False)
    assert len(index) == 4


def test_segments_of_a_video_are_moments(model: VLM2Vec, tmp_path: Path) -> None:
    files = tmp_path / "files"
    samples = write_samples(files)
    clip = next(sample.path for sample in samples if sample.path.suffix == ".mp4")
    index = Index(tmp_path / "store", model, segment_seconds=0.75)
    index.sync(files, include=["*.mp4"], show_progress_bar=False)
    rows = sorted(index.to_arrow(f"path = '{clip.name}'").to_pylist(), key=lambda row: row["start"])
    assert [(row["start"], row["end"]) for row in rows] == [(0.0, 0.75), (0.75, 1.5), (1.5, 2.0)]
    expected = model.encode_document([
        Video(clip, start=0, end=0.749), Video(clip, start=0.75, end=1.499), Video(clip, start=1.5)
    ])  # fmt: skip
    np.testing.assert_allclose([row["vector"] for row in rows], expected, atol=5e-7)
    hit = index.search("a moving shape", k=1)[0]
    assert hit.label.startswith("video 0:00-0:0")


def test_a_mistyped_folder_is_named(model: VLM2Vec, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"photso: there is no such folder, and .* Check its name"):
        Index(tmp_path / "photso", model).sync()
    assert not (tmp_path / "photso").exists()


def test_two_folders_are_followed_by_one_index(model: VLM2Vec, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_picture(other / "a.png", 11)
    index = Index(tmp_path / "store", model)
    index.sync(folder, show_progress_bar=False)
    index.sync(other, show_progress_bar=False)
    assert len(index) == 5
    assert len(set(ids(index))) == 5
    assert {hit.path for hit in index.search(PIL.Image.open(other / "a.png"), k=1)} == {other / "a.png"}
    assert {hit.path for hit in index.search("x", k=9, under=other)} == {other / "a.png"}
    write_picture(other / "b.png", 12)
    assert index.sync(show_progress_bar=False).new == 1
    assert index.forget(other) == 2


def test_a_folder_of_years_is_no_index(model: VLM2Vec, tmp_path: Path) -> None:
    write_picture(tmp_path / "photos" / "2024" / "a.png")
    index = Index(tmp_path / "photos", model)
    assert index.store == tmp_path / "photos" / ".vlm2vec"
    assert index.sync(show_progress_bar=False).new == 1


def test_a_store_that_came_to_nothing_is_used(model: VLM2Vec, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "writer.lock").touch()
    (tmp_path / "store" / "1").mkdir()
    index = Index(tmp_path / "store", model)
    assert index.store == tmp_path / "store"
    assert index.sync(folder, show_progress_bar=False).new == 5


def test_a_folder_in_one_that_is_followed_is_refused(model: VLM2Vec, folder: Path, tmp_path: Path) -> None:
    index = Index(tmp_path / "store", model)
    index.sync(folder, show_progress_bar=False)
    for other in (folder / "below", folder.parent):
        with pytest.raises(InputError, match="is followed, and one of the two lies in the other"):
            index.sync(other, show_progress_bar=False)
    assert len(index) == 4


def test_a_folder_with_its_store_can_move(
    model: VLM2Vec, folder: Path, tmp_path: Path, encoded: list[Any]
) -> None:
    aged(folder)
    Index(folder, model).sync(show_progress_bar=False)
    before = len(encoded)
    moved = folder.rename(tmp_path / "elsewhere")
    index = Index(moved, model)
    assert index.sync(show_progress_bar=False).unchanged == 5
    assert len(encoded) == before
    assert index.search("a red circle", k=1)[0].path == moved / "words.txt"


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_time(
    model: VLM2Vec, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vlm2vec.index.sync as module

    digest = module.file_digest

    def changing(path: Path) -> str:
        found = digest(path)
        if path.name == "a.png":
            write_picture(path, 21)
        return found

    monkeypatch.setattr(module, "file_digest", changing)
    index = Index(folder, model)
    assert index.sync(show_progress_bar=False).unsettled == ["a.png"]
    assert "a.png" not in ids(index)
    monkeypatch.undo()
    index.sync(show_progress_bar=False)
    expected = model.encode_document(folder / "a.png")
    np.testing.assert_allclose(vectors(index)["a.png"], expected, atol=5e-7)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not count here")
def test_a_read_only_folder_asks_for_a_store(model: VLM2Vec, folder: Path, tmp_path: Path) -> None:
    folder.chmod(0o555)
    try:
        with pytest.raises(IndexStoreError, match=r"nothing can be written there .*--store DIR"):
            Index(folder, model).sync(show_progress_bar=False)
        assert Index(tmp_path / "store", model).sync(folder, show_progress_bar=False).new == 5
    finally:
        folder.chmod(0o755)
