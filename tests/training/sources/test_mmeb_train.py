"""MMEB-train: the layout of the hub's repository, through to prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import layout_making as making
import pytest

from vlm2vec.errors import InputError
from vlm2vec.inputs import Image, parse_input
from vlm2vec.training.data.mixture import Mixture
from vlm2vec.training.sources import get, mmeb_train

OK_VQA = [
    (
        "<|image_1|>\nRepresent the given image with the following question: What is it?\n",
        "images/OK-VQA/Train/OK-VQA_image_0.jpg",
        "pony tail",
        "",
        "husky",
        "",
    ),
    ("", "", "hat", "", "", ""),
    ("<|image_1|>\nWhat now?\n", "images/OK-VQA/Train/OK-VQA_image_1.jpg", "", "", None, None),
]
MSCOCO = [
    (
        '<|image_1|>\nSelect the portion of the image that isolates the object labeled as "dog"\n',
        "images/MSCOCO/Train/000000558840.jpg",
        "<|image_1|>\nRepresent the given cropped image of the object",
        "images/MSCOCO/Train/558840_object_hot dog.jpg",
    ),
]
WORDED = [("<|image_1|>\nName it.\n", "images/MSCOCO/Train/1.jpg", "dog", "")]


def rows_of(root: Path, limit: int | None = None, **options: str) -> Any:
    return get("mmeb-train").open(root, {"split": "original", "media": ".", **options}, limit)


def test_rows_hold_the_prompts_to_the_letter_with_their_pictures(tmp_path: Path) -> None:
    making.mmeb_train(tmp_path, "MSCOCO", "original", MSCOCO)
    (row,) = rows_of(tmp_path, subset="MSCOCO")
    assert row == {
        "query": {
            "prompt": "<|image_pad|>\nSelect the portion of the image "
            'that isolates the object labeled as "dog"\n',
            "images": [tmp_path / "images/MSCOCO/Train/000000558840.jpg"],
        },
        "document": {
            "prompt": "<|image_pad|>\nRepresent the given cropped image of the object",
            "images": [tmp_path / "images/MSCOCO/Train/558840_object_hot dog.jpg"],
        },
    }
    for side in ("query", "document"):
        item = parse_input(row[side])
        assert item.prompt == row[side]["prompt"]
        assert [type(part) for part in item.parts] == [Image]


def test_a_negative_is_one_where_there_is_one(tmp_path: Path) -> None:
    making.mmeb_train(tmp_path, "OK-VQA", "original", OK_VQA)
    rows = rows_of(tmp_path, subset="OK-VQA")
    assert rows[0]["document"] == {"prompt": "pony tail"}
    assert rows[0]["negatives"] == [{"prompt": "husky"}]
    assert "negatives" not in rows[1]
    assert "negatives" not in rows[2]


def test_rows_with_an_empty_side_are_counted_when_skipped(tmp_path: Path) -> None:
    making.mmeb_train(tmp_path, "OK-VQA", "original", OK_VQA)
    (tmp_path / "mix.yaml").write_text(
        "sources: {ok: {loader: mmeb-train, subset: OK-VQA, negatives: false}}"
    )
    mixture = Mixture.from_yaml(tmp_path / "mix.yaml")
    with pytest.raises(InputError, match="ok, row 1: the row has no query"):
        mixture.checked()
    kept = mixture.checked(on_error="skip", open_files=True)
    assert kept.sizes == [1]
    assert set(kept[0, 0]) == {"query", "document"}


def test_the_split_and_the_folder_of_pictures_can_be_chosen(tmp_path: Path) -> None:
    making.mmeb_train(tmp_path, "MSCOCO", "original", MSCOCO)
    making.mmeb_train(tmp_path, "MSCOCO", "diverse_instruction", WORDED)
    (row,) = rows_of(tmp_path, subset="MSCOCO", split="diverse_instruction", media="unpacked")
    assert row["query"] == {
        "prompt": "<|image_pad|>\nName it.\n",
        "images": [tmp_path / "unpacked" / "images/MSCOCO/Train/1.jpg"],
    }


def test_a_limit_takes_the_first_rows(tmp_path: Path) -> None:
    making.mmeb_train(tmp_path, "OK-VQA", "original", OK_VQA)
    rows = rows_of(tmp_path, limit=2, subset="OK-VQA")
    assert [row["document"] for row in rows] == [{"prompt": "pony tail"}, {"prompt": "hat"}]


def test_unknown_subsets_splits_and_missing_files_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'no subset "MSCOCO_t2t". Did you mean "MSCOCO_t2i"'):
        rows_of(tmp_path, subset="MSCOCO_t2t")
    with pytest.raises(InputError, match=r'no split "diverse". .*original, diverse_instruction'):
        rows_of(tmp_path, subset="MSCOCO", split="diverse")
    with pytest.raises(InputError, match=r"no file matches MSCOCO/original-\*.parquet"):
        rows_of(tmp_path, subset="MSCOCO")


def test_a_table_without_the_columns_is_refused(tmp_path: Path) -> None:
    making.pages(tmp_path, {"query": ["a"]})
    (tmp_path / "MSCOCO").mkdir()
    (tmp_path / "data" / "train-00000-of-00001.parquet").rename(tmp_path / "MSCOCO" / "original-0.parquet")
    with pytest.raises(InputError, match="has no column qry, but query, image"):
        rows_of(tmp_path, subset="MSCOCO")


def test_there_are_twenty_subsets() -> None:
    names = [name for names in mmeb_train.SUBSETS.values() for name in names]
    assert len(names) == len(set(names)) == 20
