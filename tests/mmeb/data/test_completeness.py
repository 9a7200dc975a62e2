"""`check`: exactly what was removed is what it lists, for each of the tasks."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from public_layout import mirror, write_task
from public_video_layout import write_video_task

from vlm2vec import mmeb
from vlm2vec.errors import InputError
from vlm2vec.mmeb import get_task
from vlm2vec.mmeb.data import Record, check
from vlm2vec.mmeb.data.completeness import TaskCompleteness, completeness_of
from vlm2vec.mmeb.loaders.annotation_files import tables_of
from vlm2vec.mmeb.loaders.documents import beir_file, visrag_file
from vlm2vec.mmeb.mini import write_mini


def written(folder: Path, task: mmeb.Task, *, pages: bool = True) -> None:
    """A small copy of a task; pages as files and not in the corpus."""
    if task.modality == "video":
        write_video_task(folder, task)
        return
    names = {"beir_documents": beir_file, "visrag_documents": visrag_file}
    write_task(folder, task, names.get(task.layout) if pages else None)


def checked(folder: Path, task: mmeb.Task, queries: int | None = None) -> TaskCompleteness:
    if queries is not None:
        task = replace(task, queries=queries)
    return completeness_of([task], folder).tasks[0]


@pytest.mark.parametrize("task", mmeb.list_tasks(), ids=lambda task: task.name)
def test_what_is_removed_is_listed_and_nothing_else(task: mmeb.Task, tmp_path: Path) -> None:
    written(tmp_path, task)
    whole = checked(tmp_path, task)
    assert whole.queries is not None
    assert whole.expected == task.queries
    assert not whole.complete  # there are far fewer queries than published
    assert checked(tmp_path, task, whole.queries).complete
    if task.modality == "visdoc":
        return  # a page without its file is in the corpus, see below
    files = sorted(path for path in (tmp_path / task.roots[0]).rglob("*") if path.suffix in (".jpg", ".png"))
    if task.modality == "video":  # frames that are not there are not known of, but clips are
        files = [path for path in files if path.name.startswith("frame_")]
    draw = random.Random(task.name)  # noqa: S311 - draws files
    empty = draw.choice(files)
    content = empty.read_bytes()
    empty.write_bytes(b"")
    found = checked(tmp_path, task, whole.queries)
    assert set(found.unreadable) <= {empty}  # not each frame is looked at
    assert found.complete == (not found.unreadable)
    if task.modality == "image":
        assert found.unreadable == (empty,)
    empty.write_bytes(content)
    removed = set()
    for path in draw.sample(files, 2):
        if task.modality == "image":
            removed.add(path)
            path.unlink()
        elif path.parent.is_dir():
            removed.add(path.parent)
            for frame in path.parent.iterdir():
                frame.unlink()
    found = checked(tmp_path, task, whole.queries)
    assert set(found.missing) == removed
    assert not found.unreadable
    assert not found.complete


@pytest.mark.parametrize("name", ["ViDoRe_docvqa", "VisRAG_ArxivQA"])
def test_a_page_may_be_in_the_corpus(tmp_path: Path, name: str) -> None:
    task = get_task(name)
    written(tmp_path, task)
    page = sorted((tmp_path / task.roots[0]).iterdir())[0]
    page.unlink()
    assert checked(tmp_path, task, 2).complete
    assert checked(tmp_path, task, 2).files == 3
    written(tmp_path / "other", task, pages=False)
    assert checked(tmp_path / "other", task, 2).complete


@pytest.mark.parametrize(
    "name", ["OK-VQA", "MVBench", "MSVD", "QVHighlight", "ViDoRe_docvqa", "VisRAG_ArxivQA"]
)
def test_a_table_that_is_missing_or_cut_is_told(tmp_path: Path, name: str) -> None:
    task = get_task(name)
    written(tmp_path, task)
    for table in tables_of(task):
        file = mirror(tmp_path, task) / (table or "data") / f"{task.split}-00000-of-00001.parquet"
        whole = file.read_bytes()
        file.write_bytes(whole[:50])
        (problem,) = checked(tmp_path, task).problems
        assert str(file) in problem or "cannot be read" in problem
        file.unlink()
        found = checked(tmp_path, task)
        assert len(found.problems) == 1
        assert "there are no annotations" in found.problems[0]
        assert (table or "") in found.problems[0]
        assert found.queries is None
        file.write_bytes(whole)


def test_all_that_is_missing_as_a_whole_is_told_at_once(tmp_path: Path) -> None:
    (found,) = check("MSVD", data_dir=tmp_path).tasks
    assert [problem.split(":")[0] for problem in found.problems] == [
        "its media are not there",
        'there are no annotations, split "test"',
    ]


def test_of_much_that_is_missing_some_is_shown(tmp_path: Path) -> None:
    found = check("MVBench", data_dir=tmp_path)
    assert len(found.tasks[0].problems) == 21  # its media, and the tables of 20 subsets
    lines = str(found).splitlines()[1:5]
    assert [line.split()[0] for line in lines] == ["its", "there", "there", "and"] and "18 more" in lines[3]


def test_fewer_and_more_queries_than_published_are_told(tmp_path: Path) -> None:
    task = get_task("OK-VQA")
    written(tmp_path, task)
    for published in (2, 4):
        found = checked(tmp_path, task, published)
        assert not found.complete
        assert f"3 queries, published are {published}" in str(found)


def test_an_archive_that_was_half_unpacked_is_told(tmp_path: Path) -> None:
    task = get_task("MSVD")
    written(tmp_path, task)
    record = Record(tmp_path)
    record.archives["video-tasks/frames/video_ret.tar.gz"] = {
        "repo": task.media_repo,
        "commit": "0" * 40,
        "content": [],
        "parts": [],
        "into": "x",
        "complete": False,
    }
    record.save()
    found = checked(tmp_path, task, 3)
    assert found.problems == ("unpacking video-tasks/frames/video_ret.tar.gz was stopped",)
    assert not found.complete
    written(tmp_path, get_task("K700"))
    assert not checked(tmp_path, get_task("K700"), 3).problems


def test_labels_that_nobody_has_are_told(tmp_path: Path) -> None:
    task = get_task("UCF101")
    written(tmp_path, task)
    (tmp_path / task.roots[0] / "labels.txt").unlink()
    assert "labels.txt" in checked(tmp_path, task, 3).problems[0]


def test_the_list_says_what_is_there_and_how_to_get_the_rest(tmp_path: Path) -> None:
    write_mini(tmp_path, ["mini-I-CLS", "mini-V-RET"])
    assert str(check(["mini-I-CLS", "mini-V-RET"], data_dir=tmp_path)).endswith("2 of 2 tasks are complete.")
    pictures = sorted((tmp_path / "image-tasks").rglob("*.png"))
    for picture in pictures[:5]:
        picture.unlink()
    printed = str(check(["mini-V-RET", "mini-I-CLS", "MSVD"], data_dir=tmp_path))
    assert "5 of 80 files missing:" in printed
    assert "and 2 more" in printed
    assert re.search(r"^ok +mini-V-RET", printed)
    assert printed.endswith(f"vlm2vec mmeb download {tmp_path} -t MSVD")


def test_the_mini_suite_has_nothing_to_fetch(tmp_path: Path) -> None:
    printed = str(check("mini", data_dir=tmp_path))
    assert printed.endswith("drawn when they are needed: there is nothing to fetch.")
    assert "download" not in printed.splitlines()[-2]


def test_compat_looks_at_what_evaluate_reads_with_it(tmp_path: Path) -> None:
    task = get_task("MomentSeeker").as_of("v2.0")
    written(tmp_path, task)
    assert check("MomentSeeker", data_dir=tmp_path, compat="v2.0").tasks[0].queries == 3
    assert check("MomentSeeker", data_dir=tmp_path).tasks[0].queries is None


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        check("MSVD", data_dir=tmp_path / "none")
