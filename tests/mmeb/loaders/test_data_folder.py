"""Where annotations and media are found, in the folder and on the hub."""

from __future__ import annotations

import json
from dataclasses import replace

import datasets
import pytest
from public_layout import encoded_picture, mirror, write_json_lines, write_parquet

from vlm2vec.errors import InputError
from vlm2vec.mmeb.loaders import DataFolder, MissingDataError, load, loader_of
from vlm2vec.mmeb.loaders.annotation_files import annotation_files
from vlm2vec.mmeb.tasks import get_task, list_tasks

DOCVQA = get_task("ViDoRe_docvqa")
ROWS = [{"query-id": 0, "query": "one"}, {"query-id": 1, "query": "two"}]


@pytest.fixture
def hub(monkeypatch):
    """Stands for `datasets.load_dataset`: gives a table, and remembers what was asked."""
    asked = []
    table = datasets.Dataset.from_dict(
        {"query-id": [0], "query": ["one"], "image": [{"bytes": encoded_picture(), "path": None}]}
    ).cast_column("image", datasets.Image())

    def load_dataset(*arguments, **settings):
        asked.append((arguments, settings))
        return table

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def touched(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder, table, split="test"):
    return [file.relative_to(folder).as_posix() for file in annotation_files(folder, table, split)]


@pytest.mark.parametrize(
    "name",
    [
        "queries/test-00000-of-00001.parquet",
        "queries/test-00000-of-00001-0a1b2c3d4e5f6071.parquet",
        "queries/test.jsonl",
        "data/queries/test.json",
        "queries/test/0000.parquet",
        "test/queries.jsonl",
        "data/queries-test.jsonl",
        "queries_test.json",
        "test.queries.jsonl",
        "queries/0000.parquet",
        "queries.jsonl",
    ],
)
def test_names_of_files_tell_table_and_split(tmp_path, name):
    touched(
        tmp_path,
        name,
        "corpus/test-00000-of-00001.parquet",
        "queries/train.parquet",
        "queries-old/test.parquet",
        ".cache/huggingface/download/queries/test.json",
        "readme.txt",
    )
    assert found(tmp_path, "queries") == [name]


def test_a_split_that_is_not_asked_for_is_not_taken(tmp_path):
    touched(tmp_path, "queries/train.parquet", "data/queries-validation.jsonl", "train/queries.jsonl")
    assert found(tmp_path, "queries") == []
    assert found(tmp_path, "queries", "train") == ["queries/train.parquet"]


def test_a_name_within_a_longer_one_is_another_table(tmp_path):
    touched(tmp_path, "RefCOCO-Matching/test.parquet", "RefCOCO-Matching-test.parquet")
    assert found(tmp_path, "RefCOCO") == []


def test_shards_come_in_order(tmp_path):
    names = [f"queries/test-{number:05}-of-00011.parquet" for number in range(11)]
    touched(tmp_path, *reversed(names))
    assert found(tmp_path, "queries") == names


@pytest.mark.parametrize("name", ["data/test-00000-of-00001.parquet", "test.jsonl", "annotations.json"])
def test_a_repository_of_one_table_needs_no_name_for_it(tmp_path, name):
    touched(tmp_path, name, "train.jsonl")
    assert found(tmp_path, None) == [name]


def test_files_that_could_be_either_table_are_not_guessed(tmp_path):
    touched(tmp_path, "one.jsonl", "other.jsonl")
    assert found(tmp_path, None) == []


def test_what_the_readme_declares_counts_more_than_names(tmp_path):
    touched(tmp_path, "queries/test.parquet", "odd/a.parquet", "odd/b.parquet", "plain.jsonl")
    (tmp_path / "README.md").write_text(
        "---\n"
        "configs:\n"
        "- config_name: queries\n"
        "  data_files:\n"
        "  - split: train\n"
        "    path: queries/*\n"
        "  - split: test\n"
        "    path: odd/*.parquet\n"
        "- config_name: default\n"
        "  data_files:\n"
        "  - {split: test, path: [plain.jsonl]}\n"
        "---\n# Pages\n---\n"
    )
    assert found(tmp_path, "queries") == ["odd/a.parquet", "odd/b.parquet"]
    assert found(tmp_path, None) == ["plain.jsonl"]


@pytest.mark.parametrize("text", ["# Pages\n", "---\nconfigs: [\n---\n", "---\n- a list\n---\n", ""])
def test_a_readme_that_declares_nothing_changes_nothing(tmp_path, text):
    touched(tmp_path, "queries/test.parquet")
    (tmp_path / "README.md").write_text(text)
    assert found(tmp_path, "queries") == ["queries/test.parquet"]


def test_parquet_json_lines_and_json_give_the_same_rows(tmp_path):
    base = mirror(tmp_path, DOCVQA) / "queries"
    data = DataFolder(tmp_path, offline=True)
    (base / "x").mkdir(parents=True)
    (base / "test.json").write_text(json.dumps(ROWS))
    assert list(data.rows(DOCVQA, "queries")) == ROWS
    write_json_lines(base / "test.jsonl", [*ROWS, ROWS[0]])
    assert list(data.rows(DOCVQA, "queries")) == [*ROWS, ROWS[0]]
    write_parquet(base / "test-00000-of-00002.parquet", ROWS)
    write_parquet(base / "test-00001-of-00002.parquet", ROWS[1:])
    rows = data.rows(DOCVQA, "queries")
    assert list(rows) == [*ROWS, ROWS[1]]
    assert (len(rows), rows[2]) == (3, ROWS[1])


def test_a_line_separator_within_a_text_ends_no_line(tmp_path):
    rows = [{"query-id": 0, "query": "one\u2028more\x85"}]
    write_json_lines(mirror(tmp_path, DOCVQA) / "queries/test.jsonl", rows)
    assert list(DataFolder(tmp_path, offline=True).rows(DOCVQA, "queries")) == rows


def test_only_columns_asked_for_are_read(tmp_path):
    write_parquet(mirror(tmp_path, DOCVQA) / "queries/test.parquet", ROWS)
    rows = DataFolder(tmp_path, offline=True).rows(DOCVQA, "queries", columns=("query",))
    assert list(rows) == [{"query": "one"}, {"query": "two"}]


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path):
    write_parquet(mirror(tmp_path, DOCVQA) / "queries/test.parquet", ROWS)
    with pytest.raises(InputError) as caught:
        DataFolder(tmp_path, offline=True).rows(DOCVQA, "queries", columns=("query", "language"))
    assert str(caught.value).startswith(
        'ViDoRe_docvqa, queries: there is no column "language", but "query-id", "query".'
    )


@pytest.mark.parametrize("name", ["test.parquet", "test.jsonl", "test.json"])
def test_a_broken_file_is_named(tmp_path, name):
    base = mirror(tmp_path, DOCVQA) / "queries"
    base.mkdir(parents=True)
    (base / name).write_bytes(b'{"query": ')
    with pytest.raises(InputError, match=r"cannot be read|no JSON"):
        DataFolder(tmp_path, offline=True).rows(DOCVQA, "queries")


def test_a_broken_file_of_pictures_is_named(tmp_path):
    file = mirror(tmp_path, DOCVQA) / "corpus" / "test.parquet"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"cut off")
    with pytest.raises(InputError, match=f"{file} cannot be read"):
        DataFolder(tmp_path, offline=True).lazy_rows(DOCVQA, "corpus", columns=("image",))


def test_a_table_with_a_file_too_few_is_not_read(tmp_path):
    write_parquet(mirror(tmp_path, DOCVQA) / "queries/test-00000-of-00003.parquet", ROWS)
    with pytest.raises(MissingDataError, match="2 of the files are not in"):
        DataFolder(tmp_path).rows(DOCVQA, "queries")


def test_what_is_not_in_the_folder_comes_from_the_hub_at_the_task_s_revision(tmp_path, hub):
    task = replace(DOCVQA, revision="abc")
    rows = DataFolder(tmp_path).rows(task, "queries", columns=("query", "image"))
    assert hub == [(("vidore/docvqa_test_subsampled_beir", "queries"), {"split": "test", "revision": "abc"})]
    assert list(rows) == [{"query": "one", "image": {"bytes": encoded_picture(), "path": None}}]


def test_the_subset_of_the_task_is_the_table_unless_another_is_named(hub):
    task = get_task("ImageNet-1K")
    DataFolder(None).rows(task)
    DataFolder(None).rows(task, "other")
    assert [arguments[1] for arguments, _ in hub] == ["ImageNet-1K", "other"]


def test_columns_of_the_hub_are_checked_too(hub):
    with pytest.raises(InputError, match='no column "score"'):
        DataFolder(None).rows(DOCVQA, "qrels", columns=("score",))
    assert len(hub) == 1


def test_the_hub_is_not_asked_offline_nor_where_the_folder_has_it(tmp_path, hub):
    with pytest.raises(MissingDataError):
        DataFolder(tmp_path, offline=True).rows(DOCVQA, "queries")
    write_parquet(mirror(tmp_path, DOCVQA) / "queries/test.parquet", ROWS)
    assert list(DataFolder(tmp_path).rows(DOCVQA, "queries")) == ROWS
    assert hub == []


def test_what_is_nowhere_is_told_with_all_places_and_the_command(tmp_path):
    task = replace(DOCVQA, revision="abc")
    with pytest.raises(MissingDataError) as caught:
        DataFolder(tmp_path, offline=True).rows(task, "queries")
    folder = tmp_path / "annotations/vidore/docvqa_test_subsampled_beir"
    archive = tmp_path / "visdoc-tasks/data/docvqa_test_subsampled_beir"
    assert str(caught.value) == (
        f'ViDoRe_docvqa: there are no annotations, split "test" of "queries": looked in {folder} and '
        f"{archive}, and the hub is not asked (offline). "
        f"Run `vlm2vec mmeb download {tmp_path} -t ViDoRe_docvqa`, or "
        "`hf download vidore/docvqa_test_subsampled_beir "
        f"--repo-type dataset --revision abc --local-dir {folder}`."
    )


def test_what_the_hub_says_is_passed_on(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(
        MissingDataError, match=r"no data folder was given, and the hub gave none \(no route\)"
    ):
        DataFolder(None).rows(DOCVQA, "queries")


def test_the_first_root_that_holds_something_is_taken(tmp_path):
    task = get_task("VOC2007")
    data = DataFolder(tmp_path)
    assert data.find_media_root(task) is None
    (tmp_path / "image-tasks/VOC2007").mkdir(parents=True)
    assert data.media_root(task) == tmp_path / "image-tasks"
    (tmp_path / "image-tasks/MMEB").mkdir()
    assert data.media_root(task) == tmp_path / "image-tasks"
    (tmp_path / "image-tasks/MMEB/VOC2007").mkdir()
    assert data.media_root(task) == tmp_path / "image-tasks/MMEB"


def test_media_need_a_data_folder():
    with pytest.raises(MissingDataError, match=r"no data folder was given.*download DATA -t VOC2007"):
        DataFolder(None).media_root(get_task("VOC2007"))


def test_every_layout_of_the_tasks_has_a_loader():
    assert {loader_of(task.layout).__name__ for task in list_tasks("image")} == {"load"}
    assert {loader_of(task.layout).__name__ for task in list_tasks("visdoc")} == {"load"}


def test_a_layout_that_does_not_exist_is_an_error_that_names_those_that_do():
    with pytest.raises(InputError, match=r'no layout "audio".*image_rows'):
        load(replace(DOCVQA, layout="audio"), DataFolder(None))
